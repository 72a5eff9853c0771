"""Lag: how late the event loop comes to what is due. A timer of its own in; a log line when it came very late."""

from __future__ import annotations

import structlog

from actors.clock import Clock, Timer

__all__ = ["LagWatch"]

log = structlog.get_logger("postroom.lag")

_TICK_S = 0.25
_LAG_S = 1.0
"""From here on it is worth a line: something blocked the loop, or the whole process stood still."""
_QUIET_S = 10.0
"""At most one line in this time."""


class LagWatch:
    """Notices that the loop stood still, and says for how long once it goes on.

    Args:
        clock: Whose timers and monotonic time it looks at.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due_s = 0.0
        self._quiet_until_s = 0.0
        self._worst_s = 0.0
        self._times = 0
        """How often it lagged since the last line."""
        self._timer: Timer | None = None

    def start(self) -> None:
        """Watch from now on."""
        self._due_s = self._clock.monotonic() + _TICK_S
        self._timer = self._clock.call_later(_TICK_S, self._tick)

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        now_s = self._clock.monotonic()
        lag_s = now_s - self._due_s
        if lag_s >= _LAG_S:
            self._times += 1
            self._worst_s = max(self._worst_s, lag_s)
        if self._times and now_s >= self._quiet_until_s:
            log.warning("loop_lagged", lag_ms=round(self._worst_s * 1000), times=self._times)
            self._quiet_until_s = now_s + _QUIET_S
            self._worst_s, self._times = 0.0, 0
        self.start()
