"""One router for the whole of a topic: whatever its clients do, it serves the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
import structlog

from server.app import Router

from ...conftest import running_router
from .echo import Echo


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def topic_router() -> AsyncIterator[Router]:
    """A router with `--dev` and compression, which logs no error."""
    with structlog.testing.capture_logs() as lines:
        async with running_router(dev=True, compression=("postroom.v1",)) as router:
            yield router
    assert [line for line in lines if line["log_level"] in ("warning", "error", "critical")] == []


@pytest_asyncio.fixture(loop_scope="module")
async def echo(topic_router: Router) -> AsyncIterator[Echo]:
    """A client of bytes that has said hello."""
    async with Echo(topic_router) as echo:
        yield echo
