"""Faults: the router is killed and started again, and the disk under its journal is filled and freed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from .disk import SmallDisk
from .plan import Plan, Tally
from .router import RouterProcess
from .tasks import running

__all__ = ["RECOVER_S", "UNAVAILABLE", "inflict"]

RECOVER_S = 30.0
"""How long the router may take for what it should do by itself, in seconds."""
UNAVAILABLE = "journal_unavailable"
"""The code with which events are refused while the disk is full."""
_AT_BIRTH = 0.15
"""How often a router is killed again before it is ready."""


async def inflict(plan: Plan, router: RouterProcess, disk: SmallDisk | None, tally: Tally) -> None:
    """Do everything that the plan wants done to the router, one thing after another.

    Raises:
        RunFailed: The router did not come back, or had ended by itself.
    """
    source = plan.random("faults")
    pause_s = plan.seconds / (plan.kills + (disk is not None) + 1)
    for number in range(plan.kills + 1):
        if disk is not None and number == (plan.kills + 1) // 2:
            await asyncio.sleep(source.uniform(0.3, 1.0) * pause_s)
            await _fill(plan, router, disk, tally)
        if number < plan.kills:
            await asyncio.sleep(source.uniform(0.3, 1.0) * pause_s)
            await router.kill()
            if source.random() < _AT_BIRTH:
                router.spawn()
                await asyncio.sleep(source.uniform(0.0, 0.5))
                await router.kill()
            await router.start()


async def _fill(plan: Plan, router: RouterProcess, disk: SmallDisk, tally: Tally) -> None:
    """Fill the disk until events are refused, and a while longer; with kills, kill the router on the full disk."""
    began = time.monotonic()
    before = tally.refused.get(UNAVAILABLE, 0)
    async with AsyncExitStack() as stack:
        stack.callback(disk.free)
        await _until(lambda: tally.refused.get(UNAVAILABLE, 0) > before, disk.fill)
        await _stay_full(plan.full_s, disk)
        starting = None
        if plan.kills:
            await router.kill()
            starting = await stack.enter_async_context(running(router.start(patient=True)))
            await _stay_full(plan.full_s, disk)
        disk.free()
        freed = time.monotonic()
        if starting is not None:
            await starting
    tally.full_s = freed - began
    taken = tally.acknowledged - tally.duplicates
    if await _until(lambda: tally.acknowledged - tally.duplicates > taken):
        tally.recovered_s = time.monotonic() - freed


async def _stay_full(for_s: float, disk: SmallDisk) -> None:
    until = time.monotonic() + for_s
    await _until(lambda: time.monotonic() > until, disk.fill)


async def _until(condition: Callable[[], bool], meanwhile: Callable[[], None] | None = None) -> bool:
    """Wait for what no event tells of; return whether it came within 30 s."""
    deadline = time.monotonic() + RECOVER_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        if meanwhile is not None:
            meanwhile()
        await asyncio.sleep(0.02)
    return True
