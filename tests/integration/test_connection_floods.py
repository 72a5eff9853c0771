"""Sockets by the thousand that want nothing: who wants something gets in, and the files do not run out.

`POSTROOM_FULL=1` runs them at their full size.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import aiohttp

from benchmarks.generator import allow_sockets

from ..conftest import RouterProcess, running_router
from ..native_client import WAIT_S, NativeClient
from ..raw_client import CLOSE, RawClient
from .at_size import MIB, cpu_s, log_of, report, rss, size
from .services import HttpService, wait_until

HALF = b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\n"
FILES = 300

Start = Callable[..., RouterProcess]


async def test_a_flood_of_half_handshakes_keeps_nobody_out(start_router: Start) -> None:
    """The oldest that are waited for give way: a proper client gets in at once, and memory is bounded."""
    count = size(2_000, 9_000)
    allow_sockets(count)
    process = start_router("--dev")
    before = rss(process.pid)
    async with AsyncExitStack() as stack, NativeClient(process.ws_url) as other:
        began = time.monotonic()
        for number in range(count):
            half = await stack.enter_async_context(RawClient(process.ws_url))
            with contextlib.suppress(ConnectionError):  # it may have given way by now
                await half.send(HALF if number % 3 else b"")
        flooded = time.monotonic()
        waits = []
        for _ in range(20):
            began_to_knock = time.monotonic()
            async with NativeClient(process.ws_url):
                waits.append(time.monotonic() - began_to_knock)
        assert (await other.ask("ping"))["type"] == "pong"
    grown = rss(process.pid) - before
    assert grown < 48 * MIB, f"{grown / MIB:.1f} MiB"
    assert min(waits) < 0.05, waits
    report(
        "half handshakes:",
        count=count,
        seconds=round(flooded - began, 2),
        proper_client_ms=round(1000 * sorted(waits)[10], 1),
        slowest_ms=round(1000 * max(waits), 1),
        rss_grown_mib=round(grown / MIB, 1),
    )


async def test_half_handshakes_of_one_address_keep_out_that_address_alone(token: Callable[..., str]) -> None:
    """With a cap for each address it holds for them too; what is over it is told so and hung up on."""
    async with running_router(max_connections_per_address=3) as router, AsyncExitStack() as stack:
        url, ann = router.addresses.ws_url, token("ann")
        halves = [await stack.enter_async_context(RawClient(url)) for _ in range(3)]
        for half in halves:
            await half.send(HALF)
        for _ in range(5):
            async with RawClient(url) as another:
                status, headers, _ = await another.response()
                assert (status, headers["retry-after"]) == (503, "1")
                assert await another.ended() == b""
        async with NativeClient(url, ann, local_addr=("127.0.0.2", 0)) as elsewhere:
            assert elsewhere.welcome["user"] == "ann"
        halves[0].cut()
        async with asyncio.timeout(WAIT_S):
            while await _is_refused(url):
                pass
        async with NativeClient(url, ann) as here:
            assert here.welcome["user"] == "ann"


async def _is_refused(url: str) -> bool:
    async with RawClient(url) as client:
        return (await client.upgrade())[0] == 503


async def test_thousands_that_say_nothing_after_their_upgrade_are_gone_in_time(start_router: Start) -> None:
    """Each within a second of its `hello_timeout_s`, with 4408; who says hello stays."""
    count, hello_s = size(300, 5_000), size(1, 10)
    allow_sockets(count)
    process = start_router(
        "--dev", environment={"POSTROOM_HELLO_TIMEOUT_S": str(hello_s), "POSTROOM_LOG_LEVEL": "debug"}
    )
    late: list[float] = []

    async def be_silent() -> None:
        async with RawClient(process.ws_url) as client:
            await client.open(hello=False)
            began = time.monotonic()
            await asyncio.sleep(hello_s - 0.5)  # a reader gives up after 10 s
            assert await client.closed() == 4408
            late.append(time.monotonic() - began - hello_s)

    async with NativeClient(process.ws_url) as other:
        silent = []
        for start in range(0, count, 100):
            silent += [asyncio.create_task(be_silent()) for _ in range(start, min(start + 100, count))]
            await asyncio.sleep(0)
        async with asyncio.timeout(hello_s + 2 * WAIT_S):
            await asyncio.gather(*silent)
        assert (await other.ask("ping"))["type"] == "pong"
        await wait_until(lambda: process.log.count('"connection_closed"') == count, "all are gone")
    assert max(late) < 1.0 if count < 1_000 else max(late) < 3.0, max(late)
    report("silent after the upgrade:", count=count, hello_s=hello_s, gone_after_s=round(hello_s + max(late), 2))


# --- descriptors


async def test_at_the_limit_of_open_files_clients_are_refused_politely_and_let_in_again(start_router: Start) -> None:
    """4429 or 503, not silence; who is in goes on, events are kept, and nothing burns a core or fills the log."""
    process = start_router("--dev", files=FILES)
    (capped,) = [line for line in log_of(process) if line["event"] == "connections_capped"]
    most = capped["possible"]
    assert most < FILES
    async with AsyncExitStack() as stack:
        inside = [await stack.enter_async_context(NativeClient(process.ws_url)) for _ in range(most)]
        outcomes = [await _knock(process.ws_url) for _ in range(300)]
        assert set(outcomes) == {4429}
        holding = await stack.enter_async_context(AsyncExitStack())
        for _ in range(500):
            await holding.enter_async_context(RawClient(process.ws_url))
        assert await _knock(process.ws_url) in (4429, 503)
        began, used = time.monotonic(), cpu_s(process.pid)
        await _publishes(process, inside[0])
        assert (await inside[-1].ask("ping"))["type"] == "pong"
        await asyncio.sleep(1.0)
        share = (cpu_s(process.pid) - used) / (time.monotonic() - began)
        assert share < 0.4, f"{share:.0%} of a core with nothing to do"
    async with asyncio.timeout(WAIT_S):
        while await _knock(process.ws_url) != 101:
            pass
    async with NativeClient(process.ws_url) as back:
        await _publishes(process, back)
    log = log_of(process)
    assert [line for line in log if line["level"] in ("error", "critical")] == []
    assert len(log) < 3 * most + 400
    report("300 files:", clients=most, refused=len(outcomes), log_lines=len(log), core=f"{share:.1%}")


async def test_files_that_others_hold_keep_no_client_out(start_router: Start) -> None:
    """Half handshakes, and connections to the HTTP API that ask for nothing: each kind has its share."""
    process = start_router("--dev", files=FILES)
    for url in (process.ws_url, process.api_url):
        async with AsyncExitStack() as holding:
            for _ in range(500):
                half = await holding.enter_async_context(RawClient(url))
                with contextlib.suppress(ConnectionError):  # it may have been turned away by now
                    await half.send(HALF)
            async with NativeClient(process.ws_url) as client:
                assert (await client.ask("publish", room="doc:1", kind="a.b", data={}))["type"] == "published"
    async with NativeClient(process.ws_url) as client, asyncio.timeout(WAIT_S):
        while not await _is_answered(process.api_url):
            pass
        await _publishes(process, client)
    assert [line for line in log_of(process) if line["level"] in ("error", "critical")] == []


async def _knock(url: str) -> int | None:
    """Ask to be let in; return the HTTP status, or the code of the close that follows at once."""
    async with RawClient(url) as client:
        status, _, _ = await client.upgrade()
        if status != 101:
            return status
        await client.command("hello", id=1)
        opcode, payload = await client.read()
        return int.from_bytes(payload[:2], "big") if opcode == CLOSE else status


async def _is_answered(url: str) -> bool:
    async with RawClient(url) as client:
        return (await client.request("Connection: close", path="/healthz"))[0] == 200


async def _publishes(process: RouterProcess, client: NativeClient) -> None:
    async with aiohttp.ClientSession() as session:
        await HttpService(session, process.api_url).publish({"room": "doc:1", "kind": "a.b", "data": {}})
    assert (await client.ask("publish", room="doc:1", kind="a.b", data={}))["type"] == "published"
