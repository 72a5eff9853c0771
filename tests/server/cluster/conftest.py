"""A NATS server for the tests of this folder, and routers' sides of the cluster on it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from server.clock import SystemClock
from server.cluster.client import Access
from server.cluster.link import Link
from server.cluster.peers import Peers

from ...nats_server import NatsServer, nats_servers

__all__ = ["Side"]


class Side:
    """One node: its link and its view of the others.

    Args:
        nats: The server.
        node: Its name.
        cluster: That of the cluster.
    """

    def __init__(self, nats: NatsServer, node: str, cluster: str = "test") -> None:
        self.link = Link(Access((nats.url,)), node)
        self.told: list[tuple[str, str, object]] = []
        """Entries for the supervisor journal: kind, whom, and the reason."""
        self._told = asyncio.Event()
        self.peers = Peers(
            self.link,
            cluster=cluster,
            node=node,
            clock=SystemClock(asyncio.get_running_loop()),
            report=self._report,
        )

    def _report(self, kind: str, /, **fields: object) -> None:
        self.told.append((kind, str(fields["peer"]), fields.get("reason")))
        self._told.set()

    async def start(self) -> None:
        """Connect, and be there."""
        await self.link.start()
        await self.peers.start()

    async def stop(self) -> None:
        """Say goodbye, and go."""
        self.peers.stop()
        await self.link.stop()

    async def die(self) -> None:
        """Go without a word."""
        self.peers._listenings = []  # else it would say goodbye
        await self.stop()

    async def until(self, kind: str, whom: str, within_s: float = 10.0) -> object:
        """Wait until it has told of a node; return the reason."""
        async with asyncio.timeout(within_s):
            while True:
                for told in self.told:
                    if told[:2] == (kind, whom):
                        return told[2]
                self._told.clear()
                await self._told.wait()

    @property
    def names(self) -> list[str]:
        """The nodes that it knows."""
        return [beat.node for beat in self.peers.nodes]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One NATS server for all tests of a file."""
    with nats_servers(tmp_path_factory.mktemp("nats")) as (server,):
        yield server


@pytest.fixture
async def server(servers: NatsServer) -> NatsServer:
    """The NATS server, which can be used."""
    await servers.ready()
    return servers


@pytest.fixture
async def join(server: NatsServer) -> AsyncIterator[Callable[[str], Awaitable[Side]]]:
    """Have a node join a cluster of the test's own: `await join("a")`; all leave at the end."""
    sides: list[Side] = []
    cluster = secrets.token_hex(4)

    async def join(node: str) -> Side:
        side = Side(server, node, cluster)
        sides.append(side)
        await side.start()
        return side

    yield join
    await asyncio.gather(*(side.stop() for side in sides))
