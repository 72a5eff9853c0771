"""The script of a run on a cluster: start it, play a scene in which faults happen, have the checker judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from ...integration.network import Relay
from ...nats_server import nats_servers
from ..plan import Outcome, Plan, Tally
from ..scene import Casting, play, shortcomings
from ..service import SessionService
from ..verdict import check
from .cluster import Cluster
from .faults import cuts, inflict, router_kills, server_kills
from .logs import unexplained

__all__ = ["run_cluster"]

_EACH = 3
"""Routers, and NATS servers."""


async def run_cluster(plan: Plan, folder: Path) -> Outcome:
    """Torture a cluster.

    Args:
        plan: What to do.
        folder: Empty; gets `records`, and the logs and files of routers and NATS servers.

    Returns:
        What happened, and what the checker says of it.

    Raises:
        RunFailed: A router did not start, ended by itself, or lets nobody in; or NATS did not come back.
    """
    records = folder / "records"
    records.mkdir()
    tally = Tally()
    rooms = [f"{'session' if number % 2 else 'torture'}:{number}" for number in range(1, plan.rooms + 1)]
    with nats_servers(folder, _EACH) as servers:
        async with AsyncExitStack() as stack:
            lines = [[await stack.enter_async_context(Relay(each.url)) for each in servers] for _ in range(_EACH)]
            cluster = Cluster(folder, servers, lines, tally, plan.random("cluster"), history_events=plan.history)
            torture = _Torture(plan, cluster, rooms, tally)
            stack.push_async_callback(cluster.stop)
            await cluster.start()
            await play(plan, rooms, records, cluster, tally, torture, Casting(SessionService))
    verdict, exit_code = await check(records)
    logged = [line for router in cluster.routers for line in unexplained(router.log)]
    complaints = [*torture.complaints, *_complaints(plan, tally, verdict), *(f"in a router's log: {x}" for x in logged)]
    return Outcome(tally, verdict, exit_code, tuple(complaints))


class _Torture:
    """What is done to the cluster in this scene.

    Args:
        plan: What the run does.
        cluster: The cluster.
        rooms: Where events are published.
        tally: Where it is counted.
    """

    def __init__(self, plan: Plan, cluster: Cluster, rooms: Sequence[str], tally: Tally) -> None:
        self._plan = plan
        self._cluster = cluster
        self._rooms = rooms
        self._tally = tally
        self.complaints: list[str] = []

    async def trouble(self) -> None:
        """Kill routers and servers, as planned."""
        await inflict(self._plan, self._cluster, self._tally)

    async def quiet(self) -> None:
        """Kill all of NATS and a router once more: what comes now was read from the disk. All routers must agree."""
        for server in self._cluster.servers:
            server.kill()
        await self._cluster.routers[0].kill()
        for server in self._cluster.servers:
            server.start()
        await self._cluster.servers_ready()
        await self._cluster.routers[0].start(patient=True)
        if not await self._cluster.agree(self._rooms):
            self.complaints.append("the routers did not agree on how each room stands")

    async def gathered(self) -> None:
        """Nothing more."""


def _complaints(plan: Plan, tally: Tally, verdict: str) -> Iterator[str]:
    yield from shortcomings(tally, verdict)
    if tally.kills != router_kills(plan) + 1:
        yield f"routers were killed {tally.kills} times, and should have been {router_kills(plan) + 1} times"
    if tally.server_kills < server_kills(plan):
        yield f"NATS servers were killed {tally.server_kills} times, and should have been {server_kills(plan)} times"
    if tally.cuts != cuts(plan):
        yield f"routers were cut off from NATS {tally.cuts} times, and should have been {cuts(plan)} times"
    if server_kills(plan) and not tally.leader_kills:
        yield "no server was killed while it led the stream"
