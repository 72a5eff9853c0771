"""A router in which everything goes wrong that may: what can happen to it, as one method each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from actors.connection import Connection
from actors.identity import Identity
from actors.loop import LoopActor
from actors.messages import (
    Acknowledge,
    Publish,
    WireClosed,
)
from actors.ports import ConnectionLimits
from actors.room import Room
from actors.rooms import RoomLimits

from .believer import Believer, Stream
from .client import Client, Hall
from .fake_clock import START_S, settled
from .house import Ear, House
from .late_log import LateLog

__all__ = ["ADMIN", "ESCALATE_S", "PEERS", "PUBLISHED", "ROOMS", "Plan", "World"]

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
        self._since_commit_s = 0.0

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
        """Let time pass; the log commits, late or not, before a room that waits for it could be idle."""
        self._since_commit_s += seconds
        if self._since_commit_s > IDLE_S / 2:
            await settled()
            while self.log.waiting:
                self.log.commit()
                await settled()
            self._since_commit_s = 0.0
        await self.hall.clock.advance(seconds)
        await self.settle()

    # --- what may happen

    async def publish(self, room: str, what: str, delivery: str | None, key: str | None, name: str | None) -> None:
        kind, data = PUBLISHED[what]
        if kind in ("session", "alert"):
            delivery = None
        ear = Ear()
        self.publishers.append(ear)
        self.hall.house.source.tell(
            Publish(rooms=(room,), kind=kind, data=data, event_id=name, key=key, delivery=delivery, reply_to=ear)
        )

    async def burst(self, room: str, count: int) -> None:
        for number in range(1, count + 1):
            what = "start" if number % 13 == 0 else "thing" if number % 5 == 0 else "progress"
            await self.publish(room, what, "ephemeral" if number % 11 == 0 else None, None, None)

    async def lag(self, number: int, room: str, stuck: bool, room_bytes: int | None) -> None:
        """Have a client read nothing while much is published, then some of it while more is."""
        await self.pause(number, stuck)
        for count in (20, 3):
            await self.burst(room, count)
            await self.settle()
            await self.go_on(number, room_bytes)

    async def acknowledge(self, room: str, number: int) -> None:
        alerts = [event for event in self.log.committed.get(room, {}).values() if event.draft.ack]
        if alerts:
            event_id = alerts[number % len(alerts)].draft.id
            self.hall.house.directory.room(room).tell(Acknowledge(event_id, ADMIN, Ear(), None))

    async def connect(self, number: int) -> None:
        client = self.clients[number]
        if client is not None:
            if client.wire.closed is None and self.believers[number].connected:
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
        self.publishers = [ear for ear in self.publishers if ear.heard]  # the others know that they know nothing
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
