"""The clock that actors are given: they never look at the wall themselves, so that a test or a simulation can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "Timer"]


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Do not make the call; harmless when it was made already."""


class Clock(Protocol):
    """Time and timers. Callbacks run on the event loop's thread; actors let them tell a mailbox and do no more."""

    def time(self) -> float:
        """Return Unix time in seconds. It may jump: for stamps and expiry, never for measuring."""

    def monotonic(self) -> float:
        """Return seconds since some moment; it never jumps."""

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` once, `delay_s` seconds from now."""
