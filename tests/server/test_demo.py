"""The demonstration: what its actors publish, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from actors.events import draft
from actors.loop import LoopRef
from actors.messages import Publish
from server.app import Router
from server.demo import ROOMS, STEPS, DemoActor, plugin


class Stage:
    """Stands in for the router: keeps what is published, and lets the test say when a wait is over."""

    def __init__(self) -> None:
        self.published: list[Publish] = []
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self.actors: dict[str, LoopRef[DemoActor]] = {}
        self._changed = asyncio.Event()
        self.source = SimpleNamespace(tell=self.published.append)
        self.clock = SimpleNamespace(call_later=self._call_later)

    def _call_later(self, delay_s: float, callback: Callable[[], object]) -> object:
        entry = (delay_s, callback)
        self.timers.append(entry)
        self._changed.set()

        def cancel() -> None:
            if entry in self.timers:
                self.timers.remove(entry)
                self._changed.set()

        return SimpleNamespace(cancel=cancel)

    def start_actor(self, actor_class: type[DemoActor], *args: object, name: str) -> None:
        self.actors[name] = cast("LoopRef[DemoActor]", actor_class.start(*args))

    async def wait_for_timers(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.timers) != count:
                self._changed.clear()
                await self._changed.wait()

    async def play(self, beats: int) -> None:
        for _ in range(beats):
            await self.wait_for_timers(4)
            _, callback = self.timers.pop(0)
            callback()
        await self.wait_for_timers(4)


@pytest.fixture
async def stage() -> Iterator[Stage]:  # type: ignore[misc]  # an async generator
    stage = Stage()
    yield stage
    for ref in stage.actors.values():
        await ref.stop(block=False)


async def test_the_demo_plays_sessions_and_a_system_status(stage: Stage) -> None:
    """Every event is valid, and each room's sessions start, make progress, alert, notify and end, again and again."""
    plugin(cast("Router", stage))
    assert set(stage.actors) == {*(f"demo {room}" for room in ROOMS), "demo system"}
    await stage.play(1000)
    for event in stage.published:
        draft(event.kind, event.data, event_id="x", time_ms=0, key=event.key, delivery=event.delivery, ack=event.ack)
    assert {room for event in stage.published for room in event.rooms} == {*ROOMS, "system"}
    for room in ROOMS:
        story = [event for event in stage.published if event.rooms == (room,)]
        assert {event.kind for event in story} == {"session", "progress", "alert", "notification"}
        statuses = [event.data["status"] for event in story if event.kind == "session"]
        assert {"started", "completed", "failed"} == set(statuses)
        assert statuses[::2] == ["started"] * len(statuses[::2])
        assert max(event.data["current"] for event in story if event.kind == "progress") == STEPS


async def test_an_actor_that_failed_leaves_no_timer_behind(stage: Stage) -> None:
    """Its successor has one of its own; two would play at double speed."""
    plugin(cast("Router", stage))
    await stage.wait_for_timers(4)
    stage.source.tell = lambda _event: 1 / 0
    _, callback = stage.timers[0]
    callback()
    await stage.wait_for_timers(3)


async def test_an_actor_that_stops_leaves_no_timer_behind(stage: Stage) -> None:
    """Nothing is published after the router has stopped."""
    plugin(cast("Router", stage))
    await stage.wait_for_timers(4)
    for ref in stage.actors.values():
        await ref.stop(block=False)
    assert stage.timers == []
