"""Heartbeat: one timer for every client. Pings each in its turn; cuts those that answered nothing in time."""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import Protocol

__all__ = ["Heartbeat", "Pinged"]


class Pinged(Protocol):
    """A client's socket."""

    @property
    def silent(self) -> bool:
        """Whether the client was to answer, and did not."""

    def ping_now(self) -> None:
        """Send a ping; what comes in from now on answers it."""

    def cut(self) -> None:
        """Drop the socket at once, with what waits in it."""


class Heartbeat:
    """Pings all connections, spread evenly over the interval.

    It counts its own ticks instead of seconds: after the whole process was stopped for a while, the clients' answers
    are read before the next tick, and nobody is cut for our own absence.

    Args:
        loop: The event loop.
        interval_s: Seconds between two pings of one connection.
        timeout_s: Seconds that an answer may take.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, interval_s: float, timeout_s: float) -> None:
        self._loop = loop
        self._tick_s = min(1.0, interval_s / 2, timeout_s / 2)
        self._slots: list[set[Pinged]] = [set() for _ in range(max(1, round(interval_s / self._tick_s)))]
        self._timeout_ticks = math.ceil(timeout_s / self._tick_s)
        self._pinged: dict[int, list[Pinged]] = {}
        self._tick_number = 0
        self._next_slot = itertools.cycle(range(len(self._slots)))
        self._slot_of: dict[Pinged, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._slot_of)

    def add(self, connection: Pinged) -> None:
        """Ping this connection from now on."""
        slot = self._slot_of[connection] = next(self._next_slot)
        self._slots[slot].add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    def remove(self, connection: Pinged) -> None:
        """Leave this connection alone."""
        self._slots[self._slot_of.pop(connection)].discard(connection)

    def stop(self) -> None:
        """Ping nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        self._tick_number += 1
        for connection in self._pinged.pop(self._tick_number, ()):
            if connection.silent and connection in self._slot_of:
                connection.cut()
        slot = list(self._slots[self._tick_number % len(self._slots)])
        for connection in slot:
            connection.ping_now()
        if slot:
            # One tick more than the time-out: a tick that came late has the answers read before it is counted.
            self._pinged.setdefault(self._tick_number + self._timeout_ticks, []).extend(slot)
        if self._slot_of:
            self._timer = self._loop.call_later(self._tick_s, self._tick)
        else:
            self._pinged.clear()
