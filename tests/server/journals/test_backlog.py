"""What waits while nothing can be written: little, the newest of each room, and in an order that does no harm."""

from __future__ import annotations

from typing import Any

import pytest

from server.journals.backlog import Backlog
from server.journals.batch import Batch, Outcome
from server.journals.operations import Open, Operation, Release, Snapshot, Trim

from .keeping import ROOM

OTHER = "team:2"


def snapshot(offset: int, room: str = ROOM) -> Snapshot:
    return Snapshot(room, "epoch", offset, b"x" * offset, watched=False)


def trim(before: int, room: str = ROOM) -> Trim:
    return Trim(room, "epoch", before, 0, (), 0)


def opening(room: str = ROOM) -> Open:
    def ready(record: Any) -> None:
        """Nobody waits for it."""

    return Open(room, ready)


def settle(backlog: Backlog, batch: Batch | None, trouble: str | None = None) -> None:
    """Say what came of a batch, as the desk does."""
    assert batch is not None
    batch.outcome = Outcome(results=[None] * len(batch.operations), trouble=trouble)
    backlog.trouble = trouble
    backlog.settle(batch)


def put(backlog: Backlog, *operations: Operation) -> None:
    for operation in operations:
        backlog.put(operation)


def taken(backlog: Backlog) -> list[Operation]:
    batch = backlog.take(0)
    return [] if batch is None else list(batch.operations)


@pytest.fixture
def backlog() -> Backlog:
    backlog = Backlog()
    backlog.trouble = "its disk is full"
    return backlog


def test_of_each_room_the_newest_snapshot_and_the_newest_trim_wait(backlog: Backlog) -> None:
    for offset in range(1, 100):
        put(backlog, snapshot(offset), trim(offset), snapshot(offset, OTHER))
        assert taken(backlog) == []
    assert len(backlog) == 3
    assert backlog.bytes == 2 * 99
    backlog.trouble = None
    assert taken(backlog) == [snapshot(99), snapshot(99, OTHER), trim(99)]


def test_a_trim_comes_after_the_snapshot_that_it_stands_on(backlog: Backlog) -> None:
    put(backlog, snapshot(1), trim(2), snapshot(2))
    taken(backlog)
    backlog.trouble = None
    put(backlog, snapshot(3))
    assert taken(backlog) == [snapshot(2), trim(2), snapshot(3)]


def test_a_room_that_is_released_leaves_nothing_to_wait_however_often(backlog: Backlog) -> None:
    put(backlog, snapshot(7, OTHER))
    for offset in range(1, 100):
        put(backlog, opening(), snapshot(offset), trim(offset), Release(ROOM))
        batch = backlog.take(0)
        assert batch is not None
        assert [type(each) for each in batch.operations] == [Open, Release]
        settle(backlog, batch, "its disk is full")
    assert len(backlog) == 1
    assert backlog.bytes == 7


def test_what_failed_is_older_than_what_waits(backlog: Backlog) -> None:
    backlog.trouble = None
    put(backlog, snapshot(1), trim(1), snapshot(5, OTHER))
    batch = backlog.take(0)
    put(backlog, snapshot(2))
    settle(backlog, batch, "its disk is full")
    assert backlog.bytes == 2 + 5
    backlog.trouble = None
    assert set(taken(backlog)) == {snapshot(2), trim(1), snapshot(5, OTHER)}


def test_what_failed_with_its_rooms_release_does_not_wait(backlog: Backlog) -> None:
    backlog.trouble = None
    put(backlog, snapshot(1), trim(1), Release(ROOM))
    settle(backlog, backlog.take(0), "its disk is full")
    assert (len(backlog), backlog.bytes) == (0, 0)


def test_what_is_written_again_after_the_trouble_does_not_wait_any_more(backlog: Backlog) -> None:
    put(backlog, snapshot(1), trim(1))
    settle(backlog, backlog.take(0, probe=True))
    settle(backlog, backlog.take(0))
    assert (len(backlog), backlog.bytes) == (0, 0)
    assert taken(backlog) == []
