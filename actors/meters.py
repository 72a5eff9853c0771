"""Meters: what actors have done, counted where it happens; whoever shows it reads the numbers and asks no actor.

Plain numbers with one writer, the loop's thread: a count costs one addition, and no lock.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable

from .events import ALERT_ACKNOWLEDGED, ALERT_ESCALATED, KINDS
from .histogram import Histogram

__all__ = ["CUSTOM", "UNKNOWN", "Meters"]

CUSTOM = "custom"
"""Stands for every kind that publishers name themselves: there may be any number of them."""
UNKNOWN = "unknown"
"""Stands for the class of an actor that failed before there was one."""

_OWN = (ALERT_ACKNOWLEDGED, ALERT_ESCALATED)
_SUPERVISOR = "supervisor"
_SUPERVISOR_KINDS = "supervisor."
"""What the kinds in the supervisor journal begin with."""
_LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """What one router has done since it started.

    Args:
        monotonic: The clock by which events are stamped when they are handed in.
    """

    __slots__ = (
        "closed",
        "conflated",
        "deliveries",
        "events_in",
        "failures",
        "given_up",
        "latency_s",
        "monotonic",
        "opened",
        "quarantined",
        "rejected",
        "restarts",
        "skipped",
    )

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self.events_in = dict.fromkeys((*KINDS, *_OWN, _SUPERVISOR, CUSTOM), 0)
        """Events that rooms took, by kind."""
        self.deliveries = 0
        """Events that were written to clients: one event for three clients is three."""
        self.conflated = 0
        """Of those that waited for a client, how many gave way to a newer value."""
        self.skipped = {"filtered": 0, "conflated": 0, "expired": 0}
        """Markers that were made for clients, by the reason that they name."""
        self.latency_s = Histogram(_LATENCY_S)
        """From the publisher's hand to the write; one value for each delivery of a live event."""
        self.opened = 0
        """Connections that were let in."""
        self.closed: Counter[tuple[str, str]] = Counter()
        """Connections that are over, by close code and who closed."""
        self.rejected: Counter[tuple[str, str]] = Counter()
        """What was turned away, by where that was and why. Both come from short lists of ours."""
        self.failures: Counter[str] = Counter()
        """Failures of actors, by their class."""
        self.restarts: Counter[str] = Counter()
        """Restarts, by supervisor."""
        self.given_up: Counter[str] = Counter()
        """Actors that failed too often, by supervisor."""
        self.quarantined = 0
        """Messages that made an actor fail again and again."""

    def took(self, kind: str) -> None:
        """Count an event that a room took."""
        counts = self.events_in
        if kind not in counts:
            kind = _SUPERVISOR if kind.startswith(_SUPERVISOR_KINDS) else CUSTOM
        counts[kind] += 1

    def report(self, kind: str, /, **fields: object) -> None:
        """Count what a supervisor reports (`actors.report.Report`)."""
        if kind == "failed":
            self.failures[str(fields["actor_class"]) or UNKNOWN] += 1
        elif kind == "restarted":
            self.restarts[str(fields["supervisor"])] += 1
        elif kind == "given_up":
            self.given_up[str(fields["supervisor"])] += 1
        elif kind == "quarantined":
            self.quarantined += 1

    def delivered(self, count: int, live: int, since: float) -> None:
        """Count events that were written.

        Args:
            count: How many.
            live: How many of them came straight from their publishers.
            since: When the first of those was handed in.
        """
        self.deliveries += count
        if live:
            waited_s, latency = self.monotonic() - since, self.latency_s
            latency.counts[bisect_left(_LATENCY_S, waited_s)] += live  # `observe`, once for each slice of a fan-out
            latency.total += waited_s * live
