"""What every event log must do. A new log is one more fixture parameter here."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from actors.errors import LogUnavailable, PostroomError
from actors.log import EventLog, MemoryLog, RoomRecord
from actors.messages import Append, Committed

from .fake_clock import settled
from .making import a_draft

LOGS: dict[str, Callable[[], EventLog]] = {"memory": MemoryLog}


class Ear:
    """Hears what it is told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def tell(self, message: Any) -> None:
        self.heard.append(message)


@pytest.fixture(params=LOGS)
def log(request: pytest.FixtureRequest) -> EventLog:
    return LOGS[request.param]()


async def record_of(log: EventLog, room: str = "team:1") -> RoomRecord:
    """Open the room."""
    ready: list[RoomRecord | LogUnavailable] = []
    log.open(room, ready.append)
    await settled()
    (record,) = ready
    assert isinstance(record, RoomRecord)
    return record


async def append(log: EventLog, *names: str, room: str = "team:1") -> list[Committed]:
    """Append events with these ids; return what the room is told."""
    ear = Ear()
    for name in names:
        log.append(room, Append(a_draft(event_id=name), named=True, reply_to=ear, tag=name), ear)
    await settled()
    assert all(isinstance(message, Committed) for message in ear.heard)
    return ear.heard


async def test_a_new_room_is_empty_under_an_epoch_of_its_own(log: EventLog) -> None:
    record = await record_of(log)
    assert (record.top, record.events, record.state, record.state_offset) == (0, (), None, 0)
    assert record.epoch != (await record_of(log, "team:2")).epoch


async def test_a_room_is_known_from_the_first_time_it_was_opened(log: EventLog) -> None:
    assert not log.known("team:1")
    await record_of(log)
    assert log.known("team:1")


async def test_offsets_are_positive_and_each_event_names_the_one_before(log: EventLog) -> None:
    await record_of(log)
    committed = await append(log, "a", "b", "c")
    assert committed[0].event.prev == 0
    assert committed[0].event.offset >= 1
    for before, after in itertools.pairwise(committed):
        assert after.event.prev == before.event.offset < after.event.offset


async def test_commits_are_told_in_the_order_of_the_calls_with_what_was_appended(log: EventLog) -> None:
    await record_of(log)
    committed = await append(log, "a", "b", "c")
    assert [message.event.draft.id for message in committed] == ["a", "b", "c"]
    assert [message.append.tag for message in committed] == ["a", "b", "c"]


async def test_rooms_count_for_themselves(log: EventLog) -> None:
    await record_of(log)
    await record_of(log, "team:2")
    await append(log, "a", "b")
    assert (await append(log, "c", room="team:2"))[0].event.prev == 0


async def test_a_record_holds_what_was_committed(log: EventLog) -> None:
    before = await record_of(log)
    committed = await append(log, "a", "b")
    record = await record_of(log)
    assert record.epoch == before.epoch
    assert record.events == tuple(message.event for message in committed)
    assert record.top == committed[-1].event.offset


async def test_a_record_that_is_asked_for_after_appends_holds_them(log: EventLog) -> None:
    """A room that failed with appends under way goes on from this: else their retries would be taken twice."""
    await record_of(log)
    ear, ready = Ear(), []
    log.append("team:1", Append(a_draft(event_id="a"), named=True, reply_to=ear, tag=1), ear)
    log.open("team:1", ready.append)
    await settled()
    assert [event.draft.id for event in ready[0].events] == ["a"]


async def test_a_record_does_not_change_after_it_was_handed_out(log: EventLog) -> None:
    await record_of(log)
    await append(log, "a")
    record = await record_of(log)
    await append(log, "b")
    assert len(record.events) == 1


async def test_events_of_every_shape_come_back_as_they_were(log: EventLog) -> None:
    await record_of(log)
    ear = Ear()
    drafts = [
        a_draft("alert", event_id="ä" * 200, ack="required"),
        a_draft(
            "progress", {"current": 10**20, "x": ["\x00", "😀", None]}, event_id="p", key="k", delivery="ephemeral"
        ),
        a_draft("build.finished", {}, event_id="'; drop table events; --"),
    ]
    for each in drafts:
        log.append("team:1", Append(each, named=False, reply_to=ear, tag=None), ear)
    await settled()
    assert [(event.draft, bytes(event.draft.data)) for event in (await record_of(log)).events] == [
        (each, bytes(each.data)) for each in drafts
    ]


async def test_the_last_snapshot_is_kept_with_its_offset(log: EventLog) -> None:
    await record_of(log)
    first, second = await append(log, "a", "b")
    log.snapshot("team:1", first.event.offset, b"one")
    log.snapshot("team:1", second.event.offset, b"two")
    record = await record_of(log)
    assert (record.state, record.state_offset) == (b"two", second.event.offset)


async def test_trimmed_events_are_gone_and_the_offsets_go_on(log: EventLog) -> None:
    await record_of(log)
    *_, last = await append(log, "a", "b", "c")
    log.snapshot("team:1", last.event.offset, b"state")
    log.trim("team:1", last.event.offset)
    record = await record_of(log)
    assert record.events == (last.event,)
    assert record.top == last.event.offset
    assert (await append(log, "d"))[0].event.prev == last.event.offset


async def test_a_room_without_an_event_left_keeps_its_top(log: EventLog) -> None:
    await record_of(log)
    top = (await append(log, "a", "b"))[-1].event.offset
    log.snapshot("team:1", top, b"state")
    log.trim("team:1", top + 1)
    record = await record_of(log)
    assert (record.events, record.top) == ((), top)
    (committed,) = await append(log, "c")
    assert committed.event.prev == top < committed.event.offset


async def test_events_that_no_snapshot_covers_are_never_trimmed(log: EventLog) -> None:
    await record_of(log)
    first, _, last = await append(log, "a", "b", "c")
    log.snapshot("team:1", first.event.offset, b"state")
    with pytest.raises(PostroomError, match="team:1"):
        log.trim("team:1", last.event.offset)
    assert len((await record_of(log)).events) == 3


async def test_a_retired_room_comes_back_as_it_was(log: EventLog) -> None:
    before = await record_of(log)
    (committed,) = await append(log, "a")
    log.snapshot("team:1", committed.event.offset, b"state")
    log.release("team:1")
    assert log.known("team:1")
    record = await record_of(log)
    assert (record.epoch, record.top, record.state) == (before.epoch, committed.event.offset, b"state")
    assert record.events == (committed.event,)


async def test_rooms_in_which_nothing_happened_push_no_other_out_of_the_memory_log() -> None:
    """Whoever may open rooms could have those forgotten that hold something."""
    log = MemoryLog(retired_rooms=2)
    before = await record_of(log, "team:1")
    await append(log, "a", room="team:1")
    log.release("team:1")
    for number in range(10):
        await record_of(log, f"junk:{number}")
        log.release(f"junk:{number}")
    assert not any(log.known(f"junk:{number}") for number in range(10))
    assert log.known("team:1")
    assert (await record_of(log, "team:1")).epoch == before.epoch


async def test_the_memory_log_forgets_the_room_that_retired_longest_ago() -> None:
    log = MemoryLog(retired_rooms=2)
    epochs = {}
    for room in ("team:1", "team:2", "team:3"):
        epochs[room] = (await record_of(log, room)).epoch
        await append(log, "a", room=room)
    for room in ("team:1", "team:2", "team:3"):
        log.release(room)
    assert [log.known(room) for room in epochs] == [False, True, True]
    assert (await record_of(log, "team:1")).epoch != epochs["team:1"]


async def test_the_memory_log_does_not_forget_a_room_that_came_back() -> None:
    log = MemoryLog(retired_rooms=1)
    await record_of(log)
    log.release("team:1")
    await record_of(log)
    for room in ("team:2", "team:3"):
        await record_of(log, room)
        log.release(room)
    assert log.known("team:1")
