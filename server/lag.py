"""Lag: how late the event loop comes to what is due. A timer of its own in; a log line when it came very late."""

from __future__ import annotations

from collections import deque

import structlog

from actors.clock import Clock, Timer
from actors.histogram import Histogram

__all__ = ["LagWatch"]

log = structlog.get_logger("postroom.lag")

_TICK_S = 0.25
_LAG_S = 1.0
"""From here on it is worth a line: something blocked the loop, or the whole process stood still."""
_QUIET_S = 10.0
"""At most one line in this time."""
_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_RECENT_TICKS = 8


class LagWatch:
    """Notices that the loop stood still, and says for how long once it goes on.

    Args:
        clock: Whose timers and monotonic time it looks at.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lags_s = Histogram(_BOUNDS_S)
        """How late it came, four times a second."""
        self._recent_s: deque[float] = deque([0.0], maxlen=_RECENT_TICKS)
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

    @property
    def recent_s(self) -> float:
        """How late it came at worst within the last two seconds."""
        return max(self._recent_s)

    def _tick(self) -> None:
        now_s = self._clock.monotonic()
        lag_s = max(0.0, now_s - self._due_s)
        self.lags_s.observe(lag_s)
        self._recent_s.append(lag_s)
        if lag_s >= _LAG_S:
            self._times += 1
            self._worst_s = max(self._worst_s, lag_s)
        if self._times and now_s >= self._quiet_until_s:
            log.warning("loop_lagged", lag_ms=round(self._worst_s * 1000), times=self._times)
            self._quiet_until_s = now_s + _QUIET_S
            self._worst_s, self._times = 0.0, 0
        self.start()
