"""Somebody has written into a journal's rows: bytes by chance, and a pickle that would run a command. Nothing obeys."""

from __future__ import annotations

import os
import pickle
import random
import sqlite3
from pathlib import Path
from typing import Any

from actors.events import Event
from actors.record import RoomRecord

from .keeping import keeper

COLUMNS = {
    "rooms": ("name", "epoch", "top", "last", "gone", "lost", "watched", "crc", "used_ms"),
    "states": ("offset", "alerts", "crc", "state"),
    "events": ("offset", "follows", "id", "kind", "time_ms", "key", "delivery", "ack", "named", "data", "crc"),
    "past_ids": ("offset", "id", "time_ms"),
}
SEED = 1


class Bomb:
    """Runs a command where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._path}",)


async def test_what_was_written_into_a_row_is_found_out_and_never_obeyed(path: Path, tmp_path: Path) -> None:
    """Whatever stands in whichever column, its room is as it was or begins anew, alone, and takes events."""
    went_off = tmp_path / "went-off"
    bomb, chance = pickle.dumps(Bomb(went_off)), random.Random(SEED)
    payloads = [bomb, bomb.decode("latin-1"), *(chance.randbytes(64) for _ in range(3)), "", -1, 2**62, 0.5]
    rooms = {
        f"team:{table}.{column}.{number}": (table, column, payload)
        for table, columns in COLUMNS.items()
        for column in columns
        for number, payload in enumerate(payloads)
    }
    before = await _filled(path, [*rooms, "team:untouched"])
    with sqlite3.connect(path) as other:
        for number, (room, (table, column, payload)) in enumerate(rooms.items()):
            value = f"{payload}{number}" if (table, column) == ("rooms", "name") else payload
            _write(other, room, table, column, value)
    other.close()
    anew = 0
    async with keeper(path) as kept:
        for room, where in rooms.items():
            record = await kept.record(room)
            began_anew = (record.top, record.events, record.state) == (0, (), None)
            assert began_anew or _content(record) == _content(before[room]), where
            anew += began_anew
            (event,) = await kept.append("after", room=room)
            assert isinstance(event, Event), (where, event)
        assert await kept.record("team:untouched") == before["team:untouched"]
    assert anew > len(rooms) / 2
    assert not went_off.exists(), "it went off"
    assert pickle.loads(bomb) == 0
    assert went_off.exists(), "the bomb is a dud: the test shows nothing"


def _content(record: RoomRecord) -> tuple[object, ...]:
    """Return what clients would see, and how far it goes."""
    return record.top, record.events, record.gone, record.lost, record.state, record.state_offset


async def _filled(path: Path, rooms: list[str]) -> dict[str, RoomRecord]:
    """Write rooms with a snapshot, trimmed events and ids, and close the file; return what is in them."""
    async with keeper(path) as kept:
        for room in rooms:
            await kept.record(room)
            await kept.append(*(f"{room}-{number}" for number in range(5)), room=room)
            kept.log.snapshot(room, 4, b'{"status": "started"}', watched=False)
            kept.log.trim(room, 3, lost=2, keep=(), ids_since_ms=0)
        return {room: await kept.record(room) for room in rooms}


def _write(other: sqlite3.Connection, room: str, table: str, column: str, value: object) -> None:
    (number,) = other.execute("SELECT id FROM rooms WHERE name = ?", (room,)).fetchone()
    which = {"rooms": "id = ?1", "states": "room = ?1"}.get(
        table, f"room = ?1 AND offset = (SELECT max(offset) FROM {table} WHERE room = ?1)"
    )
    other.execute(f"UPDATE {table} SET {column} = ?2 WHERE {which}", (number, value))
