"""Statements that write many rows at once: rows in, into a database, in as few steps as can be.

The `sqlite3` module lets go of the interpreter at each step of a statement, and an event loop that is busy takes up to
5 ms to give it back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain, repeat
from typing import Any

import msgspec

__all__ = ["insert", "write_trims"]

_ROWS_AT_ONCE = 256

# Each trim is a JSON list: room, before, ids_since_ms, offsets to keep. CROSS JOIN keeps SQLite to this order.
_TRIMMED = (
    "FROM json_each(?1) AS t CROSS JOIN events AS e "
    "ON e.room = json_extract(t.value, '$[0]') AND e.offset < json_extract(t.value, '$[1]') "
    "WHERE e.offset NOT IN (SELECT value FROM json_each(t.value, '$[3]'))"
)
_KEEP_IDS = f"INSERT OR REPLACE INTO past_ids SELECT e.room, e.offset, e.id, e.time_ms {_TRIMMED} AND e.named"
_DROP_EVENTS = f"DELETE FROM events WHERE (room, offset) IN (SELECT e.room, e.offset {_TRIMMED})"
_DROP_IDS = (
    "DELETE FROM past_ids WHERE (room, offset) IN (SELECT p.room, p.offset "
    "FROM json_each(?1) AS t CROSS JOIN past_ids AS p ON p.room = json_extract(t.value, '$[0]') "
    "WHERE p.time_ms < json_extract(t.value, '$[2]'))"
)


def insert(db: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]], end: str = "") -> None:
    """Insert rows, the last of them in a statement that has places left: the fewer statements the better.

    Args:
        db: Within a transaction.
        into: `INSERT INTO` and a table.
        rows: As wide as the table. The first value of none is None.
        end: What follows, as `ON CONFLICT`.
    """
    width = len(rows[0]) if rows else 0
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE]
        places = 1 << (len(some) - 1).bit_length()
        values = [*chain.from_iterable(some), *repeat(None, (places - len(some)) * width)]
        db.execute(_statement(into, width, places, end), values)


def write_trims(db: sqlite3.Connection, trims: Iterable[tuple[int, int, int, tuple[int, ...]]]) -> None:
    """Drop old events of many rooms, each of which is there once; keep the ids that publishers gave."""
    what = (msgspec.json.encode(trims).decode(),)
    db.execute(_KEEP_IDS, what)
    db.execute(_DROP_EVENTS, what)
    db.execute(_DROP_IDS, what)


@cache
def _statement(into: str, width: int, rows: int, end: str) -> str:
    row = f"({','.join('?' * width)})"
    # Places that are left hold NULL. An upsert after SELECT needs a WHERE in any case.
    return f"{into} SELECT * FROM (VALUES {','.join([row] * rows)}) WHERE column1 IS NOT NULL{end}"
