"""NATS servers for the tests of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ..nats_server import NatsServer, nats_servers


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A NATS server."""
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        yield server


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[list[NatsServer]]:
    """Three NATS servers that make one cluster."""
    with nats_servers(tmp_path, 3) as servers:
        await asyncio.gather(*(server.ready() for server in servers))
        yield servers
