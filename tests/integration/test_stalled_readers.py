"""Some clients stop reading in a crowd: each costs its bound and is cut, and the others notice nothing.

`POSTROOM_FULL=1` runs it at its full size: 10 of 1,000.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from benchmarks.generator import allow_sockets
from postroom_client.testing._control import Control

from ..conftest import RouterProcess
from ..native_client import NativeClient
from ..raw_client import small_socket
from .at_size import FULL, MIB, log_of, report, rss, size
from .crowd import crowd
from .services import HttpService, wait_until

pytestmark = pytest.mark.alone

STALLED = 10
OUTBOX_BYTES = MIB
EVENTS_PER_S = 50
PADDING = "x" * 8_000


async def test_ten_stalled_readers_cost_their_bound_are_cut_and_slow_nobody(
    start_router: Callable[..., RouterProcess], tmp_path: Path
) -> None:
    """Each has 1 MiB waiting at most and is gone soon after `stall_s`; the others get everything, as soon as before."""
    clients, stall_s, events = size(60, 1_000), size(1, 5), size(150, 600)
    allow_sockets(clients)
    path = str(tmp_path / "control")
    process = start_router(
        "--dev",
        "--plugin",
        "tests.integration.router_plugins:control",
        environment={"CONTROL_SOCKET": path, "POSTROOM_STALL_S": str(stall_s)},
    )
    inside = Control(path)
    async with crowd(process.ws_url, clients - STALLED, 2 * events) as followers, AsyncExitStack() as stack:
        watchers = [await stack.enter_async_context(_watcher(process.ws_url)) for _ in range(5)]
        before = await _publish(process, events, watchers)
        memory = rss(process.pid)

        stalled = [await stack.enter_async_context(_stalled(process.ws_url)) for _ in range(STALLED)]
        names = {client.welcome["connection"] for client in stalled}
        most: dict[str, int] = dict.fromkeys(names, 0)

        async def look() -> None:
            while True:
                for name, waiting in (await inside.do("waiting")).items():
                    if name in names:
                        most[name] = max(most[name], waiting)
                await asyncio.sleep(0.05)

        looking = asyncio.create_task(look())
        for client in stalled:
            client.socket.transport.pause_reading()
        began = time.time()
        after = await _publish(process, events, watchers)
        await wait_until(lambda: process.log.count('"stalled": true') == STALLED, "all stalled ones are cut")
        looking.cancel()
        await wait_until(lambda: min(each.position for each in followers) == 2 * events, "the others have everything")
        for follower in followers:
            assert follower.wrong is None, follower.wrong
            assert not follower.lost.done()

    cut = [line for line in log_of(process) if line["event"] == "connection_closed" and line["stalled"]]
    assert {line["connection"] for line in cut} == names
    late = max(_seconds(line["time"]) for line in cut) - began
    assert late < stall_s + 3, late
    assert max(most.values()) <= OUTBOX_BYTES + 64 * 1024, most
    if FULL:
        assert after[1] < 1.5 * before[1] + 0.010, (before, after)
    report(
        "stalled readers:",
        clients=clients,
        stalled=STALLED,
        cut_after_s=round(late, 2),
        most_waiting_kib=max(most.values()) // 1024,
        p50_ms=tuple(round(1000 * each[0], 1) for each in (before, after)),
        p99_ms=tuple(round(1000 * each[1], 1) for each in (before, after)),
        rss_grown_mib=round((rss(process.pid) - memory) / MIB, 1),
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@asynccontextmanager
async def _watcher(url: str) -> AsyncIterator[list[float]]:
    """Yield a list that each event's delay is put into, in seconds."""
    delays: list[float] = []

    async def watch(client: NativeClient) -> None:
        while True:
            event = await client.next("event")
            delays.append(time.monotonic() - event["data"]["at"])

    async with NativeClient(url) as client:
        await client.subscribe("doc:1")
        watching = asyncio.create_task(watch(client))
        try:
            yield delays
        finally:
            watching.cancel()
            await asyncio.wait((watching,))


@asynccontextmanager
async def _stalled(url: str) -> AsyncIterator[NativeClient]:
    """Yield a subscriber into whose socket little fits; at the end it is dropped without ceremony."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    client = NativeClient(url, sock=await small_socket(parts.hostname, parts.port, 16 * 1024))
    async with client:
        await client.subscribe("doc:1")
        try:
            yield client
        finally:
            client.cut()


async def _publish(process: RouterProcess, count: int, watchers: list[list[float]]) -> tuple[float, float]:
    """Publish steadily; return the median of the delays and the 99th of a hundred, in seconds."""
    for delays in watchers:
        delays.clear()
    began = time.monotonic()
    async with aiohttp.ClientSession() as session:
        service = HttpService(session, process.api_url)
        for number in range(count):
            data: dict[str, Any] = {"at": time.monotonic(), "x": PADDING}
            await service.publish({"room": "doc:1", "kind": "app.step", "data": data})
            await asyncio.sleep(max(0.0, began + (number + 1) / EVENTS_PER_S - time.monotonic()))
    await wait_until(lambda: min(map(len, watchers)) == count, "every watcher has seen every event")
    delays = sorted(delay for each in watchers for delay in each)
    return delays[len(delays) // 2], delays[len(delays) * 99 // 100]
