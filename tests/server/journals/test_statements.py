"""What a trim costs and leaves: a real database in memory, and the steps that SQLite takes on it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator

import pytest

from server.journals import schema
from server.journals.statements import insert, write_trims

ROOM, OTHER = 1, 2


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(db)
    db.execute("BEGIN")
    yield db
    db.close()


def steps(db: sqlite3.Connection, work: Callable[[], object]) -> int:
    """Count about how many instructions of SQLite's machine it takes."""
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 20

    db.set_progress_handler(count, 20)
    work()
    db.set_progress_handler(None, 0)
    return taken


def fill(db: sqlite3.Connection, room: int, offsets: range) -> None:
    rows = [(room, each, each - 1, f"e{each}", "app.thing", each, None, "keep", 0, 1, "{}", 0) for each in offsets]
    insert(db, "INSERT INTO events", rows)


def offsets(db: sqlite3.Connection, table: str, room: int) -> list[int]:
    return [each for (each,) in db.execute(f"SELECT offset FROM {table} WHERE room = ? ORDER BY offset", (room,))]


def steps_with(db: sqlite3.Connection, room: int, kept: int) -> int:
    """Trim 256 events behind `kept` others that stay, none of them next to another."""
    fill(db, room, range(2, 2 * kept + 1, 2))
    fill(db, room, range(2 * kept + 1, 2 * kept + 257))
    keep = tuple(range(2, 2 * kept + 1, 2))
    taken = steps(db, lambda: write_trims(db, [(room, 2 * kept + 257, 0, keep)]))
    assert offsets(db, "events", room) == list(keep)
    return taken


def test_the_work_of_a_trim_grows_no_faster_than_what_it_keeps(db: sqlite3.Connection) -> None:
    none, some, many = (steps_with(db, number, kept) for number, kept in enumerate((0, 400, 1600), 1))
    assert many - none < 5 * (some - none)
    assert many < 10 * none


def test_the_work_of_a_trim_does_not_grow_with_the_ids_that_stay(db: sqlite3.Connection) -> None:
    """Those of a room are in the order of their age, so the first that is young enough is where it ends."""
    for room, count in ((ROOM, 100), (OTHER, 10_000)):
        insert(db, "INSERT INTO past_ids", [(room, each, f"e{each}", each) for each in range(1, count + 1)])
        fill(db, room, range(count + 1, count + 11))
    few = steps(db, lambda: write_trims(db, [(ROOM, 111, 50, ())]))
    many = steps(db, lambda: write_trims(db, [(OTHER, 10_011, 50, ())]))
    assert offsets(db, "past_ids", ROOM) == list(range(50, 111))
    assert offsets(db, "past_ids", OTHER) == list(range(50, 10_011))
    assert many < 2 * few


def test_ids_that_are_all_too_old_go(db: sqlite3.Connection) -> None:
    insert(db, "INSERT INTO past_ids", [(room, each, f"e{each}", each) for room in (ROOM, OTHER) for each in (1, 2)])
    write_trims(db, [(ROOM, 1, 3, ())])
    assert offsets(db, "past_ids", ROOM) == []
    assert offsets(db, "past_ids", OTHER) == [1, 2]


@pytest.mark.parametrize("seed", range(20))
def test_a_trim_leaves_what_it_keeps_and_what_is_young(db: sqlite3.Connection, seed: int) -> None:
    """Whatever is kept, in whatever order, and of two rooms at once."""
    chance = random.Random(seed)
    trims = []
    for room in (ROOM, OTHER):
        fill(db, room, range(1, 31))
        keep = tuple(chance.choices(range(40), k=chance.randrange(30)))
        trims.append((room, chance.randrange(33), 0, keep))
    write_trims(db, trims)
    for room, before, _, keep in trims:
        stay = [each for each in range(1, 31) if each >= before or each in keep]
        assert offsets(db, "events", room) == stay
        assert offsets(db, "past_ids", room) == sorted(set(range(1, 31)) - set(stay))
