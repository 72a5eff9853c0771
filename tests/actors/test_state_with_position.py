"""State and position in one answer: a client's own fold is the room's state, and nobody misses an event.

Rooms, connections and the log fail, retire, restart and lag in any order; the clients believe only the protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pykka
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import commands, replies
from actors.batch import Batch
from actors.connection import Connection
from actors.events import Event, decode_data
from actors.loop import LoopActor
from actors.messages import (
    Acknowledge,
    AlertDue,
    Append,
    AppendFailed,
    Attach,
    Attached,
    Committed,
    Detach,
    Frame,
    Joined,
    Published,
    Query,
    Refused,
    Subscribe,
    Sweep,
    Writable,
)
from actors.room import Room

from .believer import Stream, fold, no_state
from .house import Ear
from .world import ADMIN, ESCALATE_S, PEERS, PUBLISHED, ROOMS, Plan, World

CRASHES: Sequence[tuple[type[LoopActor], type, bool]] = [
    *((Room, message, False) for message in (Append, AppendFailed, Committed, Subscribe, Attach, Detach)),
    *((Room, message, False) for message in (Acknowledge, AlertDue, Published, Sweep, Query)),
    *((Room, message, True) for message in (Append, AppendFailed, Committed, Attach, Detach, Acknowledge, AlertDue)),
    *((Connection, message, False) for message in (Frame, Batch, Attached, Joined, Writable)),
    *((Connection, message, True) for message in (Batch, Attached, Joined, Writable)),
]


class Judged(World):
    """A world that is held against what docs/reference/protocol.md promises."""

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
            assert self._gave_way(committed, event, stream.kinds), f"{event} gave way to nothing"

    def _gave_way(self, committed: dict[int, Event], event: Event, kinds: list[str] | None) -> bool:
        for offset in range(event.offset + 1, max(committed) + 1):
            newer = committed[offset].draft
            if newer.kind == "session" and (kinds is None or "session" in kinds):
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
            assert ear.of(Published) or ear.of(Refused), "a publisher was left without an answer"
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
    st.tuples(st.just("lag"), peers, rooms, st.booleans(), st.sampled_from([None, 300, 2000])),
    st.tuples(st.just("go_on"), peers, st.sampled_from([None, 300, 2000])),
)
TROUBLE = st.one_of(
    st.tuples(st.just("burst"), rooms, st.sampled_from([5, 20, 300])),
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


@settings(max_examples=120, deadline=None)
@given(
    history_events=st.sampled_from([1000, 10]),
    outbox_bytes=st.sampled_from([1 << 20, 3000]),
    steps=st.lists(st.one_of(PUBLISH, PUBLISH, LISTEN, TROUBLE), min_size=10, max_size=40),
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
                await Judged(history_events, outbox_bytes, plan).live_through(steps)
        assert pykka.ActorRegistry.get_all() == [], "actors left running"
    finally:
        for ref in pykka.ActorRegistry.get_all():
            pykka.ActorRegistry.unregister(ref)
    failed = [line for line in lines if line["event"] == "actor_failed" and line["error"] != "made to fail"]
    assert not failed, failed[0]["traceback"]
    assert not [line for line in lines if line["event"] == "actor_given_up"]
