"""Routers of one cluster in the test's own loop, on a real NATS server."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from server.app import Router
from server.settings import Settings

from ..conftest import SECRET
from ..nats_server import NatsServer
from .logs import until

__all__ = ["together"]


@asynccontextmanager
async def together(server: NatsServer, *nodes: str, **settings: Any) -> AsyncIterator[list[Router]]:
    """Run a router for each name, in a cluster of their own; at the end nobody may be left in a room."""
    common: dict[str, Any] = {
        "port": 0,
        "api_port": 0,
        "secret": SECRET,
        "drain_s": 1.0,
        "cluster": (server.url,),
        "cluster_name": f"c{secrets.token_hex(4)}",
        **settings,
    }
    await server.ready()
    routers: list[Router] = []
    try:
        for node in nodes:
            router = Router(Settings(**common, node=node))
            await router.start()
            routers.append(router)
        await until(lambda: all(_knows_all(router, nodes) for router in routers))
        yield routers
    finally:
        async with asyncio.timeout(20.0):
            await asyncio.gather(*(router.stop() for router in routers))
    for router in routers:
        assert not len(router.ledger), "subscriptions left in the ledger"
        assert not len(router.registry), "connections left in the registry"


def _knows_all(router: Router, nodes: tuple[str, ...]) -> bool:
    """Tell whether a router knows the others, and where they are."""
    assert router._cluster is not None
    found = router._cluster.peers.nodes
    return {beat.node for beat in found} == set(nodes) and all(beat.ws for beat in found)
