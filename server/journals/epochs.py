"""Epochs: new ones for rooms whose history is not the one that clients know. Within a transaction of the store's."""

from __future__ import annotations

import secrets
import sqlite3

import msgspec

from actors.log import epoch_of

from .rows import RoomRow

__all__ = ["rename_histories", "renewed"]

_ROOMS_AT_ONCE = 10_000

_ROWS = (
    "SELECT id, name, top, last, gone, lost, watched FROM rooms "
    "WHERE id > ? AND instr(name, ' ') = 0 ORDER BY id LIMIT ?"
)
_RENAME = (
    "UPDATE rooms SET epoch = json_extract(n.value, '$[1]'), crc = json_extract(n.value, '$[2]') "
    "FROM json_each(?) AS n WHERE rooms.id = json_extract(n.value, '$[0]')"
)


def renewed(db: sqlite3.Connection) -> str:
    """Give rooms that begin from now on other epochs than they would have had; return what those are made of."""
    epochs = secrets.token_hex(6)
    db.execute("UPDATE meta SET value = ? WHERE name = 'epochs'", (epochs,))
    return epochs


def rename_histories(db: sqlite3.Connection, epochs: str) -> None:
    """Put every room under another epoch, and leave its history and state. All rows are sound, or were set aside."""
    after = -1
    while rows := db.execute(_ROWS, (after, _ROOMS_AT_ONCE)).fetchall():
        names = []
        for room_id, name, top, last, gone, lost, watched in rows:
            room = RoomRow(name, epoch_of(epochs, name), room_id, top, last, gone, lost, bool(watched))
            names.append((room_id, room.epoch, room.seal))
        db.execute(_RENAME, (msgspec.json.encode(names).decode(),))
        after = rows[-1][0]
