"""What is read back from a journal, believed only where it is what was written: a room's id in, its record out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from actors.identity import is_room_name
from actors.record import PastId, RoomRecord

from .faults import DamagedError
from .rows import EVENT_AS_JSON, EVENT_COLUMNS, RoomRow, events_of, seal_of_state

__all__ = ["WRONG_ROW", "check_tables", "is_sound", "read_room", "read_text"]

WRONG_ROW = "its row: the checksum is wrong"

_EVENTS_PAGE = 500

_TABLES = {
    "meta": "name, value",
    "rooms": "id, name, epoch, top, last, gone, lost, watched, crc, used_ms",
    "states": "room, offset, alerts, crc, state",
    "events": EVENT_COLUMNS,
    "past_ids": "room, offset, id, time_ms",
    "probe": "id, data",
}
"""Rows are inserted without naming the columns: these, in this order."""
_JSON_IDS = msgspec.json.Decoder(list[tuple[str, int, int]])

# Cast, so that bytes come back which the decoder checks; a text that is none would fail in the sqlite3 module.
_EVENTS = (
    f"SELECT CAST(json_group_array({EVENT_AS_JSON}) AS BLOB), count(*), max(offset) FROM "
    "(SELECT * FROM events WHERE room = ? AND offset > ? ORDER BY offset LIMIT ?)"
)
_PAST_IDS = (
    "SELECT CAST(json_group_array(json_array(id, offset, time_ms)) AS BLOB) FROM "
    "(SELECT * FROM past_ids WHERE room = ? ORDER BY offset)"
)


def check_tables(db: sqlite3.Connection) -> None:
    """Raise `sqlite3.OperationalError` where a table or column is not there."""
    for table, columns in _TABLES.items():
        db.execute(f"SELECT {columns} FROM {table} LIMIT 0").fetchall()


def read_text(value: bytes) -> str:
    """Return a text that was read; one that is none is found by its checksum."""
    return value.decode(errors="replace")


def is_sound(room: RoomRow, crc: object) -> bool:
    """Tell whether a room's row is as it was written."""
    numbers = (room.top, room.last, room.gone, room.lost)
    if (
        not all(isinstance(number, int) for number in numbers)
        or not isinstance(room.epoch, str)
        or not isinstance(room.name, str)
    ):
        return False
    return room.seal == crc and is_room_name(room.name)


def read_room(db: sqlite3.Connection, name: str, room_id: int) -> tuple[RoomRow, RoomRecord]:
    """Read all that is known of a room.

    Raises:
        DamagedError: It is not as it was written.
    """
    row = db.execute(
        "SELECT r.epoch, r.top, r.last, r.gone, r.lost, r.watched, r.crc, s.offset, s.state, s.alerts, s.crc "
        "FROM rooms r LEFT JOIN states s ON s.room = r.id WHERE r.id = ?",
        (room_id,),
    ).fetchone()
    epoch, top, last, gone, lost, watched, crc, state_offset, state, alerts, state_crc = row
    room = RoomRow(name, epoch, room_id, top, last, gone, lost, bool(watched), state_offset or 0)
    room.alert_offset = top if watched else 0
    if not is_sound(room, crc):
        raise DamagedError(WRONG_ROW)
    if state is not None and (
        not isinstance(state, bytes) or seal_of_state(room_id, state_offset, state, alerts) != state_crc
    ):
        raise DamagedError("its snapshot: the checksum is wrong")
    if not isinstance(room.state_offset, int) or not gone <= room.state_offset <= top:
        raise DamagedError(f"its snapshot at {room.state_offset} does not fit its events up to {top}")
    record = RoomRecord(
        epoch=epoch,
        top=top,
        events=events_of(room, _pages(db, room_id)),
        gone=gone,
        lost=lost,
        state=state,
        state_offset=room.state_offset,
        past_ids=_past_ids(db, room_id),
    )
    return room, record


def _pages(db: sqlite3.Connection, room_id: int) -> Iterator[bytes]:
    after = -1
    while True:
        page, count, after = _one(db, _EVENTS, (room_id, after, _EVENTS_PAGE))
        if count:
            yield page
        if count < _EVENTS_PAGE:
            return


def _past_ids(db: sqlite3.Connection, room_id: int) -> tuple[PastId, ...]:
    (rows,) = _one(db, _PAST_IDS, (room_id,))
    try:
        return tuple(PastId(*row) for row in _JSON_IDS.decode(rows))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError(f"the ids of its former events: {error}") from None


def _one(db: sqlite3.Connection, sql: str, values: tuple[int, ...]) -> tuple[Any, ...]:
    try:
        row: tuple[Any, ...] = db.execute(sql, values).fetchone()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, None):
            raise DamagedError(f"a row has a value of another type: {error}") from error
        raise
    return row
