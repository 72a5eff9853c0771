"""Faults: routers and NATS servers are killed and started again, or stand still, and the lines between them are cut.

The three go on side by side.
"""

from __future__ import annotations

import asyncio

from ...nats_server import NatsServer
from ..plan import Plan, Tally
from ..tasks import running, while_alive
from .cluster import Cluster, leader

__all__ = ["cuts", "inflict", "router_kills", "server_kills"]

_AWAY_S = 2.0
"""How long somebody who was killed stays away, at most."""
_LED_S = 2.0
"""How long the streams have leaders between two kills of servers, at least."""
_STILL_S = 4.0
"""How long somebody stands still, at most: longer than it takes to be given up."""
_STILL = 0.3
"""How often somebody stands still after somebody was killed."""
_BOTH_WAYS = 0.5
"""How often a line carries nothing in either way, and not only nothing to the router."""
_DRAINED = 0.3
"""How often a router is stopped in good order and started again, as for a new version of it."""
_MAJORITY = 0.2
"""How often two NATS servers are killed at once, so that nothing can be kept for a while."""


async def inflict(plan: Plan, cluster: Cluster, tally: Tally) -> None:
    """Do everything that the plan wants done, to routers and NATS servers side by side.

    Raises:
        RunFailed: Somebody did not come back, or a router had ended by itself.
    """
    async with running(_servers(plan, cluster, tally)) as servers, running(_lines(plan, cluster, tally)) as lines:
        await while_alive(_routers(plan, cluster, tally), [servers, lines])
        await asyncio.gather(servers, lines)


async def _routers(plan: Plan, cluster: Cluster, tally: Tally) -> None:
    source = plan.random("routers")
    kills = router_kills(plan)
    pause_s = plan.seconds / (kills + 1)
    for _ in range(kills):
        await asyncio.sleep(source.uniform(0.3, 1.0) * pause_s)
        router = source.choice(cluster.routers)
        await router.kill()
        await asyncio.sleep(source.uniform(0.0, _AWAY_S))
        await router.start(patient=True)
        if source.random() < _STILL:
            tally.pauses += 1
            await source.choice(cluster.routers).pause(source.uniform(0.5, _STILL_S))
        if source.random() < _DRAINED:
            tally.rolls += 1
            router = source.choice(cluster.routers)
            await router.drain()
            await router.start(patient=True)


async def _servers(plan: Plan, cluster: Cluster, tally: Tally) -> None:
    source = plan.random("servers")
    kills = server_kills(plan)
    pause_s = plan.seconds / (kills + 1)
    for number in range(kills):
        await asyncio.sleep(max(_LED_S, source.uniform(0.3, 1.0) * pause_s))
        victims = source.sample(cluster.servers, 2 if source.random() < _MAJORITY else 1)
        leading = await leader(cluster.servers)
        if number % 2 == 0 and leading is not None and leading not in victims:
            victims[0] = leading
        tally.leader_kills += leading in victims
        tally.majority_kills += len(victims) > 1
        for server in victims:
            server.kill()
            tally.server_kills += 1
        await asyncio.sleep(source.uniform(0.0, _AWAY_S))
        for server in victims:
            server.start()
        await cluster.servers_ready()
        if source.random() < _STILL:
            tally.freezes += 1
            await _stand_still(source.choice(cluster.servers), source.uniform(0.5, _STILL_S))


async def _lines(plan: Plan, cluster: Cluster, tally: Tally) -> None:
    source = plan.random("lines")
    pause_s = plan.seconds / (cuts(plan) + 1)
    for _ in range(cuts(plan)):
        await asyncio.sleep(source.uniform(0.3, 1.0) * pause_s)
        lines = source.choice(cluster.lines)
        both = source.random() < _BOTH_WAYS
        tally.cuts += 1
        for line in lines:
            line.stop(both=both)
        await asyncio.sleep(source.uniform(0.5, _STILL_S))
        for line in lines:
            line.go_on()


async def _stand_still(server: NatsServer, seconds: float) -> None:
    server.freeze()
    try:
        await asyncio.sleep(seconds)
    finally:
        server.thaw()


def router_kills(plan: Plan) -> int:
    """Return how many of the kills are of routers."""
    return plan.kills - server_kills(plan)


def server_kills(plan: Plan) -> int:
    """Return how often NATS servers are killed, one or two at a time."""
    return plan.kills // 2


def cuts(plan: Plan) -> int:
    """Return how often a router is cut off from all of NATS, beside the kills."""
    return plan.kills // 3
