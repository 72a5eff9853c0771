"""Statements that write many rows at once: rows in, into a database, in as few steps as can be.

The `sqlite3` module lets go of the interpreter at each step of a statement, and an event loop that is busy takes up to
5 ms to give it back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, repeat
from typing import Any

import msgspec

__all__ = ["insert", "write_trims"]

_ROWS_AT_ONCE = 256

# Each gap is a JSON list: room, the first offset in it, the first one behind it. Each trim: room, ids_since_ms. CROSS
# JOIN keeps SQLite to this order: one search for each gap, and no look at what stays.
_TRIMMED = (
    "FROM json_each(?1) AS g CROSS JOIN events AS e ON e.room = json_extract(g.value, '$[0]') "
    "AND e.offset >= json_extract(g.value, '$[1]') AND e.offset < json_extract(g.value, '$[2]')"
)
_KEEP_IDS = f"INSERT OR REPLACE INTO past_ids SELECT e.room, e.offset, e.id, e.time_ms {_TRIMMED} WHERE e.named"
_DROP_EVENTS = f"DELETE FROM events WHERE (room, offset) IN (SELECT e.room, e.offset {_TRIMMED})"
# From the oldest up to the first that is young enough: a room may have 100,000.
_YOUNG = (
    "SELECT y.offset FROM past_ids AS y WHERE y.room = json_extract(t.value, '$[0]') "
    "AND y.time_ms >= json_extract(t.value, '$[1]') ORDER BY y.offset LIMIT 1"
)
_DROP_IDS = (
    "DELETE FROM past_ids WHERE (room, offset) IN (SELECT p.room, p.offset "
    "FROM json_each(?1) AS t CROSS JOIN past_ids AS p ON p.room = json_extract(t.value, '$[0]') "
    f"AND p.offset < ifnull(({_YOUNG}), {2**63 - 1}))"
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
    """Drop old events of many rooms, and keep the ids that publishers gave; the time it takes grows with what is kept.

    Args:
        db: Within a transaction.
        trims: Each a room, that is there once, the offset before which events go, `ids_since_ms`, and offsets that
            stay, in any order.
    """
    trims = list(trims)
    gaps = _as_json([(room, *gap) for room, before, _, keep in trims for gap in _gaps(before, keep)])
    db.execute(_KEEP_IDS, gaps)
    db.execute(_DROP_EVENTS, gaps)
    db.execute(_DROP_IDS, _as_json([(room, ids_since_ms) for room, _, ids_since_ms, _ in trims]))


def _gaps(before: int, keep: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield what lies between the offsets that stay: the first offset of each gap, and the first one behind it."""
    first = 0
    for offset in sorted(keep):
        if offset >= before:
            break
        if offset > first:
            yield first, offset
        first = offset + 1
    if first < before:
        yield first, before


def _as_json(rows: list[tuple[int, ...]]) -> tuple[str]:
    return (msgspec.json.encode(rows).decode(),)


@cache
def _statement(into: str, width: int, rows: int, end: str) -> str:
    row = f"({','.join('?' * width)})"
    # Places that are left hold NULL. An upsert after SELECT needs a WHERE in any case.
    return f"{into} SELECT * FROM (VALUES {','.join([row] * rows)}) WHERE column1 IS NOT NULL{end}"
