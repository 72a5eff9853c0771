"""Service: publishes numbered events, tries again what was not acknowledged, and writes down each try."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..checker.records import Attempt, Receipt
from .plan import Plan, Tally
from .recording import Recorder
from .ways import Answer, Event, Nothing, Refused, Way

__all__ = ["Service", "SessionService"]

_AT_ONCE = 8
"""Publishes of one service that are under way at a time."""
_BATCHES = 0.2
"""How often several events are published at once."""
_BATCH = 8
_LEFT_UNKNOWN = 0.1
"""How often an event of which nothing is known is never published again."""
_AGAIN = 0.03
"""How often an acknowledged event is published once more."""
_WRONG = 0.01
"""How often an event is one that must be refused."""
_BACK_S = 0.25
_STEPS = 25
"""Events of one run of a session."""


class Service:
    """One service.

    Args:
        name: Its name in the records; event ids begin with it.
        rooms: Where it publishes.
        plan: What the run does.
        way: How it publishes.
        recorder: Where its attempts go.
        tally: Where they are counted.
    """

    def __init__(self, name: str, rooms: Sequence[str], plan: Plan, way: Way, recorder: Recorder, tally: Tally) -> None:
        self._name = name
        self._rooms = rooms
        self._way = way
        self._recorder = recorder
        self._tally = tally
        self.random = plan.random(name)
        """The source of its decisions."""
        events = 1 + _BATCHES * (_BATCH - 1) / 2
        self._pause_s = _AT_ONCE * events / plan.rate
        self._padding = "x" * (2000 if plan.disk_full else 100)
        self._numbers: Counter[str] = Counter()
        self._stopping = self._giving_up = False

    async def run(self) -> None:
        """Publish until `stop`, and then until all is acknowledged, refused for good or left unknown."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._publish_on())

    def stop(self) -> None:
        """Begin nothing new."""
        self._stopping = True

    def give_up(self) -> None:
        """Try nothing again: it has been tried for too long."""
        self._giving_up = True

    async def _publish_on(self) -> None:
        while not self._stopping:
            count = self.random.randint(1, _BATCH) if self.random.random() < _BATCHES else 1
            await self._see_through([self.event() for _ in range(count)])
            await asyncio.sleep(self.random.expovariate(1 / self._pause_s))

    def event(self) -> Event:
        """Make the next event."""
        room = self.random.choice(self._rooms)
        self._numbers[room] += 1
        number = self._numbers[room]
        kind, data = ("No Kind", {}) if self.random.random() < _WRONG else self.content(room, number)
        return Event(room, f"{self._name}.{room}.{number}", number, kind, {"number": number, **data})

    def content(self, room: str, number: int) -> tuple[str, dict[str, Any]]:
        """Choose kind and data of a room's next event."""
        data: dict[str, Any] = {"padding": self._padding}
        if self.random.random() < 0.5:
            return "notification", data | {"level": "info", "message": f"number {number}"}
        return "torture.step", data

    async def _see_through(self, events: list[Event]) -> None:
        while events:
            answers = await self._way.publish(events)
            for event, answer in zip(events, answers, strict=True):
                self._write_down(event, answer)
            events = [event for event, answer in zip(events, answers, strict=True) if self._again(answer)]
            if any(isinstance(answer, Refused | Nothing) for answer in answers):
                await asyncio.sleep(self.random.uniform(0.1, 1.0) * _BACK_S)

    def _again(self, answer: Answer) -> bool:
        if isinstance(answer, Receipt):
            return self.random.random() < _AGAIN
        if isinstance(answer, Refused) and not answer.temporary:
            return False
        if self._giving_up:
            self._tally.not_taken += 1
            return False
        if answer is Nothing.UNKNOWN and self.random.random() < _LEFT_UNKNOWN:
            self._tally.given_up += 1
            return False
        return True

    def _write_down(self, event: Event, answer: Answer) -> None:
        receipt, code = None, None
        tally = self._tally
        if isinstance(answer, Receipt):
            receipt = answer
            tally.acknowledged += 1
            tally.duplicates += answer.duplicate
        elif isinstance(answer, Refused):
            code = answer.code
            tally.refused[code] = tally.refused.get(code, 0) + 1
        elif answer is Nothing.UNKNOWN:
            tally.unknown += 1
        else:
            return
        self._recorder.write(
            Attempt(
                service=self._name,
                room=event.room,
                event_id=event.event_id,
                number=event.number,
                outcome="acknowledged" if receipt else "refused" if code else "unknown",
                receipt=receipt,
                code=code,
            )
        )


class SessionService(Service):
    """A service whose sessions start, make progress, end, and start again."""

    def content(self, room: str, number: int) -> tuple[str, dict[str, Any]]:
        """Choose kind and data of a room's next event."""
        if not room.startswith("session:"):
            return super().content(room, number)
        step = number % _STEPS
        if step == 1:
            return "session", {"status": "started"}
        if step == 0:
            return "session", {"status": self.random.choice(["completed", "failed", "cancelled"])}
        return "progress", {"current": step, "total": _STEPS, "message": f"step {step}"}
