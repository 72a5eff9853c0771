"""What the tests of a cluster share: nodes that are started, asked whether they are ready, and published to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from ..native_client import WAIT_S, Message, NativeClient
from ..torture.cluster.cluster import router_on
from ..torture.plan import Tally
from ..torture.router import RouterProcess

__all__ = ["event", "logged", "nodes", "publish", "publish_until_taken", "readiness", "same_everywhere", "until_ready"]

_AGAIN_S = 0.05


@asynccontextmanager
async def nodes(
    folder: Path, *urls: tuple[str, ...], replicas: int = 1, **settings: object
) -> AsyncIterator[list[RouterProcess]]:
    """Run routers, one for each tuple of NATS addresses; each must end in good order if it still runs at the end."""
    routers = [
        router_on(each, folder, f"node-{number}", Tally(), replicas=replicas, **settings)
        for number, each in enumerate(urls, 1)
    ]
    async with AsyncExitStack() as stack:
        for router in routers:
            stack.push_async_callback(router.stop)
        await asyncio.gather(*(router.start() for router in routers))
        for router in routers:
            await until_ready(router)
        yield routers


async def readiness(router: RouterProcess) -> tuple[int, Message]:
    """Ask a router whether it is ready; return the status and what it says."""
    async with (
        asyncio.timeout(WAIT_S),
        aiohttp.ClientSession() as session,
        session.get(f"{router.api_url}/readyz") as response,
    ):
        return response.status, json.loads(await response.read())


async def until_ready(
    router: RouterProcess, *, ready: bool = True, why: str = "", within_s: float = 4 * WAIT_S
) -> Message:
    """Wait until a router says that it is ready, or that it is not, and `why`; return what it says."""
    deadline = time.monotonic() + within_s
    while True:
        status, said = await readiness(router)
        assert (status == 200) == said["ready"], said
        if said["ready"] == ready and why in (said["reason"] or ""):
            return said
        assert time.monotonic() < deadline, f"ready is not {ready} within {within_s:g} s: {said}"
        await asyncio.sleep(_AGAIN_S)


def event(room: str, n: int) -> Message:
    """Return what is published as event `n`, which has an id of its own."""
    return {"room": room, "kind": "app.step", "data": {"n": n}, "event_id": f"{room}.{n}"}


async def publish(client: NativeClient, room: str, n: int) -> Message:
    """Publish event `n`; return the answer, which may be an error."""
    return await client.ask("publish", **event(room, n))


async def publish_until_taken(client: NativeClient, room: str, *ns: int, within_s: float = 60.0) -> list[Message]:
    """Publish events one after another, each again while that is refused for the moment; return the receipts."""
    receipts = []
    async with asyncio.timeout(within_s):
        for n in ns:
            while (answer := await publish(client, room, n))["type"] == "error":
                assert answer["temporary"], answer
                await asyncio.sleep(_AGAIN_S)
            receipts.append(answer)
    return receipts


async def same_everywhere(count: int, room: str, clients: list[NativeClient]) -> list[Message]:
    """Wait until each client has so many events of a room; return them: everybody must have the same ones."""
    first, *others = await asyncio.gather(*(client.events(count, room) for client in clients))
    for other in others:
        assert _places(other) == _places(first)
    return first


def _places(events: list[Message]) -> list[tuple[Any, ...]]:
    return [(event["offset"], event["prev"], event["id"]) for event in events]


def logged(router: RouterProcess, event: str) -> list[Message]:
    """Return what a router has logged under a name."""
    lines = [json.loads(line) for line in router.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]
