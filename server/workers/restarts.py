"""Restarts: how long a process ran before it ended in; how long to wait before the next start, or to give up, out."""

from __future__ import annotations

from actors.child import Backoff

__all__ = ["INTENSITY", "WELL_S", "Restarts"]

INTENSITY = 3
"""Restarts in a row before a process is given up: as many as of an actor (OTP's word)."""
WELL_S = 5.0
"""Who has run for so long is well: its next end begins another row.

Time until it is ready does not count. An actor starts in no time; a process may need longer than any window in which
its restarts could be counted, and would be started for ever.
"""


class Restarts:
    """The restarts of one process."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._backoff = Backoff()

    def wait_s(self, ran_s: float) -> float | None:
        """Note an end; return how long to wait before the restart. None: there were too many.

        Args:
            ran_s: How long it could be used; 0: it never could.
        """
        if ran_s >= WELL_S:
            self._in_a_row = 0
        if self._in_a_row >= INTENSITY:
            return None
        wait_s = self._backoff.wait_s(self._in_a_row)
        self._in_a_row += 1
        return wait_s
