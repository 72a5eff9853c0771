"""Throttle: how many commands and how many mistakes a client may make."""

from __future__ import annotations

from collections import deque

__all__ = ["BadMessageCount", "TokenBucket"]


class TokenBucket:
    """Allows a rate with a burst.

    Args:
        per_s: Tokens that come in each second; 0: no limit.
        burst: Tokens that it holds at most, and at first.
        now: The monotonic time in seconds.
    """

    __slots__ = ("_burst", "_per_s", "_since", "_tokens")

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._since = now

    def take(self, now: float) -> float:
        """Take a token; return 0.0, or the seconds until there is one."""
        if not self._per_s:
            return 0.0
        self._tokens = min(self._burst, self._tokens + (now - self._since) * self._per_s)
        self._since = now
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self._per_s
        self._tokens -= 1.0
        return 0.0


class BadMessageCount:
    """Counts bad messages of the last minute.

    Args:
        most: How many are too many.
        within_s: The length of the minute, in seconds.
    """

    __slots__ = ("_most", "_times", "_within_s")

    def __init__(self, most: int = 10, within_s: float = 60.0) -> None:
        self._most = most
        self._within_s = within_s
        self._times: deque[float] | None = None  # made at the first mistake: most clients make none

    def add(self, now: float) -> bool:
        """Count one; return whether these are too many."""
        if self._times is None:
            self._times = deque(maxlen=self._most)
        self._times.append(now)
        return len(self._times) == self._most and now - self._times[0] <= self._within_s
