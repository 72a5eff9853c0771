"""Rows of a journal: a JSON list of them in; events, or `DamagedError`. With right seals, and as they come."""

from __future__ import annotations

import contextlib

import msgspec

from actors.events import Draft, Event
from server.journals.faults import DamagedError
from server.journals.rows import RoomRow, _seal, events_of, row_of

__all__ = ["take"]


def take(data: bytes) -> None:
    """Read the rows; events come back out of their own rows."""
    _read(data)
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        rows = [_sealed(*row) for row in msgspec.json.decode(data, type=list[tuple[object, ...]])]
        data = msgspec.json.encode(rows)
    _read(data)


def _sealed(
    offset: int,
    follows: int,
    event_id: str,
    kind: str,
    time_ms: int,
    key: str | None,
    delivery: str,
    ack: int,
    named: int,
    data: str,
    _crc: object,
) -> tuple[object, ...]:
    """Give a row the checksum that it would have, if SQLite can hold it."""
    if not -(2**63) < time_ms < 2**63:
        raise ValueError("SQLite has no such number")
    crc = _seal(1, offset, follows, event_id, kind, time_ms, key, delivery, bool(ack), bool(named), data)
    return offset, follows, event_id, kind, time_ms, key, delivery, ack, named, data, crc


def _read(page: bytes) -> None:
    rows: list[list[object]] = []
    with contextlib.suppress(ValueError, RecursionError):
        rows = msgspec.json.decode(page, type=list[list[object]])
    last = max((row[0] for row in rows if row and isinstance(row[0], int)), default=0)
    room = RoomRow(name="session:1", epoch="e", id=1, top=last, last=last)
    try:
        events = events_of(room, [page])
    except DamagedError as error:
        assert str(error)
        return
    follows, again = 0, []
    for event in events:
        assert isinstance(event, Event)
        assert isinstance(event.draft, Draft)
        offset, *_, delivery, ack, named, data, crc = row_of(1, follows, event, named=True)[1:]
        again.append((offset, *_, delivery, ack, named, data, crc))
        follows = event.offset
    assert events_of(room, [msgspec.json.encode(again)]) == events
