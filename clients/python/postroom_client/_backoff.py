"""How long to wait before the next attempt: an attempt's number in, seconds out."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

__all__ = ["Backoff"]


class Backoff(msgspec.Struct, frozen=True):
    """Full jitter, growing: attempt n waits anything between the floor and `floor * 2^n`, at most the cap.

    Chosen at random so that clients which lost the same router do not come back at the same moment.
    """

    floor_s: float = 0.5
    """Shortest delay, in seconds."""
    cap_s: float = 20.0
    """Longest delay, in seconds."""

    def delay_s(self, attempt: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
        """Return the seconds to wait before an attempt.

        Args:
            attempt: 1 for the first one after something failed.
            uniform: Where the chance comes from; tests give their own.
        """
        doublings = min(max(attempt, 1), 32)
        return uniform(self.floor_s, max(self.floor_s, min(self.cap_s, self.floor_s * 2.0**doublings)))
