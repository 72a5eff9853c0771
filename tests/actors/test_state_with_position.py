"""State and position in one answer: a client's own fold is the room's state, and nobody misses an event.

Rooms, connections and the log fail, retire, restart and lag in any order; the clients believe only the protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pykka
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import commands, replies
from actors.batch import Batch
from actors.connection import Connection
from actors.events import Event, decode_data
from actors.identity import Identity
from actors.loop import LoopActor
from actors.messages import (
    Acknowledge,
    Append,
    AppendFailed,
    Attach,
    Attached,
    Committed,
    Detach,
    Escalate,
    Frame,
    Joined,
    Publish,
    Published,
    Query,
    Refused,
    Subscribe,
    Sweep,
    WireClosed,
    Writable,
)
from actors.ports import ConnectionLimits
from actors.room import Room, RoomLimits

from .believer import Believer, Stream, fold, no_state
from .client import Client, Hall
from .fake_clock import START_S, settled
from .house import Ear, House
from .late_log import LateLog

ADMIN = Identity(user="ops", role="admin")
ROOMS = ("session:1", "team:1")
PEERS = 3
IDLE_S = 60.0
ESCALATE_S = 40.0
CRASH_GAP_S = 6.0
"""Time after a crash, so that no supervisor gives up."""

PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "start": ("session", {"status": "started", "owner": "ann"}),
    "end": ("session", {"status": "completed"}),
    "progress": ("progress", {"current": 1, "total": 10}),
    "system": ("system", {"status": "degraded"}),
    "alert": ("alert", {"severity": "critical", "title": "disk full"}),
    "note": ("alert", {"severity": "low", "title": "nobody need see to it"}),
    "thing": ("app.thing", {"x": "y" * 40}),
}
CRASHES: Sequence[tuple[type[LoopActor], type, bool]] = [
    *((Room, message, False) for message in (Append, AppendFailed, Committed, Subscribe, Attach, Detach)),
    *((Room, message, False) for message in (Acknowledge, Escalate, Published, Sweep, Query)),
    *((Room, message, True) for message in (Append, AppendFailed, Committed, Attach, Detach, Acknowledge, Escalate)),
    *((Connection, message, False) for message in (Frame, Batch, Attached, Joined, Writable)),
    *((Connection, message, True) for message in (Batch, Attached, Joined, Writable)),
]


class Crash:
    """A message on which every actor fails."""


class Plan:
    """Which handler fails next, once."""

    def __init__(self) -> None:
        self.next: tuple[type[LoopActor], type, bool] | None = None
        self.fired = False

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Let handlers fail as planned."""
        with pytest.MonkeyPatch.context() as patch:
            for actor in (Room, Connection):
                for message, handler in list(actor._handlers.items()):
                    patch.setitem(actor._handlers, message, self._wrapped(actor, message, handler))
                patch.setitem(actor._handlers, Crash, self._crash)
            yield

    def _crash(self, _actor: LoopActor, _message: object) -> None:
        self.fired = True
        raise RuntimeError("made to fail")

    def _wrapped(self, actor: type[LoopActor], message: type, handler: Callable[..., Any]) -> Callable[..., Any]:
        def handle(self_: LoopActor, received: object) -> Any:
            if self.next is None or self.next[:2] != (actor, message):
                return handler(self_, received)
            after, self.next = self.next[2], None
            if after:
                handler(self_, received)
            return self._crash(self_, received)

        return handle


class World:
    """A router, its log, who publishes and who listens.

    Args:
        history_events: How much a room keeps.
        outbox_bytes: How much may wait for a client.
        plan: Who fails.
    """

    def __init__(self, history_events: int, outbox_bytes: int, plan: Plan) -> None:
        self.log = LateLog()
        self._room_limits = RoomLimits(
            history_events=history_events,
            history_s=1e6,
            idle_s=IDLE_S,
            dedupe_s=1e6,
            escalate_after_s=ESCALATE_S,
        )
        self._limits = ConnectionLimits(outbox_bytes=outbox_bytes)
        self._plan = plan
        self._now_s = START_S
        self._begin()
        self.believers = [Believer() for _ in range(PEERS)]
        self.clients: list[Client | None] = [None] * PEERS
        self._listened = [0] * PEERS
        self.publishers: list[Ear] = []
        self._ids = 0

    def _begin(self) -> None:
        house = House(self._room_limits, self.log)
        house.clock.jump_wall(self._now_s - house.clock.time())
        self.hall = Hall(limits=self._limits, house=house)
        house.directory.open_watched()

    # --- time

    async def settle(self) -> None:
        """Let everybody work, and the clients hear."""
        await settled()
        if self._plan.fired:
            self._plan.fired = False
            await self.advance(CRASH_GAP_S)
        for number, client in enumerate(self.clients):
            if client is not None:
                told = client.wire.told
                for message in told[self._listened[number] :]:
                    self.believers[number].take(message)
                self._listened[number] = len(told)

    async def advance(self, seconds: float) -> None:
        await self.hall.clock.advance(seconds)
        await self.settle()

    # --- what may happen

    async def publish(self, room: str, what: str, delivery: str | None, key: str | None, name: str | None) -> None:
        kind, data = PUBLISHED[what]
        if kind in ("session", "alert"):
            delivery = None
        ear = Ear()
        self.publishers.append(ear)
        event_id = None if name is None else f"{name}-{what}"
        self.hall.house.source.tell(
            Publish(rooms=(room,), kind=kind, data=data, event_id=event_id, key=key, delivery=delivery, reply_to=ear)
        )

    async def burst(self, room: str, count: int) -> None:
        for number in range(count):
            await self.publish(room, "progress" if number % 10 else "thing", None, None, None)

    async def acknowledge(self, room: str, number: int) -> None:
        alerts = self.state_in_log(room)["alerts"]
        if alerts:
            event_id = alerts[number % len(alerts)]["event_id"]
            self.hall.house.directory.room(room).tell(Acknowledge(event_id, ADMIN, Ear(), None))

    async def connect(self, number: int) -> None:
        client = self.clients[number]
        if client is not None:
            if client.wire.closed is None:
                return
            client.mailbox.tell(WireClosed())
            await self.settle()
        client = self.clients[number] = self.hall.client()
        client.wire._follow = lambda message: None  # type: ignore[method-assign]  # the believer checks the chain
        self._listened[number] = 0
        client.say("hello", resume=self.believers[number].resume())

    async def hang_up(self, number: int) -> None:
        client = self.clients[number]
        if client is not None:
            client.wire.close(1000, "the client's")
            client.mailbox.tell(WireClosed())
            await self.settle()

    async def subscribe(self, number: int, room: str, kinds: list[str] | None, history: int | None) -> None:
        client, believer = self.clients[number], self.believers[number]
        if client is None or client.wire.closed is not None or not believer.connected or room in believer.rooms:
            return
        self._ids += 1
        believer.asked[self._ids] = Stream(kinds)
        client.say("subscribe", id=self._ids, room=room, kinds=kinds, history=history)

    async def unsubscribe(self, number: int, room: str) -> None:
        client = self.clients[number]
        if client is not None and client.wire.closed is None and room in self.believers[number].rooms:
            self._ids += 1
            client.say("unsubscribe", id=self._ids, room=room)
            await self.settle()

    async def pause(self, number: int, stuck: bool) -> None:
        client = self.clients[number]
        if client is not None:
            client.wire.paused, client.wire.stuck = True, stuck

    async def go_on(self, number: int, room_bytes: int | None) -> None:
        client = self.clients[number]
        if client is not None:
            client.wire.fills_up = room_bytes is not None
            client.wire.room = 1 << 62 if room_bytes is None else room_bytes
            client.wire.go_on()

    async def crash(self, who: int) -> None:
        await self.settle()
        if who < len(ROOMS):
            self.hall.house.directory.room(ROOMS[who]).tell(Crash())
        else:
            client = self.clients[who % PEERS]
            if client is not None:
                client.mailbox.tell(Crash())
        await self.settle()

    async def plan(self, crash: tuple[type[LoopActor], type, bool]) -> None:
        await self.settle()
        self._plan.next = crash

    async def retire(self) -> None:
        await self.advance(3 * IDLE_S)

    async def be_late(self, late: bool) -> None:
        self.log.late = late
        if not late:
            self.log.commit()

    async def commit(self, count: int) -> None:
        await settled()
        self.log.commit(count)

    async def fail(self) -> None:
        await settled()
        self.log.fail()

    async def restart(self) -> None:
        """Kill everything but the log, and begin again on what it committed."""
        self.log.lose()
        self.log.late = False
        self._plan.next = None
        await self.stop()
        self._begin()

    async def stop(self) -> None:
        """End everybody but the log."""
        for number in range(PEERS):
            await self.hang_up(number)
        self.clients = [None] * PEERS
        self._now_s = self.hall.clock.time()
        for page in self.hall.house.ledger._pages.values():
            page.clear()  # of rooms whose opening the log lost: nobody lets their subscribers go
        await self.hall.end()

    async def live_through(self, steps: list[tuple[Any, ...]]) -> None:
        """Take the steps, come to rest, and check everything."""
        for number in range(PEERS):
            await self.connect(number)
            await self.settle()
            await self.subscribe(number, ROOMS[number % len(ROOMS)], None, None)
        for what, *details in steps:
            await getattr(self, what)(*details)
            if what not in ("publish", "burst", "be_late"):
                await self.settle()
        await self.come_to_rest()
        await self.check()
        await self.stop()

    # --- what must be true then

    def state_in_log(self, room: str, offset: int | None = None) -> dict[str, Any]:
        """Fold what was committed, up to an offset."""
        state = no_state()
        for each, event in sorted(self.log.committed.get(room, {}).items()):
            if offset is None or each <= offset:
                fold(state, on_the_wire(event))
        return state

    async def come_to_rest(self) -> None:
        """Let everything that was begun come to its end, with every client connected and reading."""
        await self.be_late(False)
        self._plan.next = None
        await self.settle()
        for _ in range(3):
            for number in range(PEERS):
                await self.connect(number)
                await self.settle()
                for _ in range(20):
                    await self.go_on(number, None)
                    await self.settle()
        await self.advance(ESCALATE_S + 10.0)

    async def check(self) -> None:
        for room in {*ROOMS, *self.log.committed}:
            ear = Ear()
            self.hall.house.directory.room(room).tell(Query(commands.State(room=room), ADMIN, ear))
            await self.settle()
            answer = ear.only(replies.State)
            top = max(self.log.committed.get(room) or (0,))
            assert answer.offset == top
            self.check_state(room, answer.offset, answer.state)
            for believer in self.believers:
                stream = believer.rooms.get(room)
                if stream is not None:
                    self.check_position(room, stream, top)
                    self.check_fold(room, stream, answer.state)
        for believer in self.believers:
            assert not believer.asked, "a subscription was not answered"
            for room, offset, state in believer.states:
                self.check_state(room, offset, state)
            for room, stream in [*believer.rooms.items(), *believer.over]:
                self.check_coverage(room, stream)
        self.check_receipts()
        self.check_escalations()

    def check_state(self, room: str, offset: int, state: dict[str, Any]) -> None:
        assert comparable(state) == comparable(self.state_in_log(room, offset)), f"{room} at {offset}"

    def check_position(self, room: str, stream: Stream, top: int) -> None:
        """Everyone is at the top, but for what a filter keeps back."""
        position = stream.state_offset if stream.position is None else stream.position
        if stream.kinds is None:
            assert position == top
        committed = self.log.committed.get(room, {})
        late = [committed[offset].draft.kind for offset in range(position + 1, top + 1)]
        assert not set(late) & set(stream.kinds or ())

    def check_fold(self, room: str, stream: Stream, state: dict[str, Any]) -> None:
        since = [each for each in stream.skipped if each[1] > stream.state_offset]
        if stream.state is None or stream.kinds is not None or any(self._lost(room, each) for each in since):
            return
        theirs, own = comparable(state), comparable(stream.state)
        if since:
            theirs.pop("counts"), own.pop("counts")
        assert own == theirs

    def _lost(self, room: str, skipped: tuple[int, int, str]) -> bool:
        """Return whether something that counts for the state was skipped, beyond what gave way to a newer value."""
        first, last, reason = skipped
        if reason == "conflated":
            return False
        return any(self.log.committed[room][each].draft.delivery != "ephemeral" for each in range(first, last + 1))

    def check_coverage(self, room: str, stream: Stream) -> None:
        """Everything between the first position and the last one came, or did not for a reason that holds."""
        if stream.begin is None or stream.position is None:
            return
        committed = self.log.committed.get(room, {})
        for offset in range(stream.begin + 1, stream.position + 1):
            event, got = committed[offset], stream.events.get(offset)
            if got is not None:
                assert got.items() >= on_the_wire(event).items()
                assert stream.kinds is None or event.draft.kind in stream.kinds
                continue
            (reason,) = [reason for first, last, reason in stream.skipped if first <= offset <= last]
            if event.draft.delivery == "ephemeral":
                continue
            if stream.kinds is not None and event.draft.kind not in stream.kinds:
                continue
            assert reason != "filtered", event
            if offset <= self.log.lost.get(room, 0):
                continue
            assert event.draft.delivery == "latest", f"{event} was kept from a subscriber as {reason}"
            assert self._gave_way(committed, event), f"{event} gave way to nothing"

    def _gave_way(self, committed: dict[int, Event], event: Event) -> bool:
        for offset in range(event.offset + 1, max(committed) + 1):
            newer = committed[offset].draft
            if newer.kind == "session":
                return False
            if (newer.kind, newer.key, newer.delivery) == (event.draft.kind, event.draft.key, "latest"):
                return True
        return False

    def check_receipts(self) -> None:
        for ear in self.publishers:
            for published in ear.of(Published):
                receipt = published.receipt
                event = self.log.committed[receipt.room][receipt.offset]
                assert event.draft.id == receipt.event_id
            assert len(ear.of(Published)) + len(ear.of(Refused)) == len(ear.heard)
        for committed in self.log.committed.values():
            ids = [event.draft.id for event in committed.values() if event.draft.delivery != "ephemeral"]
            assert len(ids) == len(set(ids)), "an event was taken twice"

    def check_escalations(self) -> None:
        sent = [decode_data(event.draft.data) for event in self.log.committed.get("role:admin", {}).values()]
        origins = [(each["escalated_from"]["room"], each["escalated_from"]["offset"]) for each in sent]
        assert len(origins) == len(set(origins)), "an alert went to the admins twice"
        for room in ROOMS:
            for alert in self.state_in_log(room)["alerts"]:
                assert "escalated_at" in alert, f"{alert} was not escalated"
                assert (room, alert["offset"]) in origins


def on_the_wire(event: Event) -> dict[str, Any]:
    """Write an event as docs/reference/protocol.md does."""
    draft = event.draft
    seconds, ms = divmod(draft.time_ms, 1000)
    message = {
        "offset": event.offset,
        "prev": event.prev,
        "id": draft.id,
        "kind": draft.kind,
        "time": f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z",
        "data": decode_data(draft.data),
    }
    if draft.key is not None:
        message["key"] = draft.key
    if draft.delivery != "keep":
        message["delivery"] = draft.delivery
    return {**message, "ack": "required"} if draft.ack else message


def comparable(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state whose alerts stand in an order that does not matter."""
    return {**state, "alerts": sorted(state["alerts"], key=lambda alert: str(alert["event_id"]))}


rooms = st.sampled_from(ROOMS)
peers = st.integers(0, PEERS - 1)
PUBLISH = st.tuples(
    st.just("publish"),
    rooms,
    st.sampled_from(list(PUBLISHED)),
    st.sampled_from([None, None, "keep", "latest", "ephemeral"]),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([None, None, "n1", "n2"]),
)
LISTEN = st.one_of(
    st.tuples(st.just("connect"), peers),
    st.tuples(
        st.just("subscribe"),
        peers,
        rooms,
        st.none() | st.just(["app.thing", "progress"]),
        st.none() | st.integers(1, 20),
    ),
    st.tuples(st.just("unsubscribe"), peers, rooms),
    st.tuples(st.just("hang_up"), peers),
    st.tuples(st.just("pause"), peers, st.booleans()),
    st.tuples(st.just("go_on"), peers, st.sampled_from([None, 300, 2000])),
)
TROUBLE = st.one_of(
    st.tuples(st.just("burst"), rooms, st.sampled_from([20, 300])),
    st.tuples(st.just("acknowledge"), rooms, st.integers(0, 3)),
    st.tuples(st.just("crash"), st.integers(0, len(ROOMS) + PEERS - 1)),
    st.tuples(st.just("plan"), st.sampled_from(CRASHES)),
    st.tuples(st.just("advance"), st.sampled_from([1.0, 7.0, ESCALATE_S])),
    st.tuples(st.just("retire")),
    st.tuples(st.just("be_late"), st.sampled_from([True, True, False])),
    st.tuples(st.just("commit"), st.integers(1, 30)),
    st.tuples(st.just("fail")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("settle")),
)


@settings(max_examples=80, deadline=None)
@given(
    history_events=st.sampled_from([1000, 10]),
    outbox_bytes=st.sampled_from([1 << 20, 3000]),
    steps=st.lists(st.one_of(PUBLISH, PUBLISH, LISTEN, TROUBLE), max_size=40),
)
def test_a_clients_own_fold_is_the_rooms_state_and_nobody_misses_an_event(
    history_events: int, outbox_bytes: int, steps: list[tuple[Any, ...]]
) -> None:
    asyncio.run(live_through(history_events, outbox_bytes, steps))


async def live_through(history_events: int, outbox_bytes: int, steps: list[tuple[Any, ...]]) -> None:
    plan = Plan()
    try:
        with structlog.testing.capture_logs() as lines, plan.in_force():
            async with asyncio.timeout(60.0):
                await World(history_events, outbox_bytes, plan).live_through(steps)
        assert pykka.ActorRegistry.get_all() == [], "actors left running"
    finally:
        for ref in pykka.ActorRegistry.get_all():
            pykka.ActorRegistry.unregister(ref)
    failed = [line for line in lines if line["event"] == "actor_failed" and line["error"] != "made to fail"]
    assert not failed, failed[0]["traceback"]
    assert not [line for line in lines if line["event"] == "actor_given_up"]
