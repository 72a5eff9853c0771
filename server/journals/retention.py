"""Retention: how large a journal may grow. Its pages in; out which rooms to trim or forget next, a little at a time.

Only rooms that nobody has open are touched, the least recently used first. What their snapshots cover is trimmed, all
but unacknowledged alerts; when that is not enough, rooms are forgotten in which nothing waits for anybody. What was set
aside because it is damaged may be somebody's last copy: it is dropped when there is nothing else to drop.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from .rows import RoomRow

__all__ = ["Excess", "Retention", "Trimmed"]

_CHECK_EVERY = 32
"""Transactions between two looks at the size."""
_AGAIN_MS = 60_000
"""How long it is left alone when all that is in it is in use: it takes a look at every room to find that out."""
_ENOUGH = 0.9
"""To which part of the bound the journal is trimmed, so that it does not start over with the next event."""
_STEP_EVENTS = 2000
"""About how many events one transaction drops."""
_CANDIDATES = 4096

_OFFSETS = msgspec.json.Decoder(tuple[int, ...])

_USED = (
    "SELECT (page_count - freelist_count) * page_size "
    "FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()"
)
_COLUMNS = (
    "SELECT r.id, r.name, r.epoch, r.top, r.last, r.gone, r.lost, r.watched, r.crc, r.used_ms, s.offset, s.alerts "
    "FROM rooms AS r LEFT JOIN states AS s ON s.room = r.id WHERE r.id NOT IN (SELECT value FROM json_each(?)) "
)
_TO_TRIM = "AND r.gone < s.offset AND s.alerts IS NOT NULL AND instr(r.name, ' ') = 0 "
# An alert that no snapshot knows of yet makes its room watched.
_TO_FORGET = "AND NOT r.watched AND (s.room IS NULL OR s.alerts = '[]') AND instr(r.name, ' ') = 0 "
_OLDEST = f"ORDER BY r.used_ms LIMIT {_CANDIDATES}"
_THESE = "AND r.id IN (SELECT value FROM json_each(?)) ORDER BY r.used_ms"
_OLDEST_ASIDE = "SELECT id, name FROM rooms WHERE instr(name, ' ') > 0 ORDER BY used_ms, id LIMIT 1"


class Trimmed(msgspec.Struct):
    """What was dropped since the journal grew too large."""

    rooms_trimmed: int = 0
    rooms_forgotten: int = 0
    used_bytes: int = 0
    """How large it was at the last look."""
    enough: bool = True
    """Whether the journal is small enough now; else all that is left is in use."""


class Excess(NamedTuple):
    """What to drop in this transaction."""

    trim: list[tuple[RoomRow, int, tuple[int, ...]]]
    """A room, the offset before which its events go, and the offsets of those that stay."""
    forget: list[RoomRow]
    damaged: list[RoomRow]
    """Rooms whose rows are not as they were written."""
    aside: tuple[int, str] | None = None
    """A room that was set aside, with the name that it has now."""


class Retention:
    """Keeps a journal within a bound.

    Args:
        most_bytes: The bound; 0: none.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._transactions = 0
        self._trimmed: Trimmed | None = None
        """What was dropped so far; None: the journal is not too large, or left alone."""
        self._given_up_ms: int | None = None
        """When there was nothing left to drop; None: the journal was within its bound since."""
        self._candidates: deque[int] = deque()
        self._what = _TO_TRIM
        """What the candidates are for."""

    @property
    def active(self) -> bool:
        """Whether something may have to be dropped now."""
        return self._trimmed is not None

    def look(self, db: sqlite3.Connection, now_ms: int) -> Trimmed | None:
        """Look at the size, if it is time to; return what was dropped when the journal has become small enough."""
        self._transactions += 1
        if not self._most_bytes:
            return None
        if self._trimmed is None and (self._transactions % _CHECK_EVERY or self._rests(now_ms)):
            return None
        (used,) = db.execute(_USED).fetchone()
        if self._trimmed is None:
            if used <= self._most_bytes:
                self._given_up_ms = None
                return None
            self._trimmed = Trimmed()
        self._trimmed.used_bytes = used
        if used > self._most_bytes * _ENOUGH:
            return None
        self._given_up_ms = None
        return self._end()

    def excess(self, db: sqlite3.Connection, opened: Collection[int]) -> Excess | None:
        """Choose what to drop now; None: nothing, or there is nothing left to drop."""
        if self._trimmed is None:
            return None
        closed = msgspec.json.encode(list(opened)).decode()
        rows = self._choose(db, closed)
        for what in (_TO_TRIM, _TO_FORGET):
            if rows:
                return self._excess(rows)
            self._what = what
            self._candidates.extend(row[0] for row in db.execute(_COLUMNS + what + _OLDEST, (closed,)))
            rows = self._choose(db, closed)
        if rows:
            return self._excess(rows)
        aside = db.execute(_OLDEST_ASIDE).fetchone()
        return None if aside is None else Excess([], [], [], aside)

    def give_up(self, now_ms: int) -> Trimmed | None:
        """Leave alone what is left, because it is in use, for a while; return what was dropped.

        None: nothing was, as the last time.
        """
        if self._trimmed is None:
            return None
        trimmed = self._end()
        trimmed.enough = trimmed.used_bytes <= self._most_bytes
        known = self._given_up_ms is not None and not (trimmed.rooms_trimmed or trimmed.rooms_forgotten)
        self._given_up_ms = now_ms
        return None if known else trimmed

    def _rests(self, now_ms: int) -> bool:
        # The system's clock may have been put back.
        return self._given_up_ms is not None and 0 <= now_ms - self._given_up_ms < _AGAIN_MS

    def _end(self) -> Trimmed:
        assert self._trimmed is not None
        trimmed, self._trimmed = self._trimmed, None
        self._candidates.clear()
        return trimmed

    def _choose(self, db: sqlite3.Connection, opened: str) -> list[tuple[Any, ...]]:
        """Take the next of the candidates with which it may still be done."""
        while self._candidates:
            these = [self._candidates.popleft() for _ in range(min(256, len(self._candidates)))]
            values = (opened, msgspec.json.encode(these).decode())
            rows = db.execute(_COLUMNS + self._what + _THESE, values).fetchall()
            events = 0
            for number, row in enumerate(rows, 1):
                events += row[3] - row[5]
                if events >= _STEP_EVENTS:
                    self._candidates.extendleft(row[0] for row in reversed(rows[number:]))
                    return rows[:number]
            if rows:
                return rows
        return []

    def _excess(self, rows: list[tuple[Any, ...]]) -> Excess:
        assert self._trimmed is not None
        excess = Excess([], [], [])
        for room_id, name, epoch, top, last, gone, lost, watched, crc, used_ms, offset, alerts in rows:
            room = RoomRow(name, epoch, room_id, top, last, gone, lost, bool(watched), offset or 0, used_ms=used_ms)
            if self._what is _TO_FORGET:
                excess.forget.append(room)
            elif room.seal != crc:
                excess.damaged.append(room)
            else:
                excess.trim.append((room, offset + 1, _OFFSETS.decode(alerts)))
        self._trimmed.rooms_trimmed += len(excess.trim)
        self._trimmed.rooms_forgotten += len(excess.forget)
        return excess
