"""A clock whose time stands still until the test moves it, and a way to wait until the actors have nothing to do."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from actors.mailbox import Dispatcher

__all__ = ["START_S", "FakeClock", "settled"]

START_S = 1_700_000_000.0
"""What the wall clock shows at first, as Unix time in seconds."""
TURNS = 100_000


class _Timer:
    def __init__(self, due_s: float, callback: Callable[[], object]) -> None:
        self.due_s = due_s
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """`actors.clock.Clock` for tests."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._wall_ahead_s = START_S
        self._timers: list[tuple[float, int, _Timer]] = []
        self._numbers = itertools.count()
        self.waits: list[float] = []
        """Every delay that was asked for."""

    def time(self) -> float:
        return self._wall_ahead_s + self._now_s

    def monotonic(self) -> float:
        return self._now_s

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> _Timer:
        self.waits.append(delay_s)
        timer = _Timer(self._now_s + max(0.0, delay_s), callback)
        heapq.heappush(self._timers, (timer.due_s, next(self._numbers), timer))
        return timer

    @property
    def due(self) -> list[float]:
        """How far away the timers are that were not cancelled."""
        return sorted(timer.due_s - self._now_s for _, _, timer in self._timers if not timer.cancelled)

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock, as an operator or NTP does; timers do not care."""
        self._wall_ahead_s += seconds

    def stand_still_for(self, seconds: float) -> None:
        """Let time pass while the whole process is stopped: nothing is called, what is due is late."""
        self._now_s += seconds

    async def advance(self, seconds: float) -> None:
        """Let time pass: call what is due, in order, and let the actors work after each call."""
        end_s = self._now_s + seconds
        await settled()
        while self.fire_next(end_s):
            await settled()

    def fire_next(self, until_s: float) -> bool:
        """Let time pass to the next timer and call it; without one by `until_s`, to then. Return whether there was."""
        while self._timers and self._timers[0][0] <= until_s:
            due_s, _, timer = heapq.heappop(self._timers)
            self._now_s = max(self._now_s, due_s)
            if not timer.cancelled:
                timer.callback()
                return True
        self._now_s = max(self._now_s, until_s)
        return False

    def forget_timers(self) -> None:
        """Call nobody any more who waits now: they died with their process."""
        self._timers.clear()


async def settled() -> None:
    """Wait until every actor of this loop has handled what is in its mailbox."""
    dispatcher = Dispatcher.current()
    for _ in range(TURNS):
        if not dispatcher._woken and not dispatcher._outside_woken:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"the actors found no rest within {TURNS} turns of the loop")
