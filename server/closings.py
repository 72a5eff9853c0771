"""Closings: connections that ended in; a line each out, or one for all where many end at once, and details of each.

A network that fails, a proxy that restarts or a drain ends thousands within a second. Their lines would hide what else
is in the log, and one that counts them says more.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import NamedTuple

import structlog

from actors.clock import Clock, Timer

__all__ = ["LONGEST_S", "MOST_SINGLE", "WINDOW_S", "Closing", "Closings"]

log = structlog.get_logger("postroom.listener")

WINDOW_S = 0.25
"""What ends within so long ends together; a line is so late at most."""
MOST_SINGLE = 20
"""So many that end together are told one by one."""
LONGEST_S = 10.0
"""A summary comes this often at least, however long connections go on to end."""


class Closing(NamedTuple):
    """A connection whose socket is gone."""

    connection: str
    user: str | None
    code: int | None
    by: str
    """`router` or `client`."""
    stalled: bool | None
    flooded: bool | None
    clean: bool


class Closings:
    """Tells of every connection that ended. Used on the loop's thread only.

    Args:
        clock: Measures the windows.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: list[Closing] = []
        """Of this window, while they are few."""
        self._codes: Counter[str] = Counter()
        """Those that the summary is to count, by close code; empty: they are few."""
        self._stalled = 0
        """How many of them read nothing and were cut."""
        self._in_window = 0
        self._began = 0.0
        self._last = 0.0
        self._timer: Timer | None = None

    def add(self, closing: Closing) -> None:
        """Tell of one, within `WINDOW_S`."""
        self._last = self._clock.monotonic()
        self._in_window += 1
        if self._codes:
            self._count(closing)
        else:
            self._held.append(closing)
            if len(self._held) == 1:
                self._began = self._last
            if len(self._held) > MOST_SINGLE:
                for each in self._held:
                    self._count(each)
                self._held.clear()
        if self._timer is None:
            self._timer = self._clock.call_later(WINDOW_S, self._window_ended)

    def flush(self) -> None:
        """Tell what was not told yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._in_window = 0
        for each in self._held:
            _write(each, alone=True)
        self._held.clear()
        if self._codes:
            log.info(
                "connections_closed",
                count=self._codes.total(),
                codes=dict(self._codes.most_common()),
                stalled=self._stalled or None,
                over_s=round(self._last - self._began, 3),
            )
            self._codes.clear()
            self._stalled = 0

    def _window_ended(self) -> None:
        self._timer = None
        go_on = self._in_window > MOST_SINGLE and self._clock.monotonic() + WINDOW_S <= self._began + LONGEST_S
        if self._codes and go_on:
            self._in_window = 0
            self._timer = self._clock.call_later(WINDOW_S, self._window_ended)
        else:
            self.flush()

    def _count(self, closing: Closing) -> None:
        self._codes[str(closing.code)] += 1
        self._stalled += bool(closing.stalled)
        _write(closing, alone=False)


def _write(closing: Closing, *, alone: bool) -> None:
    log.log(
        logging.INFO if alone else logging.DEBUG,
        "connection_closed",
        connection=closing.connection,
        user=closing.user,
        code=closing.code,
        by=closing.by,
        stalled=closing.stalled,
        flooded=closing.flooded,
        clean=closing.clean,
    )
