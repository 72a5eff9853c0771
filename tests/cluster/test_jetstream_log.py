"""The log of a cluster where two routers have it, lose messages, fall behind, end, and where others write into it."""

from __future__ import annotations

import asyncio
import json
import pickle
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg

from actors.errors import ErrorCode, LogUnavailable
from actors.log import EventLog
from actors.mailbox import Mailbox
from actors.messages import Append, AppendFailed, Arrived, Committed, Duplicated, Fail, Renewed
from actors.record import RoomRecord
from server.journals.faults import JournalError
from server.journals.jetstream import journal
from server.journals.jetstream import log as jetstream
from server.journals.jetstream.log import JetStreamLog
from server.journals.jetstream.messages import Acknowledged, Late

from ..actors.making import a_draft
from ..nats_server import NatsServer, nats_servers
from .logs import jetstream_log, new_cluster, until

ROOM = "team:1.x"
"""With a dot, which would divide a subject."""
WAIT_S = 30.0


class Ear:
    """Stands where a room would."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self._changed = asyncio.Event()

    def tell(self, message: Any) -> None:
        self.heard.append(message)
        self._changed.set()

    async def hears(self, count: int) -> list[Any]:
        """Wait until it has heard so much."""
        async with asyncio.timeout(WAIT_S):
            while len(self.heard) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.heard

    async def ids(self, count: int) -> list[str]:
        """Wait for so many events; return their ids."""
        return [message.event.draft.id for message in await self.hears(count)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A NATS server for all tests here; each has a cluster of its own in it."""
    with nats_servers(tmp_path_factory.mktemp("nats")) as (server,):
        yield server


@pytest.fixture
async def cluster(server: NatsServer) -> str:
    """The name of a new cluster."""
    await server.ready()
    return new_cluster()


@asynccontextmanager
async def two_logs(server: NatsServer, cluster: str) -> AsyncIterator[tuple[JetStreamLog, JetStreamLog]]:
    async with jetstream_log(server.url, cluster=cluster) as a, jetstream_log(server.url, cluster=cluster) as b:
        yield a, b


async def opened(log: EventLog, ear: Ear | None = None) -> RoomRecord:
    """Open the room."""
    ready: asyncio.Future[RoomRecord | LogUnavailable] = asyncio.get_running_loop().create_future()
    log.open(ROOM, ready.set_result, ear)
    async with asyncio.timeout(WAIT_S):
        record = await ready
    assert isinstance(record, RoomRecord), record
    return record


async def caught_up(log: EventLog) -> LogUnavailable | None:
    """Have the room told what it has not heard of."""
    done: asyncio.Future[LogUnavailable | None] = asyncio.get_running_loop().create_future()
    log.catch_up(ROOM, done.set_result)
    async with asyncio.timeout(WAIT_S):
        return await done


def put(log: EventLog, ear: Ear, *ids: str, **options: Any) -> None:
    """Append events with these ids."""
    named = options.pop("named", True)
    for each in ids:
        log.append(ROOM, Append(a_draft(event_id=each, **options), named, ear, each), ear)


def deafen(log: JetStreamLog) -> None:
    """Let live messages get lost on their way."""
    listening = log._desk.shelves[ROOM].listening
    assert listening is not None
    listening.stop()


async def let_hear(log: JetStreamLog) -> None:
    """Let live messages come through again."""
    shelf = log._desk.shelves[ROOM]
    assert shelf.listening is not None
    shelf.listening = log._link.listen(shelf.listening.subject, shelf.listening.handle)
    await log._link.settled()


# --- two routers


async def test_all_routers_tell_the_events_of_all_in_one_order(server: NatsServer, cluster: str) -> None:
    async with two_logs(server, cluster) as (a, b):
        ear_a, ear_b = Ear(), Ear()
        assert (await opened(a, ear_a)).epoch == (await opened(b, ear_b)).epoch
        for number in range(50):
            put(a, ear_a, f"a{number}")
            put(b, ear_b, f"b{number}")
        heard_a, heard_b = await ear_a.hears(100), await ear_b.hears(100)
        assert [message.event for message in heard_a] == [message.event for message in heard_b]
        assert [message.event.prev for message in heard_a] == [0, *(message.event.offset for message in heard_a[:-1])]
        own = [message.event.draft.id for message in heard_a if isinstance(message, Committed)]
        assert own == [f"a{number}" for number in range(50)]
        others = [message for message in heard_a if isinstance(message, Arrived)]
        assert [message.event.draft.id for message in others] == [f"b{number}" for number in range(50)]
        assert all(message.named for message in others)


async def test_an_id_that_two_routers_are_given_makes_one_event(server: NatsServer, cluster: str) -> None:
    async with two_logs(server, cluster) as (a, b):
        ear_a, ear_b = Ear(), Ear()
        await opened(a, ear_a)
        await opened(b, ear_b)
        put(a, ear_a, "same")
        put(b, ear_b, "same")
        await until(lambda: len(ear_a.heard) + len(ear_b.heard) == 3)
        heard = [*ear_a.heard, *ear_b.heard]
        (committed,) = [message for message in heard if isinstance(message, Committed)]
        (duplicated,) = [message for message in heard if isinstance(message, Duplicated)]
        assert duplicated.offset == committed.event.offset
        assert len((await opened(a)).events) == 1


async def test_an_event_without_an_id_of_its_publisher_is_never_taken_for_another(
    server: NatsServer, cluster: str
) -> None:
    async with two_logs(server, cluster) as (a, b):
        ear_a, ear_b = Ear(), Ear()
        await opened(a, ear_a)
        await opened(b, ear_b)
        put(a, ear_a, "e", "e", named=False)
        put(b, ear_b, "e", named=False)
        assert await ear_a.ids(3) == await ear_b.ids(3) == ["e", "e", "e"]


async def test_a_router_that_comes_later_finds_everything(server: NatsServer, cluster: str) -> None:
    async with jetstream_log(server.url, cluster=cluster) as a:
        ear = Ear()
        await opened(a, ear)
        put(a, ear, *(f"e{number}" for number in range(2500)))
        await ear.hears(2500)
        before = await opened(a)
    async with jetstream_log(server.url, cluster=cluster) as b:
        assert await opened(b) == before


async def test_what_was_dropped_and_kept_comes_back_as_it_was(server: NatsServer, cluster: str) -> None:
    async with jetstream_log(server.url, cluster=cluster) as a:
        ear = Ear()
        await opened(a, ear)
        put(a, ear, *"abcdef")
        put(a, ear, "shown", delivery="ephemeral")
        offsets = [message.event.offset for message in await ear.hears(7)]
        a.snapshot(ROOM, offsets[4], b'{"counts": {}}', watched=False)
        a.trim(ROOM, offsets[4], lost=offsets[2], keep=(offsets[1],), ids_since_ms=0)
        before = await opened(a)
        assert [event.draft.id for event in before.events] == ["b", "e", "f"]
        a.release(ROOM)
        await until(lambda: not a.rooms())
        assert await opened(a) == before
    async with jetstream_log(server.url, cluster=cluster) as b:
        assert await opened(b) == before
        assert [past.event_id for past in before.past_ids] == ["a", "c", "d"]
        b.trim(ROOM, offsets[5], lost=0, keep=(), ids_since_ms=0)  # no snapshot covers more than the fifth
        assert [event.draft.id for event in (await opened(b)).events] == ["f"]


async def test_the_stream_names_the_rooms_that_no_router_has_open(server: NatsServer, cluster: str) -> None:
    async with jetstream_log(server.url, cluster=cluster) as a:
        ear = Ear()
        await opened(a, ear)
        put(a, ear, "e")
        await ear.hears(1)
    async with jetstream_log(server.url, cluster=cluster) as b:
        assert set(b.rooms()) == set()
        assert set(await b.names()) == {ROOM}


# --- what is missed


async def test_a_message_that_was_lost_is_read_when_the_next_one_names_it(server: NatsServer, cluster: str) -> None:
    async with two_logs(server, cluster) as (a, b):
        ear_a, ear_b = Ear(), Ear()
        await opened(a, ear_a)
        await opened(b, ear_b)
        put(a, ear_a, "heard")
        await ear_b.hears(1)
        deafen(b)
        put(a, ear_a, "lost", "lost, too")
        await ear_a.hears(3)
        await let_hear(b)
        put(a, ear_a, "last")
        assert await ear_b.ids(4) == ["heard", "lost", "lost, too", "last"]


async def test_a_message_that_was_lost_and_is_followed_by_none_is_found_missing(
    server: NatsServer, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_AUDIT_S", 0.1)
    async with two_logs(server, cluster) as (a, b):
        ear_a, ear_b = Ear(), Ear()
        await opened(a, ear_a)
        await opened(b, ear_b)
        deafen(b)
        put(a, ear_a, "lost")
        assert await ear_b.ids(1) == ["lost"]


async def test_an_own_event_that_was_not_heard_of_is_looked_for(server: NatsServer, cluster: str) -> None:
    async with jetstream_log(server.url, cluster=cluster) as log:
        ear = Ear()
        await opened(log, ear)
        deafen(log)
        put(log, ear, "e")
        (committed,) = await ear.hears(1)
        assert isinstance(committed, Committed)


async def test_a_room_that_catches_up_was_told_everything_by_then(server: NatsServer, cluster: str) -> None:
    async with two_logs(server, cluster) as (a, b):
        ear_a, ear_b = Ear(), Ear()
        await opened(a, ear_a)
        await opened(b, ear_b)
        deafen(b)
        put(a, ear_a, "x", "y")
        await ear_a.hears(2)
        assert await caught_up(b) is None
        assert [message.event.draft.id for message in ear_b.heard] == ["x", "y"]


async def test_who_asks_when_a_room_has_just_caught_up_waits_for_what_came_since(
    server: NatsServer, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_logs(server, cluster) as (a, b):
        ear_a, ear_b = Ear(), Ear()
        await opened(a, ear_a)
        await opened(b, ear_b)
        deafen(b)
        put(a, ear_a, "x")
        await ear_a.hears(1)
        tell = Mailbox.tell
        late: asyncio.Future[Late] = asyncio.get_running_loop().create_future()

        def hold(self: Mailbox, message: object) -> None:
            if isinstance(message, Late) and not late.done():
                late.set_result(message)
            else:
                tell(self, message)

        monkeypatch.setattr(Mailbox, "tell", hold)
        b.catch_up(ROOM, lambda outcome: None)
        held = await late
        put(a, ear_a, "y")
        await ear_a.hears(2)
        b._mailbox.tell(held)
        assert await caught_up(b) is None
        assert [message.event.draft.id for message in ear_b.heard] == ["x", "y"]


async def test_what_a_live_message_says_is_before_it_and_the_stream_does_not_hold_is_not_read_without_end(
    server: NatsServer, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with jetstream_log(server.url, cluster=cluster) as log:
        ear = Ear()
        await opened(log, ear)
        calls: list[str] = []
        ask = log._link.ask

        async def count(call: str, *args: Any, **options: Any) -> dict[str, Any]:
            calls.append(call)
            return await ask(call, *args, **options)

        monkeypatch.setattr(log._link, "ask", count)
        headers = {"Nats-Sequence": "1000", "Nats-Last-Sequence": "999"}
        log._link.send(log._layout.live(ROOM), b"", headers=headers)
        await until(lambda: len(calls) > 1)
        for _ in range(20):
            await caught_up(log)
        assert len(calls) < 60
        put(log, ear, "e")
        assert await ear.ids(1) == ["e"]


async def test_a_room_behind_what_others_have_dropped_begins_anew(server: NatsServer, cluster: str) -> None:
    async with two_logs(server, cluster) as (a, b):
        ear_a, ear_b = Ear(), Ear()
        await opened(a, ear_a)
        await opened(b, ear_b)
        deafen(b)
        put(a, ear_a, "x", "y", "z")
        last = (await ear_a.hears(3))[-1].event.offset
        a.snapshot(ROOM, last, b"{}", watched=False)
        a.trim(ROOM, last, lost=last - 1, keep=(), ids_since_ms=0)
        a.release(ROOM)
        await until(lambda: not a.rooms())
        outcome = await caught_up(b)
        assert isinstance(outcome, LogUnavailable)
        assert [type(message) for message in ear_b.heard] == [Fail]
        record = await opened(b)
        assert (record.top, record.lost, [event.draft.id for event in record.events]) == (last, last - 1, ["z"])


async def test_an_older_snapshot_does_not_take_the_place_of_a_newer_one(server: NatsServer, cluster: str) -> None:
    async with two_logs(server, cluster) as (a, b):
        ear_a, ear_b = Ear(), Ear()
        await opened(a, ear_a)
        await opened(b, ear_b)
        put(a, ear_a, "x", "y", "z")
        await ear_a.hears(3)
        first, _, last = [message.event.offset for message in await ear_b.hears(3)]
        for log, offset in ((a, last), (b, first)):
            log.snapshot(ROOM, offset, f'"{offset}"'.encode(), watched=False)
            log.trim(ROOM, offset, lost=0, keep=(), ids_since_ms=0)
            log.release(ROOM)
            await until(lambda log=log: not log.rooms())
        record = await opened(b)
        assert (record.state, record.state_offset) == (f'"{last}"'.encode(), last)
        assert [event.draft.id for event in record.events] == ["z"]


async def test_what_is_dropped_while_a_snapshot_is_stored_stays_until_the_next_one(
    server: NatsServer, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The router may be killed in between."""
    async with two_logs(server, cluster) as (a, b):
        ear = Ear()
        await opened(a, ear)
        put(a, ear, *"abcdef")
        offsets = [message.event.offset for message in await ear.hears(6)]
        request, ask = a._link.request, a._link.ask
        dropped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        later = 0

        def keep(place: int) -> None:
            a.snapshot(ROOM, offsets[place], b"%d" % place, watched=False)
            a.trim(ROOM, offsets[place], lost=0, keep=(offsets[0], offsets[place - 1]), ids_since_ms=0)

        async def drop_meanwhile(subject: str, *args: Any, **options: Any) -> Msg:
            nonlocal later
            answer = await request(subject, *args, **options)
            if subject == a._layout.kept(ROOM, offsets[0]) or (subject == a._layout.state(ROOM) and later == 1):
                later += 1
                keep(3 + later)
            return answer

        async def note(call: str, *args: Any, **options: Any) -> dict[str, Any]:
            answer = await ask(call, *args, **options)
            if "PURGE" in call and not dropped.done():
                dropped.set_result(None)
            return answer

        monkeypatch.setattr(a._link, "request", drop_meanwhile)
        monkeypatch.setattr(a._link, "ask", note)
        keep(2)
        await dropped
        assert later == 2
        record = await opened(b)
        assert (record.state, "".join(event.draft.id for event in record.events)) == (b"2", "abcdef")


# --- forgotten rooms


async def test_a_room_that_one_router_has_forgotten_is_renewed_for_the_others(server: NatsServer, cluster: str) -> None:
    async with two_logs(server, cluster) as (a, b):
        ear_a, ear_b = Ear(), Ear()
        before = await opened(a, ear_a)
        await opened(b, ear_b)
        put(a, ear_a, "old")
        await ear_a.hears(1)
        await ear_b.hears(1)
        renewed = Ear()
        a.forget(ROOM, renewed.tell)
        (record,) = await renewed.hears(1)
        (_, told) = await ear_b.hears(2)
        assert told == Renewed(record)
        assert (record.epoch != before.epoch, record.events, record.top) == (True, (), 0)
        put(b, ear_b, "old")  # the same id: of another history
        (*_, committed) = await ear_b.hears(3)
        assert (type(committed), committed.event.prev) == (Committed, 0)
    async with jetstream_log(server.url, cluster=cluster) as c:
        later = await opened(c)
        assert (later.epoch, [event.offset for event in later.events]) == (record.epoch, [committed.event.offset])


async def test_an_event_that_others_had_before_the_room_was_forgotten_is_no_duplicate_in_the_next_history(
    server: NatsServer, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_logs(server, cluster) as (a, b):
        ear_a, ear_b = Ear(), Ear()
        await opened(a, ear_a)
        await opened(b, ear_b)
        put(a, ear_a, "x")
        await ear_b.hears(1)
        held: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        send = b._link.send
        monkeypatch.setattr(b._link, "send", lambda *args, **options: held.append((args, options)))
        put(b, ear_b, "x")
        a.forget(ROOM, Ear().tell)
        await ear_b.hears(2)
        monkeypatch.setattr(b._link, "send", send)
        for args, options in held:
            send(*args, **options)
        (_, renewed, failed) = await ear_b.hears(3)
        assert (type(renewed), type(failed)) == (Renewed, AppendFailed)
        assert failed.refusal.code.temporary


# --- alerts that wait for their time


async def test_every_router_finds_the_rooms_in_which_an_alert_waits(server: NatsServer, cluster: str) -> None:
    async with jetstream_log(server.url, cluster=cluster) as a:
        ear = Ear()
        await opened(a, ear)
        put(a, ear, "alert", kind="alert", ack="required")
        offset = (await ear.hears(1))[0].event.offset
    async with jetstream_log(server.url, cluster=cluster) as b:
        assert set(b.watched()) == {ROOM}
        await opened(b)
        b.snapshot(ROOM, offset, b"{}", watched=False)
        b.release(ROOM)
        await until(lambda: not b.rooms())
    async with jetstream_log(server.url, cluster=cluster) as c:
        assert set(c.watched()) == set()


async def test_an_alert_waits_although_what_said_so_was_lost(
    server: NatsServer, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The streams have leaders of their own: one may take the event while the other one has none."""
    async with two_logs(server, cluster) as (a, b):
        ear = Ear()
        await opened(a, ear)
        send = a._link.send

        def lose(subject: str, *args: Any, **options: Any) -> None:
            if subject != a._layout.watched(ROOM):
                send(subject, *args, **options)

        monkeypatch.setattr(a._link, "send", lose)
        put(a, ear, "alert", kind="alert", ack="required")
        await ear.hears(1)
        async with asyncio.timeout(WAIT_S):
            while not await b.look_for_watched():  # noqa: ASYNC110  # NATS tells no event of ours
                await asyncio.sleep(0.02)


# --- what others write


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"\xff\xfe",
        pickle.dumps({"type": "event"}),
        b'{"type": "event", "id": "x", "kind": "session", "time_ms": 1, "data": {}}',
        b'{"type": "event", "id": "x", "kind": "no dot", "time_ms": 1, "data": {}}',
        b'{"type": "event", "id": "", "kind": "a.b", "time_ms": 1, "data": {}}',
        b'{"type": "event", "id": "x", "kind": "a.b", "time_ms": 1, "data": []}',
        b'{"type": "event", "id": "x", "kind": "a.b", "time_ms": 1, "data": '
        + b'{"a":' * 5000
        + b"1"
        + b"}" * 5000
        + b"}",
        b'{"type": "event", "id": "x", "kind": "alert.acknowledged", "time_ms": 1, "data": {"event_id": 1}}',
        b'{"type": "forgotten"}',
        b'{"type": "event", "id": "x", "kind": "a.b", "time_ms": 253402300800000, "data": {}}',
        b'{"type": "event", "id": "x", "kind": "a.b", "time_ms": -1, "data": {}}',
    ],
    ids=range(13),
)
async def test_what_is_no_event_is_passed_over_by_all(
    server: NatsServer, cluster: str, payload: bytes, logged: list[dict[str, Any]]
) -> None:
    async with jetstream_log(server.url, cluster=cluster) as log:
        ear = Ear()
        await opened(log, ear)
        put(log, ear, "before")
        await ear.hears(1)
        await log._link.request(log._layout.event(ROOM), payload)
        put(log, ear, "after")
        before, after = await ear.hears(2)
        assert after.event.prev == before.event.offset
        record = await opened(log)
    async with jetstream_log(server.url, cluster=cluster) as again:
        assert await opened(again) == record
    assert "record_unreadable" in {line["event"] for line in logged}


async def test_a_header_that_only_an_answer_has_ends_no_answer(server: NatsServer, cluster: str) -> None:
    async with jetstream_log(server.url, cluster=cluster) as log:
        ear = Ear()
        await opened(log, ear)
        event = b'{"type": "event", "id": "x", "kind": "a.b", "time_ms": 1, "data": {}}'
        await log._link.request(log._layout.event(ROOM), event, headers={"Status": "500"})
        put(log, ear, "large", data={"text": "x" * 900_000})
        await ear.hears(2)
    async with jetstream_log(server.url, cluster=cluster) as again:
        for _ in range(10):
            assert [event.draft.id for event in (await opened(again)).events] == ["x", "large"]
            again.release(ROOM)
            await until(lambda: not again.rooms())


async def test_a_snapshot_that_cannot_be_read_is_passed_over(server: NatsServer, cluster: str) -> None:
    async with jetstream_log(server.url, cluster=cluster) as log:
        ear = Ear()
        await opened(log, ear)
        put(log, ear, "e")
        await ear.hears(1)
        await log._link.request(log._layout.state(ROOM), pickle.dumps([1]))
    async with jetstream_log(server.url, cluster=cluster) as again:
        assert [event.draft.id for event in (await opened(again)).events] == ["e"]


async def test_a_room_that_cannot_begin_with_its_record_is_told_that_it_has_none(
    server: NatsServer, cluster: str, logged: list[dict[str, Any]]
) -> None:
    """The log is none the worse for it: no actor fails, and who asks next is answered, too."""
    async with jetstream_log(server.url, cluster=cluster) as log:
        answers: list[RoomRecord | LogUnavailable] = []

        def cannot_begin(record: RoomRecord | LogUnavailable) -> None:
            answers.append(record)
            if isinstance(record, RoomRecord):
                raise ValueError("this is no state of a room")

        log.open(ROOM, cannot_begin, None)
        await opened(log, Ear())
        log.forget(ROOM, cannot_begin)
        await until(lambda: len(answers) == 4)
    assert [type(answer) for answer in answers] == [RoomRecord, LogUnavailable] * 2
    assert "this is no state of a room" in str(answers[-1])
    assert "actor_failed" not in {line["event"] for line in logged}


# --- NATS


async def test_an_event_that_nats_does_not_take_is_refused(server: NatsServer, cluster: str) -> None:
    async with jetstream_log(server.url, cluster=cluster) as log:
        ear = Ear()
        await opened(log, ear)
        config = (await log._link.ask(f"STREAM.INFO.{log._layout.events}"))["config"]
        await log._link.ask(f"STREAM.UPDATE.{log._layout.events}", {**config, "max_bytes": 2000})
        put(log, ear, *(f"e{number}" for number in range(20)))
        heard = await ear.hears(20)
        taken = [message.event.draft.id for message in heard if isinstance(message, Committed)]
        refused = [message for message in heard if isinstance(message, AppendFailed)]
        assert taken
        assert refused
        assert {message.refusal.code for message in refused} == {ErrorCode.JOURNAL_UNAVAILABLE}
        assert "maximum bytes exceeded" in str(log.trouble)  # for whoever asks whether the router is ready
        await log._link.ask(f"STREAM.UPDATE.{log._layout.events}", config)
        put(log, ear, "there is space")
        assert isinstance((await ear.hears(21))[-1], Committed)
        assert log.trouble is None
        assert [event.draft.id for event in (await opened(log)).events] == [*taken, "there is space"]


async def test_an_event_that_was_sent_twice_is_never_said_not_to_have_been_taken(
    server: NatsServer, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer to the second sending says nothing of the first."""
    async with jetstream_log(server.url, cluster=cluster) as log:
        ear = Ear()
        await opened(log, ear)
        monkeypatch.setattr(log._link, "send", lambda *_args, **_kwargs: None)
        put(log, ear, "a", "b")
        first, second = log._desk.pending.values()
        log._desk.send(first, at=0.0)

        def answer(number: int, code: int) -> None:
            error = {"error": {"code": 400, "err_code": code, "description": "no"}}
            log._mailbox.tell(Acknowledged(number, json.dumps(error).encode(), ""))

        answer(first.number, 10158)  # it is stored now
        answer(second.number, 10158)
        answer(first.number, 10077)
        answer(second.number, 10077)
        refused = await ear.hears(2)
        assert [message.refusal.code for message in refused] == [ErrorCode.INTERNAL, ErrorCode.JOURNAL_UNAVAILABLE]


async def test_an_event_that_is_too_large_for_nats_is_refused(tmp_path: Path) -> None:
    with nats_servers(tmp_path, more="max_payload: 20000") as (server,):
        await server.ready()
        async with jetstream_log(server.url) as log:
            ear = Ear()
            await opened(log, ear)
            put(log, ear, "large", data={"text": "x" * 20_000})
            put(log, ear, "small")
            refused, taken = await ear.hears(2)
            assert (refused.refusal.code, "max_payload" in refused.refusal.message) == (ErrorCode.TOO_LARGE, True)
            assert isinstance(taken, Committed)


async def test_events_under_way_outlive_a_server_that_is_killed(tmp_path: Path) -> None:
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        async with jetstream_log(server.url) as log:
            ear = Ear()
            await opened(log, ear)
            server.freeze()
            put(log, ear, *(f"e{number}" for number in range(100)))
            server.kill()
            server.start()
            assert await ear.ids(100) == [f"e{number}" for number in range(100)]
            assert len((await opened(log)).events) == 100


async def test_what_waits_to_be_sent_does_not_wait_twice(tmp_path: Path) -> None:
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        async with jetstream_log(server.url) as log:
            ear = Ear()
            await opened(log, ear)
            server.freeze()
            try:
                put(log, ear, *(f"e{number}" for number in range(600)), data={"text": "x" * 60_000})
                began = asyncio.get_running_loop().time()
                most = 0
                while log._link.trouble is None and asyncio.get_running_loop().time() < began + 10.0:
                    most = max(most, log._link.backlog)
                    await asyncio.sleep(0.05)
                assert asyncio.get_running_loop().time() > began + journal._AGAIN_S
                assert 0 < most <= 600
            finally:
                server.thaw()
            assert sorted(await ear.ids(600)) == sorted(f"e{number}" for number in range(600))


async def test_while_nats_is_away_events_are_refused_and_rooms_that_are_open_stay_so(tmp_path: Path) -> None:
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        async with jetstream_log(server.url) as log:
            ear = Ear()
            before = await opened(log, ear)
            server.kill()
            await until(lambda: log.trouble is not None)
            put(log, ear, "refused")
            (failed,) = await ear.hears(1)
            assert failed.refusal.code is ErrorCode.JOURNAL_UNAVAILABLE
            assert await opened(log, ear) == before
            other: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            log.open("team:2", other.set_result)
            assert isinstance(await other, LogUnavailable)
            server.start()
            await until(lambda: log.trouble is None)
            put(log, ear, "taken")
            (_, committed) = await ear.hears(2)
            assert committed.event.draft.id == "taken"


async def test_where_nats_has_lost_its_files_rooms_begin_anew_under_another_epoch(
    tmp_path: Path, logged: list[dict[str, Any]]
) -> None:
    """Their offsets mean nothing any more, although the new stream may come to the same ones."""
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        async with jetstream_log(server.url) as log:
            ear = Ear()
            before = await opened(log, ear)
            put(log, ear, "a", "b")
            await ear.hears(2)
            server.kill()
            shutil.rmtree(server.store)
            server.start()
            await until(lambda: len(ear.heard) == 3)
            assert isinstance(ear.heard[2], Fail)
            await until(lambda: log.trouble is None)
            after = await opened(log, ear)
            assert (after.top, after.events) == (0, ())
            assert after.epoch != before.epoch
            put(log, ear, "a")
            (*_, committed) = await ear.hears(4)
            assert (committed.event.draft.id, committed.event.prev) == ("a", 0)
    assert "log_replaced" in {line["event"] for line in logged}


async def test_where_nats_comes_back_with_files_of_before_rooms_begin_anew_under_another_epoch(tmp_path: Path) -> None:
    """A power cut, or a backup that was restored: the stream gives offsets that it has given before."""
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        async with jetstream_log(server.url) as log:
            ear = Ear()
            before = await opened(log, ear)
            put(log, ear, "a")
            await ear.hears(1)
            server.kill()
            shutil.copytree(server.store, tmp_path / "backup")
            server.start()
            await until(lambda: log.trouble is None and log._desk.verified)
            put(log, ear, "b", "c")
            await ear.hears(3)
            server.kill()
            shutil.rmtree(server.store)
            shutil.copytree(tmp_path / "backup", server.store)
            server.start()
            await until(lambda: isinstance(ear.heard[-1], Fail))
            await until(lambda: log.trouble is None)
            after = await opened(log, ear)
            assert after.epoch != before.epoch
            assert [event.draft.id for event in after.events] == ["a"]
            put(log, ear, "d")
            assert (await ear.hears(5))[-1].event.draft.id == "d"


async def test_a_stream_that_is_removed_is_made_anew(
    server: NatsServer, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_AUDIT_S", 0.1)
    async with jetstream_log(server.url, cluster=cluster) as log:
        ear = Ear()
        before = await opened(log, ear)
        put(log, ear, "a")
        await ear.hears(1)
        await log._link.ask(f"STREAM.DELETE.{log._layout.events}")
        await until(lambda: isinstance(ear.heard[-1], Fail))
        assert (await opened(log, ear)).epoch != before.epoch
        put(log, ear, "b")
        await until(lambda: isinstance(ear.heard[-1], Committed))


async def test_snapshots_that_outlive_the_stream_of_events_are_none_of_the_next_ones(
    server: NatsServer, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a room would go on under its old epoch, and wait for offsets that are long past."""
    monkeypatch.setattr(journal, "_AUDIT_S", 0.1)
    async with jetstream_log(server.url, cluster=cluster) as log:
        ear = Ear()
        before = await opened(log, ear)
        put(log, ear, *"abcde")
        top = (await ear.hears(5))[-1].event.offset
        log.snapshot(ROOM, top, b"{}", watched=False)
        log.trim(ROOM, top, lost=0, keep=(), ids_since_ms=0)
        await until(lambda: log._desk.shelves[ROOM].stored_gone >= top - 1)
        await log._link.ask(f"STREAM.DELETE.{log._layout.events}")
        await until(lambda: isinstance(ear.heard[-1], Fail))
        after = await opened(log, ear)
        assert (after.epoch != before.epoch, after.top, after.state) == (True, 0, None)
        put(log, ear, "f")
        await until(lambda: isinstance(ear.heard[-1], Committed))
    async with jetstream_log(server.url, cluster=cluster) as again:
        record = await opened(again)
    assert (record.epoch, [event.draft.id for event in record.events]) == (after.epoch, ["f"])


async def test_a_stream_that_was_made_for_something_else_is_not_used(server: NatsServer, cluster: str) -> None:
    client = await nats.connect(server.url)
    stream = {"name": f"{cluster.upper()}_EVENTS", "subjects": [f"{cluster}.else"], "storage": "memory"}
    answer = await client.request(f"$JS.API.STREAM.CREATE.{stream['name']}", json.dumps(stream).encode())
    assert b'"error"' not in answer.data
    await client.close()
    with pytest.raises(JournalError, match="made for something else"):
        async with jetstream_log(server.url, cluster=cluster):
            pass


async def test_a_second_start_changes_nothing_but_what_was_asked_for(server: NatsServer, cluster: str) -> None:
    async with jetstream_log(server.url, cluster=cluster) as log:
        before = await log._link.ask(f"STREAM.INFO.{log._layout.events}")
        ident = log._desk.ident
    async with jetstream_log(server.url, cluster=cluster, keep_s=172_800.0) as log:
        after = await log._link.ask(f"STREAM.INFO.{log._layout.events}")
        assert log._desk.ident == ident
    assert after["config"] == {**before["config"], "max_age": 172_800 * 10**9}


async def test_the_stream_knows_ids_for_as_long_as_an_event_may_be_under_way(server: NatsServer, cluster: str) -> None:
    async with jetstream_log(server.url, cluster=cluster, dedupe_s=1.0) as log:
        stream = await log._link.ask(f"STREAM.INFO.{log._layout.events}")
    assert stream["config"]["duplicate_window"] > journal._PATIENCE_S * 10**9


async def test_a_server_without_jetstream_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetstream, "_START_S", 0.5)
    with nats_servers(tmp_path, jetstream=False) as (server,):
        await until(lambda: "Server is ready" in server.log)
        with pytest.raises(JournalError, match="-js"):
            async with jetstream_log(server.url):
                pass
