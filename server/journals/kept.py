"""KeptLog: an event log that outlives the process, as those see it who watch over it."""

from __future__ import annotations

from typing import Protocol

from actors.histogram import Histogram
from actors.log import EventLog

__all__ = ["KeptLog"]


class KeptLog(EventLog, Protocol):
    """An event log that may have trouble, and takes its time."""

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written now; None: it can."""

    @property
    def commits_s(self) -> Histogram:
        """How long commits took."""

    @property
    def waiting(self) -> tuple[int, int]:
        """How many events wait to be committed, and how many bytes of data."""
