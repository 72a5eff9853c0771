"""Clients that do no good: they reset their connection at any moment, or read nothing of what floods them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json

import aiohttp

from ..raw_client import RawClient, join_and_vanish
from .plan import SoakPlan

__all__ = ["nuisance"]

_FLOOD_BYTES = 50_000
_FLOOD_S = 0.04
_LOST = (OSError, EOFError, TimeoutError, AssertionError)
"""What a client meets whose router stands still or fails: it may get something else than it waits for."""


async def nuisance(plan: SoakPlan, url: str, api_url: str, number: int) -> None:
    """Do no good in round `number`, until cancelled."""
    room = f"flood:{number}"
    async with asyncio.TaskGroup() as group:
        group.create_task(_pass_by(plan, url, number))
        group.create_task(_flood(api_url, room))
        for _ in range(plan.stalled):
            group.create_task(_stall(url, room))


async def _pass_by(plan: SoakPlan, url: str, number: int) -> None:
    async with asyncio.TaskGroup() as group:
        for each in itertools.count(number * 100_000):
            group.create_task(_one(url, each))
            await asyncio.sleep(plan.passers_by_s)


async def _one(url: str, number: int) -> None:
    with contextlib.suppress(*_LOST):
        await join_and_vanish(url, number)


async def _stall(url: str, room: str) -> None:
    while True:
        with contextlib.suppress(*_LOST):
            async with RawClient(url, receive_bytes=16 * 1024) as client:
                await client.open()
                await client.command("subscribe", room=room)
                client.stop_reading()
                await asyncio.sleep(4.0)  # longer than the router puts up with it
                client.resume_reading()
                await client.ended()


async def _flood(api_url: str, room: str) -> None:
    """Publish what is not stored, and is too much for who does not read."""
    event = {"room": room, "kind": "soak.flood", "delivery": "ephemeral", "data": {"padding": "x" * _FLOOD_BYTES}}
    data = json.dumps(event).encode()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)) as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with session.post(f"{api_url}/v1/publish", data=data) as answer:
                    await answer.read()
            await asyncio.sleep(_FLOOD_S)
