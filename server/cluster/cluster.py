"""Cluster: what a router has of the other routers, in one place. Started with its link; stopped before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable

import structlog

from actors.clock import Clock
from actors.errors import PostroomError
from actors.ledger import Ledger
from actors.report import Report
from actors.times import seconds_text
from server.http.calls import Call, Forward
from server.http.probes import NodeLine
from server.http.supervisor import ClusterNode
from server.journals.jetstream.log import JetStreamLog

from .elsewhere import ClusterElsewhere
from .forwarding import Forwarding
from .link import Link
from .members import NodeFacts
from .peers import Peers
from .watch import Watch

__all__ = ["Cluster"]

log = structlog.get_logger("postroom.cluster")


class Cluster:
    """The cluster as one router sees it.

    Args:
        link: The connection to NATS.
        events: The event log that it shares.
        name: The cluster's name.
        node: This router's name.
        clock: For the beats.
        report: Is told who comes and goes.
        ledger: Who is in the rooms here, for the others.
    """

    def __init__(
        self,
        link: Link,
        events: JetStreamLog,
        *,
        name: str,
        node: str,
        clock: Clock,
        report: Report,
        ledger: Ledger,
    ) -> None:
        self.peers = Peers(link, cluster=name, node=node, clock=clock, report=report)
        """The other routers."""
        self.elsewhere = ClusterElsewhere(self.peers, link, name, ledger)
        """The same rooms there."""
        self._events = events
        self._watch = Watch(self.peers, events)

    async def start(self) -> None:
        """Be there; raises as `Peers.start` does."""
        await self.peers.start()

    def watch(self, open: Callable[[str], object]) -> None:
        """Have rooms opened in which something waits for its time, one node each of them."""
        self._watch.start(open)

    def stop(self) -> None:
        """Say goodbye; does no harm when it was not started, or twice."""
        self._watch.stop()
        self.elsewhere.stop()
        self.peers.stop()

    def describe(self, facts: Callable[[], NodeFacts]) -> None:
        """Let the others know from now on how this router is."""
        self.peers.describe(facts)

    def forward(self, calls: Iterable[Call]) -> Forward:
        """Return what answers calls that concern the whole cluster, and answer such calls of the others."""
        return Forwarding(self.peers, calls).answer

    async def room_names(self) -> Collection[str] | None:
        """Return the names of all rooms that were used; None: NATS does not say now."""
        try:
            return await self._events.names()
        except PostroomError as error:
            log.warning("room_names_unknown", reason=str(error))
            return None

    def lines(self) -> list[NodeLine]:
        """Return how each router is, this one first, for everybody."""
        now = time.time()
        return [
            NodeLine(
                beat.node,
                beat.ready,
                beat.reason,
                beat.connections,
                beat.rooms,
                round(max(0.0, now - beat.started_at), 1),
                beat.version,
            )
            for beat in self.peers.nodes
        ]

    def nodes(self) -> list[ClusterNode]:
        """Return how each router is, this one first, for operators."""
        return [
            ClusterNode(
                beat.node,
                beat.version,
                seconds_text(beat.started_at),
                beat.ready,
                beat.reason,
                beat.connections,
                beat.rooms,
                beat.ws,
                beat.api,
            )
            for beat in self.peers.nodes
        ]
