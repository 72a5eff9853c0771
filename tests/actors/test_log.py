"""What every event log must do, whether it ends with the process or not. A new log is one more parameter here."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.errors import LogUnavailable, PostroomError
from actors.log import EventLog, MemoryLog
from actors.mailbox import Mailbox
from actors.messages import Append, Committed
from actors.record import PastId, RoomRecord
from server.journals.sqlite import SqliteLog

from ..cluster.logs import jetstream_log
from ..nats_server import NatsServer, nats_servers
from .fake_clock import FakeClock, settled
from .making import TIME_MS, a_draft


class Ear:
    """Hears what it is told; who reads waits until it has heard enough."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self._changed = asyncio.Event()

    def tell(self, message: Any) -> None:
        self.heard.append(message)
        self._changed.set()

    async def hears(self, count: int) -> list[Any]:
        while len(self.heard) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.heard


@asynccontextmanager
async def sqlite_log(path: Path) -> AsyncIterator[SqliteLog]:
    """Open the log in a file; close it at the end."""
    log = SqliteLog(path, clock=FakeClock())
    mailboxes: list[Mailbox] = []

    def start_child(name: str, mailbox: Mailbox, start: Callable[[Mailbox], object]) -> None:
        mailboxes.append(mailbox)
        start(mailbox)

    await log.start(start_child)
    try:
        yield log
    finally:
        await log.stop()
        for mailbox in mailboxes:
            mailbox.stop()
        await settled()


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A NATS server for all tests here; each has a cluster of its own in it."""
    with nats_servers(tmp_path_factory.mktemp("nats")) as (server,):
        yield server


@pytest.fixture(params=["memory", "sqlite", "jetstream"])
async def log(request: pytest.FixtureRequest, tmp_path: Path, nothing_left: None) -> AsyncIterator[EventLog]:
    """A new log of each kind."""
    if request.param == "memory":
        yield MemoryLog()
        return
    if request.param == "jetstream":
        nats: NatsServer = request.getfixturevalue("nats")
        await nats.ready()
        async with jetstream_log(nats.url) as cluster_log:
            yield cluster_log
        return
    async with sqlite_log(tmp_path / "journal.db") as log:
        yield log


@pytest.fixture(params=["memory", "sqlite"])
async def own_log(request: pytest.FixtureRequest, tmp_path: Path, nothing_left: None) -> AsyncIterator[EventLog]:
    """A new log of each kind that no other router writes to: it knows all of its rooms."""
    if request.param == "memory":
        yield MemoryLog()
        return
    async with sqlite_log(tmp_path / "journal.db") as log:
        yield log


async def record_of(log: EventLog, room: str = "team:1") -> RoomRecord:
    """Open the room."""
    ready: asyncio.Future[RoomRecord | LogUnavailable] = asyncio.get_running_loop().create_future()
    log.open(room, ready.set_result)
    record = await ready
    assert isinstance(record, RoomRecord)
    return record


async def append(log: EventLog, *names: str, room: str = "team:1", **options: Any) -> list[Committed]:
    """Append events with these ids; return what the room is told."""
    ear = Ear()
    named = options.pop("named", True)
    for name in names:
        log.append(room, Append(a_draft(event_id=name, **options), named=named, reply_to=ear, tag=name), ear)
    heard = await ear.hears(len(names))
    assert all(isinstance(message, Committed) for message in heard)
    return heard


async def test_a_new_room_is_empty_under_an_epoch_of_its_own(log: EventLog) -> None:
    record = await record_of(log)
    assert (record.top, record.events, record.state, record.state_offset) == (0, (), None, 0)
    assert record.epoch != (await record_of(log, "team:2")).epoch


async def test_a_room_is_known_from_the_first_time_it_was_opened(own_log: EventLog) -> None:
    assert not own_log.known("team:1")
    await record_of(own_log)
    assert own_log.known("team:1")


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
    ear = Ear()
    log.append("team:1", Append(a_draft(event_id="a"), named=True, reply_to=ear, tag=1), ear)
    assert [event.draft.id for event in (await record_of(log)).events] == ["a"]


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
            "progress", {"current": 10**20, "x": ["\x00", "😀", None]}, event_id="p\x00", key="k", delivery="latest"
        ),
        a_draft("build.finished", {}, event_id="'; drop table events; --"),
    ]
    for each in drafts:
        log.append("team:1", Append(each, named=False, reply_to=ear, tag=None), ear)
    await ear.hears(len(drafts))
    assert [(event.draft, bytes(event.draft.data)) for event in (await record_of(log)).events] == [
        (each, bytes(each.data)) for each in drafts
    ]


async def test_the_last_snapshot_is_kept_with_its_offset(log: EventLog) -> None:
    await record_of(log)
    first, second = await append(log, "a", "b")
    log.snapshot("team:1", first.event.offset, b"one", watched=False)
    log.snapshot("team:1", second.event.offset, b"two", watched=False)
    record = await record_of(log)
    assert (record.state, record.state_offset) == (b"two", second.event.offset)


async def test_trimmed_events_are_gone_and_the_offsets_go_on(log: EventLog) -> None:
    await record_of(log)
    *_, last = await append(log, "a", "b", "c")
    log.snapshot("team:1", last.event.offset, b"state", watched=False)
    log.trim("team:1", last.event.offset, lost=0, keep=(), ids_since_ms=0)
    record = await record_of(log)
    assert record.events == (last.event,)
    assert record.top == last.event.offset
    assert (await append(log, "d"))[0].event.prev == last.event.offset


async def test_a_room_without_an_event_left_keeps_its_top(log: EventLog) -> None:
    await record_of(log)
    top = (await append(log, "a", "b"))[-1].event.offset
    log.snapshot("team:1", top, b"state", watched=False)
    log.trim("team:1", top + 1, lost=0, keep=(), ids_since_ms=0)
    record = await record_of(log)
    assert (record.events, record.top) == ((), top)
    (committed,) = await append(log, "c")
    assert committed.event.prev == top < committed.event.offset


async def test_events_that_no_snapshot_covers_are_never_trimmed(log: EventLog) -> None:
    await record_of(log)
    first, second, last = await append(log, "a", "b", "c")
    log.trim("team:1", last.event.offset, lost=0, keep=(), ids_since_ms=0)
    assert len((await record_of(log)).events) == 3
    log.snapshot("team:1", first.event.offset, b"state", watched=False)
    log.trim("team:1", last.event.offset, lost=0, keep=(), ids_since_ms=0)
    record = await record_of(log)
    assert record.events == (second.event, last.event)
    assert record.gone == first.event.offset


async def trimmed(
    log: EventLog, before: int, *, lost: int = 0, keep: tuple[int, ...] = (), ids_since_ms: int = 0
) -> RoomRecord:
    """Trim behind a snapshot at the top; return what is left."""
    record = await record_of(log)
    log.snapshot("team:1", record.top, b"state", watched=False)
    log.trim("team:1", before, lost=lost, keep=keep, ids_since_ms=ids_since_ms)
    return await record_of(log)


async def test_a_trim_keeps_the_events_that_it_is_told_to_keep(log: EventLog) -> None:
    await record_of(log)
    events = [message.event for message in await append(log, "a", "b", "c", "d")]
    record = await trimmed(log, events[3].offset, keep=(events[1].offset,))
    assert record.events == (events[1], events[3])
    assert record.gone == events[2].offset
    record = await trimmed(log, events[3].offset)
    assert record.events == (events[3],)


async def test_a_trim_that_drops_nothing_changes_nothing(log: EventLog) -> None:
    await record_of(log)
    await append(log, "a", "b")
    await trimmed(log, 2)
    assert await trimmed(log, 1) == await trimmed(log, 2)
    assert (await record_of(log)).gone == 1


async def test_a_record_says_up_to_where_trimmed_events_mattered(log: EventLog) -> None:
    """Never above what was trimmed, and never less than before."""
    await record_of(log)
    await append(log, "a", "b", "c", "d")
    assert (await trimmed(log, 3, lost=1)).lost == 1
    assert (await trimmed(log, 4, lost=0)).lost == 1
    record = await trimmed(log, 4, lost=100)
    assert (record.gone, record.lost) == (3, 3)


async def test_ids_of_trimmed_events_are_kept_where_the_publisher_gave_them(log: EventLog) -> None:
    await record_of(log)
    (first,) = await append(log, "a", time_ms=TIME_MS)
    await append(log, "made", named=False)
    (third,) = await append(log, "c", time_ms=TIME_MS + 5)
    record = await trimmed(log, third.event.offset + 1)
    assert record.events == ()
    assert record.past_ids == (PastId("a", first.event.offset, TIME_MS), PastId("c", third.event.offset, TIME_MS + 5))
    record = await trimmed(log, third.event.offset + 1, ids_since_ms=TIME_MS + 5)
    assert record.past_ids == (PastId("c", third.event.offset, TIME_MS + 5),)


async def test_an_event_that_a_trim_kept_leaves_its_id_behind_when_it_goes(log: EventLog) -> None:
    await record_of(log)
    (first,) = await append(log, "a")
    await trimmed(log, first.event.offset + 1, keep=(first.event.offset,))
    assert (await record_of(log)).past_ids == ()
    record = await trimmed(log, first.event.offset + 1)
    assert (record.events, [past.event_id for past in record.past_ids]) == ((), ["a"])


async def test_an_ephemeral_event_takes_an_offset_and_is_not_kept(log: EventLog) -> None:
    await record_of(log)
    await append(log, "a")
    (shown,) = await append(log, "b", delivery="ephemeral")
    (after,) = await append(log, "c")
    assert after.event.prev == shown.event.offset
    (last,) = await append(log, "d", delivery="ephemeral")
    record = await record_of(log)
    assert [event.draft.id for event in record.events] == ["a", "c"]
    assert record.top == last.event.offset


async def test_an_event_for_a_room_that_is_not_open_is_refused(log: EventLog) -> None:
    with pytest.raises(PostroomError, match="team:1"):
        log.append("team:1", Append(a_draft(), named=False, reply_to=Ear(), tag=None), Ear())


async def test_many_events_of_many_rooms_get_their_places(log: EventLog) -> None:
    """More than one transaction's worth, so that a log that writes in groups is seen to keep the order."""
    rooms = [f"team:{number}" for number in range(7)]
    ears = {room: Ear() for room in rooms}
    for room in rooms:
        await record_of(log, room)
    for number in range(3000):
        room = rooms[number % 7]
        log.append(room, Append(a_draft(event_id=str(number)), named=True, reply_to=ears[room], tag=number), ears[room])
    for index, room in enumerate(rooms):
        wanted = list(range(index, 3000, 7))
        heard = await ears[room].hears(len(wanted))
        assert [message.append.tag for message in heard] == wanted
        assert [message.event.prev for message in heard] == [0, *(message.event.offset for message in heard[:-1])]
        assert all(message.event.prev < message.event.offset for message in heard)
        assert (await record_of(log, room)).events == tuple(message.event for message in heard)


async def test_a_retired_room_comes_back_as_it_was(log: EventLog) -> None:
    before = await record_of(log)
    (committed,) = await append(log, "a")
    log.snapshot("team:1", committed.event.offset, b"state", watched=False)
    log.release("team:1")
    assert log.known("team:1")
    record = await record_of(log)
    assert (record.epoch, record.top, record.state) == (before.epoch, committed.event.offset, b"state")
    assert record.events == (committed.event,)


async def test_a_room_in_which_nothing_happened_keeps_its_epoch(log: EventLog) -> None:
    """A client that was there before the first event comes back to the same epoch."""
    before = await record_of(log)
    log.release("team:1")
    assert (await record_of(log)).epoch == before.epoch


async def test_a_room_in_which_nothing_happened_is_not_known_when_it_is_released(own_log: EventLog) -> None:
    await record_of(own_log)
    own_log.release("team:1")
    assert not own_log.known("team:1")


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


async def forgotten(log: EventLog, room: str = "team:1") -> RoomRecord:
    """Forget the room."""
    ready: asyncio.Future[RoomRecord | LogUnavailable] = asyncio.get_running_loop().create_future()
    log.forget(room, ready.set_result)
    record = await ready
    assert isinstance(record, RoomRecord)
    return record


async def test_a_forgotten_room_is_empty_under_another_epoch_and_takes_events(log: EventLog) -> None:
    before = await record_of(log)
    await append(log, "a", "b")
    log.snapshot("team:1", 2, b"{}", watched=True)
    record = await forgotten(log)
    assert record == RoomRecord(record.epoch, 0, (), 0, 0, None, 0, ())
    assert record.epoch != before.epoch
    (committed,) = await append(log, "a")
    assert committed.event.prev == 0
    again = await record_of(log)
    assert (again.epoch, again.top) == (record.epoch, committed.event.offset)
    assert [event.draft.id for event in again.events] == ["a"]
    assert "team:1" not in log.watched()


async def test_events_appended_before_a_room_is_forgotten_are_told_before(log: EventLog) -> None:
    await record_of(log)
    ear = Ear()
    for number in range(3):
        log.append("team:1", Append(a_draft(event_id=f"e{number}"), True, ear, None), ear)
    log.forget("team:1", ear.tell)
    *committed, record = await ear.hears(4)
    assert [message.event.offset for message in committed] == [1, 2, 3]
    assert isinstance(record, RoomRecord)


async def test_other_rooms_are_as_they_were_when_one_is_forgotten(log: EventLog) -> None:
    await record_of(log)
    before = await record_of(log, "team:2")
    await append(log, "a", room="team:2")
    await forgotten(log)
    after = await record_of(log, "team:2")
    assert (after.epoch, [event.draft.id for event in after.events]) == (before.epoch, ["a"])
    assert (await append(log, "b", room="team:2"))[0].event.prev == after.top


async def test_the_rooms_that_have_a_record_are_named(own_log: EventLog) -> None:
    for room in ("team:1", "team:2"):
        await record_of(own_log, room)
        await append(own_log, "a", room=room)
    assert set(own_log.rooms()) == {"team:1", "team:2"}
    await forgotten(own_log)
    own_log.release("team:1")
    assert set(own_log.rooms()) == {"team:2"}
    assert not own_log.known("team:1")
