"""Restarts: when a process ended in; how long to wait before it is started again, or that it is given up, out."""

from __future__ import annotations

from collections import deque

from actors.child import Backoff

__all__ = ["INTENSITY", "WITHIN_S", "Restarts"]

INTENSITY = 3
"""Restarts within `WITHIN_S` before a process is given up: those of an actor (OTP's word)."""
WITHIN_S = 5.0


class Restarts:
    """The restarts of one process."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._backoff = Backoff()

    def wait_s(self, now: float) -> float | None:
        """Note a restart; return how long to wait before it. None: there were too many.

        Args:
            now: Seconds of any clock that does not jump.
        """
        while self._times and self._times[0] <= now - WITHIN_S:
            self._times.popleft()
        if len(self._times) >= INTENSITY:
            return None
        wait_s = self._backoff.wait_s(len(self._times))
        self._times.append(now)
        return wait_s
