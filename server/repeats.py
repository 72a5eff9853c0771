"""Repeats: a flood of the same warning or error in; its first lines out, and one that counts the rest.

What somebody can make the router log as fast as they like would fill the disk, and hide what else is in the log. What
is less than a warning is one line for each fact, and is left alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import structlog
from structlog.typing import EventDict, WrappedLogger

__all__ = ["MOST_A_SECOND", "Repeats"]

log = structlog.get_logger("postroom.logs")

MOST_A_SECOND = 300
"""Lines of one kind that are written within a second."""
_WINDOW_S = 1.0
_MOST_KINDS = 1000
_COUNTED = frozenset({"warning", "error", "critical"})
_OWN = "lines_left_out"

_Kind = tuple[str, str, str]
"""The logger's name; the event, or a library's words before values are put into them; where one failure is not like
another, its `traceback_hash`."""
_MORE_KINDS: _Kind = ("", "other events", "")


class Repeats(logging.Filter):
    """Counts lines by kind, on any thread: ours as a processor of structlog's, those of libraries as a filter.

    Args:
        most: Lines of one kind within a second.
        clock: The monotonic time in seconds.
    """

    def __init__(self, most: int = MOST_A_SECOND, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._counts: dict[_Kind, int] = {}
        self._timer: threading.Timer | None = None

    def process(self, logger: WrappedLogger, method: str, event_dict: EventDict) -> EventDict:
        """Let a line of ours pass, or drop it."""
        event = str(event_dict["event"])
        if method in _COUNTED and event != _OWN:
            kind = (getattr(logger, "name", ""), event, str(event_dict.get("traceback_hash", "")))
            if self._one_too_many(kind):
                raise structlog.DropEvent
        return event_dict

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a line of a library's pass, or drop it; ours have been counted."""
        ours = isinstance(record.msg, dict)
        return ours or record.levelno < logging.WARNING or not self._one_too_many((record.name, str(record.msg), ""))

    def flush(self) -> None:
        """Say what was left out so far, and begin to count anew."""
        with self._lock:
            counts = self._begin_anew()
        self._say(counts)

    def _one_too_many(self, kind: _Kind) -> bool:
        ended: dict[_Kind, int] = {}
        with self._lock:
            if self._clock() >= self._began + _WINDOW_S:
                ended = self._begin_anew()
            if kind not in self._counts and len(self._counts) >= _MOST_KINDS:
                kind = _MORE_KINDS
            count = self._counts[kind] = self._counts.get(kind, 0) + 1
            too_many = count > self._most
            if too_many and self._timer is None:  # when nothing more comes, somebody has to say what was left out
                self._timer = threading.Timer(_WINDOW_S, self.flush)
                self._timer.daemon = True
                self._timer.start()
        self._say(ended)
        return too_many

    def _begin_anew(self) -> dict[_Kind, int]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counts, self._counts, self._began = self._counts, {}, self._clock()
        return counts

    def _say(self, counts: dict[_Kind, int]) -> None:
        for (logger, event, traceback_hash), count in counts.items():
            if count > self._most:
                left_out = count - self._most
                log.warning(
                    "lines_left_out", of=event, of_logger=logger, of_hash=traceback_hash or None, count=left_out
                )
