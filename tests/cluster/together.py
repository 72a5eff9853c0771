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
        yield routers
    finally:
        async with asyncio.timeout(20.0):
            await asyncio.gather(*(router.stop() for router in routers))
    for router in routers:
        assert not len(router.ledger), "subscriptions left in the ledger"
        assert not len(router.registry), "connections left in the registry"
