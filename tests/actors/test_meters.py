"""What is counted on the way of an event, and what the turns of actors have cost."""

from __future__ import annotations

import asyncio

import pytest

from actors.batch import Batch
from actors.delivery import deliver
from actors.histogram import Histogram
from actors.ledger import Ledger
from actors.loop import LoopActor
from actors.mailbox import Dispatcher, Mailbox
from actors.messages import Committed, Published
from actors.meters import CUSTOM, UNKNOWN, Meters
from actors.outbox import Outbox
from actors.room import Room
from server.protocols.native import NativeCodec

from .client import Hall
from .fake_clock import settled
from .house import Ear, fail_once
from .making import a_subscription, an_event, events

CODEC = NativeCodec()


def test_a_value_falls_into_the_bucket_whose_bound_it_does_not_exceed() -> None:
    """A bound is counted in, and above the last one is a bucket more."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    histogram.observe(2.0, times=10)
    assert histogram.counts == [2, 12, 1]
    assert histogram.total == pytest.approx(34.0)


def test_kinds_that_publishers_name_are_counted_as_one() -> None:
    """Those that Postroom knows, and its own, each by itself."""
    meters = Meters()
    for kind in ("alert", "app.one", "app.two", "alert.acknowledged", "supervisor.failed"):
        meters.took(kind)
    counted = {kind: count for kind, count in meters.events_in.items() if count}
    assert counted == {"alert": 1, CUSTOM: 2, "alert.acknowledged": 1, "supervisor": 1}


def test_what_supervisors_report_is_counted() -> None:
    """Facts of which nothing is counted do no harm."""
    meters = Meters()
    meters.report("failed", actor_class="Room")
    meters.report("failed", actor_class="")
    meters.report("restarted", supervisor="rooms", actor="room:team:1")
    meters.report("given_up", supervisor="rooms")
    meters.report("quarantined", actor="source")
    meters.report("draining", connections=1)
    assert meters.failures == {"Room": 1, UNKNOWN: 1}
    assert (meters.restarts, meters.given_up, meters.quarantined) == ({"rooms": 1}, {"rooms": 1}, 1)


def outbox_of(now_s: float, limit: int = 1 << 20) -> Outbox:
    return Outbox(limit, CODEC, Meters(lambda: now_s))


def test_events_count_as_delivered_when_they_are_written_and_not_before() -> None:
    """With the time since the first of them was handed in, once for each; answers are no events."""
    outbox = outbox_of(10.0)
    outbox.push(b"an answer")
    assert deliver(a_subscription(), Batch("team:1", events(1, 3), at=9.98), CODEC, outbox)
    assert outbox.meters.deliveries == 0
    outbox.flush([].append)
    assert outbox.meters.deliveries == 3
    latency = outbox.meters.latency_s
    assert sum(latency.counts) == 3
    assert latency.total == pytest.approx(0.06)
    outbox.push(b"another answer")
    outbox.flush([].append)
    assert outbox.meters.deliveries == 3


def test_old_events_are_deliveries_without_a_latency() -> None:
    outbox = outbox_of(10.0)
    deliver(a_subscription(), Batch("team:1", events(1, 3)), CODEC, outbox)
    outbox.flush([].append)
    assert (outbox.meters.deliveries, sum(outbox.meters.latency_s.counts)) == (3, 0)


def test_what_waited_as_it_is_counts_when_it_is_written() -> None:
    """As a whole batch, or as those that did not give way."""
    outbox, subscription = outbox_of(10.0), a_subscription()
    deliver(subscription, Batch("team:1", events(1, 2), at=9.0), CODEC, outbox, hold=True)
    outbox.flush([].append)
    assert outbox.meters.deliveries == 2
    outbox.conflate()
    page = Batch("team:1", [an_event(3, delivery="latest"), an_event(4, delivery="latest")], at=9.5)
    deliver(subscription, page, CODEC, outbox, hold=True)
    outbox.flush([].append)
    assert (outbox.meters.deliveries, outbox.meters.conflated) == (3, 1)
    assert outbox.meters.skipped == {"filtered": 0, "conflated": 1, "expired": 0}
    assert outbox.meters.latency_s.total == pytest.approx(2 * 1.0 + 0.5)


def test_what_is_dropped_with_the_client_was_not_delivered() -> None:
    outbox = outbox_of(10.0)
    deliver(a_subscription(), Batch("team:1", events(1, 2), at=9.0), CODEC, outbox)
    outbox.clear()
    outbox.push(b"a close")
    outbox.flush([].append)
    assert outbox.meters.deliveries == 0


def test_a_write_that_fails_delivers_nothing() -> None:
    outbox = outbox_of(10.0)
    deliver(a_subscription(), Batch("team:1", events(1, 2), at=9.0), CODEC, outbox)

    def fail(_frames: bytes) -> None:
        raise OSError

    with pytest.raises(OSError):
        outbox.flush(fail)
    assert outbox.meters.deliveries == 0
    outbox.flush([].append)
    assert outbox.meters.deliveries == 2


async def test_an_event_that_nobody_stamped_is_as_old_as_the_source_s_own_stamp() -> None:
    """The wall clock says how old; what jumps backwards is not younger than new."""
    hall = Hall()
    await hall.clock.advance(5.0)
    client = await hall.welcomed()
    await client.subscribe("team:1")
    latency = hall.house.directory._ports.meters.latency_s
    now_ms = int(hall.clock.time() * 1000)
    await hall.house.append("team:1", time_ms=now_ms - 400)
    assert sum(latency.counts) == 1
    assert latency.total == pytest.approx(0.4, abs=0.01)
    await hall.house.append("team:1", time_ms=now_ms + 60_000)
    assert sum(latency.counts) == 2
    assert latency.total == pytest.approx(0.4, abs=0.01)
    await hall.end()


async def test_an_event_on_which_its_room_failed_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was committed, and so were those behind it, whichever actor hears of that."""
    hall = Hall()
    meters = hall.house.directory._ports.meters
    fail_once(monkeypatch, Room, Committed)
    ear = Ear()
    for number in range(3):
        hall.house.put("team:1", ear, event_id=f"e{number}")
    await settled()
    assert len(ear.of(Published)) == 3
    assert meters.events_in[CUSTOM] == 3
    await hall.end()


async def test_a_client_is_as_far_behind_as_in_the_room_where_that_is_most() -> None:
    """What was filtered out is not missing; what waits as it is was not written."""
    hall = Hall()
    ledger: Ledger = hall.house.ledger
    client, choosy = await hall.welcomed(), await hall.welcomed()
    for room in ("team:1", "team:2"):
        await client.subscribe(room)
        client.by_mail(room)
    await choosy.subscribe("team:1", kinds=["alert"])
    for _ in range(3):
        await hall.house.append("team:1")
    assert (ledger.lag(client.state), ledger.lag(choosy.state)) == (0, 0)
    client.wire.paused = True
    for room in ("team:1", "team:1", "team:2"):
        await hall.house.append(room)
    assert (ledger.lag(client.state), ledger.lag(choosy.state)) == (2, 0)
    client.state.outbox.flush([].append)
    assert ledger.lag(client.state) == 0
    await hall.end()


async def test_turns_are_counted_by_class_with_their_messages_and_their_time() -> None:
    """On the dispatcher's clock, which is asked after each turn anyway."""
    now_s = [0.0]
    dispatcher = Dispatcher(asyncio.get_running_loop(), monotonic=lambda: now_s[0])

    class Worker(LoopActor):
        batch_size = 3

        def on_receive(self, message: float) -> None:
            now_s[0] += message

    class Idler(LoopActor):
        pass

    worker = Worker.start(mailbox=Mailbox(dispatcher))
    idler = Idler.start(mailbox=Mailbox(dispatcher))
    for _ in range(5):
        worker.tell(0.01)
    for actor in (worker, idler):
        await actor.stop(block=False)
    turns = dispatcher.turns[Worker]
    assert (turns.handled, sum(turns.took_s.counts)) == (6, 2), "and what told it to stop"
    assert turns.took_s.total == pytest.approx(0.05)
    assert dispatcher.turns[Idler].took_s.total == 0.0
    assert Room not in dispatcher.turns


async def test_messages_that_a_failed_actor_left_are_counted_with_who_takes_them() -> None:
    """The one on which it failed is its own."""
    dispatcher = Dispatcher.current()

    class Fragile(LoopActor):
        def on_receive(self, message: str) -> None:
            if message == "poison":
                raise RuntimeError(message)

    mailbox = Mailbox(dispatcher)
    mailbox.monitor = lambda _how: None
    Fragile.start(mailbox=mailbox)
    for message in ("fine", "poison", "left", "left"):
        mailbox.tell(message)
    await settled()
    assert dispatcher.turns[Fragile].handled == 2
    second = Fragile.start(mailbox=mailbox)
    await settled()
    assert dispatcher.turns[Fragile].handled == 4
    await second.stop(block=False)
