"""One router for the whole of a topic: whatever its clients do, it serves the next one."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
import structlog

from server.app import Router

from ...conftest import running_router
from .echo import Echo


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def topic_router() -> AsyncIterator[Router]:
    """A router with `--dev` and compression, which logs no error and in which nothing fails unseen."""
    unseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unseen.append(context))
    with structlog.testing.capture_logs() as lines:
        async with running_router(dev=True, compression=("postroom.v1",)) as router:
            yield router
    gc.collect()  # a task whose failure nobody took says so when it is collected
    assert unseen == []
    assert [line for line in lines if line["log_level"] in ("warning", "error", "critical")] == []


@pytest_asyncio.fixture(loop_scope="module")
async def echo(topic_router: Router) -> AsyncIterator[Echo]:
    """A client of bytes that has said hello."""
    async with Echo(topic_router) as echo:
        yield echo
