"""The real clock, for the actors that must not look at the wall themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["SystemClock"]


class SystemClock:
    """The system's time and the event loop's timers.

    Args:
        loop: The loop that calls back.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def time(self) -> float:
        """Return Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        return time.monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Call `callback` on the loop after `delay_s` seconds; from the loop's own thread only."""
        return self._loop.call_later(max(0.0, delay_s), callback)
