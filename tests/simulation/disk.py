"""Disk: an event log that is late, refuses, and at the end of a process keeps or loses what it has told nobody of."""

from __future__ import annotations

import random
from collections.abc import Callable

from actors.errors import LogUnavailable
from actors.mailbox import Target
from actors.record import RoomRecord

from ..actors.late_log import LateLog

__all__ = ["Disk"]


class Disk(LateLog):
    """`actors.log.EventLog` that outlives the router.

    Args:
        source: Decides.
    """

    def __init__(self, source: random.Random) -> None:
        super().__init__(late=True)
        self._source = source
        self.refuse_opening = 0.0
        """How often a room cannot be opened."""

    def open(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None], to: Target | None = None) -> None:
        if self._source.random() < self.refuse_opening:
            self._take(lambda: ready(LogUnavailable("the disk does not answer")))
        else:
            super().open(room, ready, to)

    def work(self) -> None:
        """Commit a group of what waits."""
        self.commit(self._source.choice((1, 1, 2, 5, 1000)))

    def crash(self) -> int:
        """End with the process: what waits is lost, but for a group that was written before anybody was told.

        Returns:
            How many calls that group had.
        """
        written = self._source.randint(1, self.waiting) if self.waiting and self._source.random() < 0.5 else 0
        self.lose(written)
        return written
