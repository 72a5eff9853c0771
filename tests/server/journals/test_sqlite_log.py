"""A log in a file outlives the process: what it knew before the stop it knows after the start."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from actors.errors import ErrorCode, LogUnavailable, PostroomError, Refusal
from actors.events import Event
from actors.messages import Append
from actors.record import PastId
from server.journals import sqlite
from server.journals.faults import JournalError
from server.journals.sqlite import SqliteLog
from server.journals.store import Store
from tests.actors.fake_clock import FakeClock
from tests.actors.making import TIME_MS, a_draft

from .keeping import ROOM, Ear, Keeper, keeper, until


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_room_comes_back_as_it_was(path: Path) -> None:
    async with keeper(path) as kept:
        epoch = (await kept.record()).epoch
        events = [event for event in await kept.append("a", "b", "c", "d") if isinstance(event, Event)]
        kept.log.snapshot(ROOM, 3, b"state", watched=False)
        kept.log.trim(ROOM, 3, lost=0, keep=(1,), ids_since_ms=0)
        before = await kept.record()
    async with keeper(path) as kept:
        assert kept.log.known(ROOM)
        after = await kept.record()
    assert after == before
    assert (after.epoch, after.top, after.gone) == (epoch, 4, 2)
    assert after.events == (events[0], *events[2:])
    assert after.past_ids == (PastId("b", 2, TIME_MS),)


async def test_a_room_that_ended_with_ephemeral_events_keeps_its_top(path: Path) -> None:
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a", "b", delivery="ephemeral")
    async with keeper(path) as kept:
        assert (await kept.record()).top == 2
        assert [event.offset for event in await kept.append("c") if isinstance(event, Event)] == [3]


async def test_a_room_in_which_nothing_happened_is_not_written_and_keeps_its_epoch(path: Path) -> None:
    async with keeper(path) as kept:
        before = await kept.record()
    async with keeper(path) as kept:
        assert not kept.log.known(ROOM)
        assert await kept.record() == before


async def test_rooms_are_watched_from_an_alert_to_acknowledge_until_a_snapshot_says_otherwise(path: Path) -> None:
    async with keeper(path) as kept:
        for room in ("team:1", "team:2", "team:3"):
            await kept.record(room)
        await kept.append("a", room="team:1", kind="alert", ack="required")
        await kept.append("a", room="team:2")
        await kept.append("a", room="team:3", kind="alert", ack="required")
        kept.log.snapshot("team:2", 1, b"{}", watched=True)
        kept.log.snapshot("team:3", 1, b"{}", watched=False)
        await kept.record()
        assert set(kept.log.watched()) == {"team:1", "team:2"}
    async with keeper(path) as kept:
        assert set(kept.log.watched()) == {"team:1", "team:2"}


async def test_a_snapshot_that_does_not_know_of_the_alert_before_it_leaves_the_room_watched(kept: Keeper) -> None:
    """The alert was on its way to the disk when the room made the snapshot."""
    await kept.record()
    await kept.append("a")
    await kept.append("b", kind="alert", ack="required")
    kept.log.snapshot(ROOM, 1, b"{}", watched=False)
    await kept.record()
    assert set(kept.log.watched()) == {ROOM}
    kept.log.snapshot(ROOM, 2, b"{}", watched=False)
    await kept.record()
    assert set(kept.log.watched()) == set()


async def test_trims_that_are_written_together_count_one_after_the_other(kept: Keeper) -> None:
    await kept.record()
    await kept.append("a", "b", "c", "d")
    kept.log.trim(ROOM, 4, lost=0, keep=(), ids_since_ms=0)
    kept.log.snapshot(ROOM, 4, b"{}", watched=False)
    kept.log.trim(ROOM, 3, lost=0, keep=(1,), ids_since_ms=0)
    kept.log.trim(ROOM, 4, lost=2, keep=(3,), ids_since_ms=0)
    record = await kept.record()
    assert [event.offset for event in record.events] == [3, 4]
    assert (record.gone, record.lost) == (3, 2)
    assert [past.offset for past in record.past_ids] == [1, 2]


async def test_what_waits_at_the_stop_is_written(path: Path) -> None:
    ear = Ear()
    async with keeper(path) as kept:
        await kept.record()
        kept.tell(ear, *(a_draft(event_id=str(number)) for number in range(5000)))
        kept.log.snapshot(ROOM, 0, b"", watched=False)
    assert len(ear.heard) == 5000
    async with keeper(path) as kept:
        assert (await kept.record()).top == 5000


async def test_only_this_user_may_read_what_is_made(path: Path) -> None:
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {name: 0o600 for name in ("journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock")}


async def test_too_many_events_at_once_are_refused_as_busy(kept: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of them are kept; later it takes events again."""
    monkeypatch.setattr(sqlite, "_MOST_APPENDS", 10)
    await kept.record()
    ear = Ear()
    kept.tell(ear, *(a_draft(event_id=str(number)) for number in range(12)))
    refusals = [each for each in ear.heard if isinstance(each, Refusal)]
    assert [(each.code, each.retry_after_ms) for each in refusals] == [(ErrorCode.BUSY, 100)] * 2
    await until(lambda: len(ear.heard) == 12)
    assert await kept.ids() == [str(number) for number in range(10)]
    assert isinstance((await kept.append("more"))[0], Event)


async def test_too_much_data_at_once_is_refused_as_busy(kept: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_MOST_BYTES", 1000)
    await kept.record()
    ear = Ear()
    kept.tell(ear, *(a_draft(data={"text": "x" * 600}, event_id=str(number)) for number in range(3)))
    await until(lambda: len(ear.heard) == 3)
    assert sorted(type(each).__name__ for each in ear.heard) == ["Event", "Event", "Refusal"]
    assert kept.log._backlog.bytes == 0


async def test_an_event_that_cannot_be_kept_fails_alone(kept: Keeper) -> None:
    await kept.record()
    heard = await kept.append("a")
    ear = Ear()
    kept.tell(ear, a_draft(event_id="b"), a_draft(event_id="late", time_ms=2**70), a_draft(event_id="c"))
    await until(lambda: len(ear.heard) == 3)
    heard += ear.heard
    assert [each.offset if isinstance(each, Event) else each.code for each in heard] == [1, 2, ErrorCode.INTERNAL, 3]


async def test_a_room_that_cannot_begin_with_its_record_fails_alone(kept: Keeper) -> None:
    heard: list[Any] = []

    def ready(record: Any) -> None:
        heard.append(record)
        if not isinstance(record, LogUnavailable):
            raise RuntimeError("no room")

    kept.log.open(ROOM, ready)
    await kept.record("team:2")
    assert isinstance(heard[1], LogUnavailable)
    assert "no room" in str(heard[1])


async def test_a_room_that_was_released_takes_no_events(kept: Keeper) -> None:
    await kept.record()
    await kept.append("a")
    kept.log.release(ROOM)
    with pytest.raises(PostroomError, match=ROOM):
        kept.log.append(ROOM, Append(a_draft(), named=True, reply_to=Ear(), tag=None), Ear())
    kept.log.snapshot(ROOM, 1, b"late", watched=False)
    kept.log.trim(ROOM, 2, lost=0, keep=(), ids_since_ms=0)
    kept.log.release(ROOM)
    assert (await kept.record()).state is None


async def test_stopping_a_log_that_was_not_started_does_no_harm(path: Path) -> None:
    await SqliteLog(path, clock=FakeClock()).stop()
    assert files_in(path.parent.parent) == []


async def test_a_start_that_fails_for_a_reason_nobody_thought_of_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]]
) -> None:
    def failing(self: Store) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Store, "probe", failing)
    with pytest.raises(JournalError, match="it cannot be opened; the log says why"):
        async with keeper(path):
            pass
    assert [line["error"] for line in logged if line["event"] == "journal_batch_failed"] == ["a bug"]


async def test_a_log_may_be_stopped_twice(path: Path) -> None:
    async with keeper(path) as kept:
        await kept.log.stop()
        await kept.log.stop()


async def test_the_write_ahead_log_stays_small(kept: Keeper) -> None:
    """40 MB go through it."""
    await kept.record()
    for number in range(40):
        ear = Ear()
        kept.tell(ear, *(a_draft(data={"text": "x" * 50_000}, event_id=f"{number}-{each}") for each in range(20)))
        await until(lambda ear=ear: len(ear.heard) == 20)  # type: ignore[misc]  # a default binds the loop's value
    await kept.record("team:2")
    assert kept.path.with_name("journal.db-wal").stat().st_size <= 24 * 1024 * 1024
