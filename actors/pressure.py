"""Pressure: how long events wait for their rooms in, how many may be under way out.

A router that is offered more than it can do must not let it pile up: whoever asks it anything waits behind the pile. So
what may be under way follows from time, not from a number that is right for one machine and one kind of load.
"""

from __future__ import annotations

__all__ = ["Pressure"]

_TARGET_S = 0.025
"""How long an event may wait for its room, at most some of the time."""
_FIRST = 4096
_LEAST = 512
_MOST = 40_000
_LEAST_SHARE = 4
_SMALLER = 0.5
"""What at most is taken off at once: what waits already says nothing of the new limit."""
_LARGER = 1 / 16
_GROW_EVERY_S = 0.02


class Pressure:
    """How much of what publishers hand in may be under way at once. Used on the loop's thread only.

    One half is for WebSockets, which are read no further when they have their share; the other is for HTTP, which
    refuses. What waits for the disk does not count as waiting: there more at once is faster.
    """

    __slots__ = ("_limit", "_next_at", "_publishing", "felt", "share")

    def __init__(self) -> None:
        self._limit = _FIRST
        self._next_at = 0.0
        """When the limit may change again."""
        self._publishing = 0
        self.felt = False
        """Whether somebody has to wait because of the limit: only then may it grow."""
        self.share = _FIRST // 2
        """What one WebSocket may have under way, whatever else holds it."""

    @property
    def half(self) -> int:
        """What all WebSockets, or all requests, may have under way together."""
        return self._limit // 2

    def waited(self, wait_s: float, now: float) -> None:
        """Take note how long an event that has reached its room was on its way."""
        if now < self._next_at:
            return
        if wait_s > _TARGET_S:
            self._set(max(_LEAST, int(self._limit * max(_SMALLER, _TARGET_S / wait_s))))
            self._next_at = now + wait_s  # until then come those that were let in before
        elif self.felt:
            self.felt = False
            self._set(min(_MOST, self._limit + int(self._limit * _LARGER)))
            self._next_at = now + _GROW_EVERY_S

    def enter(self) -> None:
        """A WebSocket has begun to have something under way."""
        self._publishing += 1
        self._set(self._limit)

    def leave(self) -> None:
        """It has nothing under way any more."""
        self._publishing -= 1
        self._set(self._limit)

    def _set(self, limit: int) -> None:
        self._limit = limit
        self.share = max(_LEAST_SHARE, limit // 2 // max(1, self._publishing))
