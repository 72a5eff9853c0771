"""Vitals: everything that tells how a router is doing, in one place, for whoever shows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from actors.clock import Clock, Timer
from actors.directory import RoomDirectory
from actors.histogram import Histogram
from actors.ledger import Ledger
from actors.mailbox import Dispatcher
from actors.meters import Meters
from actors.supervisor import SupervisorStart

from .census import Census, CensusTaker
from .journals.kept import KeptLog
from .lag import LagWatch
from .recent import Recent
from .registry import Registry

if TYPE_CHECKING:
    from .cluster.peers import Peers

__all__ = ["Vitals", "Work"]

_TICK_S = 1.0


class Work:
    """What the actors of one class have done."""

    __slots__ = ("handled", "turns_s")

    def __init__(self, turns_s: Histogram) -> None:
        self.handled = 0
        """Messages."""
        self.turns_s = turns_s
        """How long their turns took."""


class Vitals:
    """What can be read of a router, now and over the last seconds. Used on the loop's thread.

    Args:
        meters: What was counted.
        registry: The connections.
        ledger: Who is in which room.
        directory: The rooms.
        root: The root of the tree of supervisors.
        journal: Where events are kept; None: in memory.
        lag: How late the loop comes.
        clock: For the timer.
        peers: The other routers; None: this one is alone.
    """

    def __init__(
        self,
        *,
        meters: Meters,
        registry: Registry,
        ledger: Ledger,
        directory: RoomDirectory,
        root: SupervisorStart,
        journal: KeptLog | None,
        lag: LagWatch,
        clock: Clock,
        peers: Peers | None = None,
    ) -> None:
        self.meters = meters
        self.registry = registry
        self.ledger = ledger
        self.directory = directory
        self.journal = journal
        self.lag = lag
        self.peers = peers
        self.recent_latency = Recent(meters.latency_s)
        self.recent_commits = Recent(journal.commits_s) if journal is not None else None
        self._census = CensusTaker(registry, ledger, root, clock)
        self._dispatcher = Dispatcher.current()
        self._clock = clock
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin to look back over the last seconds."""
        self._timer = self._clock.call_later(_TICK_S, self._tick)

    def stop(self) -> None:
        """Leave no timer behind."""
        if self._timer is not None:
            self._timer.cancel()

    async def census(self) -> Census:
        """Look at every connection and actor, or at a census that is fresh."""
        return await self._census.take()

    @property
    def work(self) -> dict[str, Work]:
        """What was done, by the class of the actors."""
        done: dict[str, Work] = {}
        for actor_class, turns in self._dispatcher.turns.items():
            work = done.get(actor_class.__name__)
            if work is None:
                work = done[actor_class.__name__] = Work(Histogram(turns.took_s.bounds))
            work.handled += turns.handled
            work.turns_s.add(turns.took_s)
        return done

    def _tick(self) -> None:
        for recent in self._recents():
            recent.tick()
        self.start()

    def _recents(self) -> Iterable[Recent]:
        yield self.recent_latency
        if self.recent_commits is not None:
            yield self.recent_commits
