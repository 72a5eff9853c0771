"""Cluster: NATS servers and routers on them as child processes; to who plays they are one router."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import nats
import nats.errors
from websockets.exceptions import WebSocketException

from ...integration.network import Relay
from ...nats_server import NatsServer
from ..plan import Tally
from ..router import KEEP_ALL, RouterProcess, RunFailed
from ..subscriber import states

__all__ = ["Cluster", "leader", "router_on"]

_EVENTS = "postroom.room.>"
_AGREE_S = 60.0
_READY_S = 60.0
_SETTINGS: Mapping[str, object] = {**KEEP_ALL, "room_idle_s": 1, "drain_s": 1}
"""Rooms come and go where nobody follows them, and who drains is soon gone."""


def router_on(
    urls: Sequence[str], folder: Path, node: str, tally: Tally, *, replicas: int = 1, **settings: object
) -> RouterProcess:
    """Make a router of a cluster.

    Args:
        urls: Of the NATS servers.
        folder: Gets a folder of the node's name.
        node: Its name.
        tally: Where its kills and starts are counted.
        replicas: On how many servers events are kept.
        settings: More of its settings.
    """
    place = folder / node
    place.mkdir(parents=True)
    ours = {"cluster": list(urls), "node": node, "cluster_replicas": replicas}
    return RouterProcess(place, None, tally, settings={**_SETTINGS, **ours, **settings})


class Cluster:
    """Three routers on three NATS servers, or other numbers of them.

    Args:
        folder: Where their logs go.
        servers: The NATS servers; they run.
        lines: For each router its lines to them.
        tally: Where kills and starts are counted.
        source: Decides who comes to which router.
        settings: More of the routers' settings.
    """

    def __init__(
        self,
        folder: Path,
        servers: Sequence[NatsServer],
        lines: Sequence[Sequence[Relay]],
        tally: Tally,
        source: random.Random,
        **settings: object,
    ) -> None:
        self.servers = servers
        self.lines = lines
        self.routers = [
            router_on([line.url for line in each], folder, f"node-{n}", tally, replicas=len(servers), **settings)
            for n, each in enumerate(lines, 1)
        ]
        self._source = source
        self._started = False

    @property
    def url(self) -> str:
        """Where the next client connects to: any of the routers, whether it runs or not."""
        return self._source.choice(self.routers).url

    @property
    def api_url(self) -> str:
        """Where the next call goes to."""
        return self._source.choice(self.routers).api_url

    def last_lines(self) -> str:
        """Return the ends of the routers' logs."""
        return "\n".join(router.last_lines() for router in self.routers)

    async def start(self) -> None:
        """Wait for the NATS servers, and start the routers.

        Raises:
            RunFailed: A router was not ready within 30 s.
        """
        await self.servers_ready()
        await asyncio.gather(*(router.start(patient=True) for router in self.routers))
        self._started = True

    async def servers_ready(self) -> None:
        """Wait until every NATS server can be used, and the stream of events has a leader once it is there.

        Raises:
            RunFailed: That took more than 30 s.
        """
        try:
            async with asyncio.timeout(_READY_S):
                await asyncio.gather(*(server.ready() for server in self.servers))
                while self._started and await leader(self.servers) is None:  # noqa: ASYNC110  # another process's event
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise RunFailed(f"NATS was not ready within {_READY_S:g} s\n{self.servers[0].log[-2000:]}") from None

    async def agree(self, rooms: Iterable[str]) -> bool:
        """Wait until all routers say that the rooms stand alike in every particular; return whether they do in 60 s."""
        deadline = time.monotonic() + _AGREE_S
        rooms = list(rooms)
        while True:
            said = await asyncio.gather(*(_states(router, rooms) for router in self.routers))
            if said[0] is not None and all(other == said[0] for other in said):
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """End the routers as an operator does."""
        await asyncio.gather(*(router.stop() for router in self.routers))


async def _states(router: RouterProcess, rooms: list[str]) -> dict[str, dict[str, Any]] | None:
    with contextlib.suppress(ValueError, WebSocketException, OSError, TimeoutError, msgspec.DecodeError):
        async with asyncio.timeout(10.0):
            return await states(router.url, rooms)
    return None


async def leader(servers: Sequence[NatsServer]) -> NatsServer | None:
    """Find out which server leads the stream of events; None: nobody says so now, or a stream has no leader."""
    for server in servers:
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(2.0):
                name = await _leader(server)
            found = [each for each in servers if each.name == name]
            if found:
                return found[0]
    return None


async def _leader(server: NatsServer) -> str | None:
    client = await nats.connect(server.url, allow_reconnect=False, max_reconnect_attempts=1, error_cb=_quiet)
    try:
        answer = json.loads((await client.request("$JS.API.STREAM.LIST", b"", timeout=1.0)).data)
    finally:
        await client.close()
    leaders: dict[str, str | None] = {
        stream["config"]["subjects"][0]: stream.get("cluster", {}).get("leader") for stream in answer["streams"] or ()
    }
    return leaders.get(_EVENTS) if all(leaders.values()) else None


async def _quiet(_error: Exception) -> None:
    """It is not there now."""
