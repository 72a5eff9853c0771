"""Tasks: what goes on beside something else, and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["running", "while_alive", "within"]


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Do something beside the block, and no longer than the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def while_alive(work: Coroutine[Any, Any, None], tasks: list[asyncio.Task[None]]) -> None:
    """Do something, and fail as soon as one of the tasks fails."""
    async with running(work) as doing:
        waiting = {doing, *(task for task in tasks if not task.done())}
        while not doing.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        doing.result()


async def within(seconds: float, *works: Coroutine[Any, Any, Any]) -> bool:
    """Do several things at once; return whether they were done in time."""
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*works)
    except TimeoutError:
        return False
    return True
