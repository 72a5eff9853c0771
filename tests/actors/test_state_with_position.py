"""State and position in one answer: a client's own fold is the room's state, and nobody misses an event.

Rooms, connections and the log fail, retire, restart and lag in any order; the clients believe only the protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pykka
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import commands, replies
from actors.batch import Batch
from actors.connection import Connection
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

from .house import Ear
from .judge import Judge
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
        judge = Judge(self.log)
        for room in {*ROOMS, *self.log.committed}:
            ear = Ear()
            self.hall.house.directory.room(room).tell(Query(commands.State(room=room), ADMIN, ear))
            await self.settle()
            judge.check_room(ear.only(replies.State), self.believers)
        for believer in self.believers:
            judge.check_believer(believer)
        for ear in self.publishers:
            for published in ear.of(Published):
                judge.check_receipt(published.receipt)
            assert ear.of(Published) or ear.of(Refused), "a publisher was left without an answer"
        judge.check_committed()
        judge.check_escalations()


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
