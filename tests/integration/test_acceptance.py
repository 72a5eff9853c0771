"""The promises at size, against a real router process. `POSTROOM_FULL=1` runs them at their full size."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import aiohttp

from postroom_client.testing._control import Control

from ..conftest import RouterProcess
from ..native_client import WAIT_S, NativeClient
from ..raw_client import join_and_vanish
from .at_size import MIB, log_of, report, rss, size
from .crowd import Follower, crowd
from .services import HttpService, wait_until

PLUGIN = ("--plugin", "tests.integration.router_plugins:control")
BATCH = 200


async def publish(
    process: RouterProcess,
    followers: list[Follower],
    count: int,
    *,
    first: int = 0,
    padding: str = "",
    per_s: float = 0.0,
    each_batch: Callable[[], None] = lambda: None,
) -> None:
    """Publish `count` events to doc:1, never more than 2,000 ahead of the slowest follower.

    `per_s` spreads them over time; 0: as fast as they are taken.
    """
    started = time.monotonic()
    async with aiohttp.ClientSession() as session:
        service = HttpService(session, process.api_url)
        for start in range(first, first + count, BATCH):
            numbers = range(start, min(start + BATCH, first + count))
            events = [{"room": "doc:1", "kind": "app.step", "data": {"n": n, "x": padding}} for n in numbers]
            receipts = await service.publish(*events)
            assert [receipt["offset"] for receipt in receipts] == [n + 1 for n in numbers]
            each_batch()
            await reached(followers, numbers.stop - 2000)
            if per_s:
                await asyncio.sleep(max(0.0, started + (numbers.stop - first) / per_s - time.monotonic()))


async def reached(followers: list[Follower], position: int) -> None:
    """Wait until every follower has had all events up to a position."""
    deadline = time.monotonic() + 3 * WAIT_S
    while min(follower.position for follower in followers) < position:
        for follower in followers:
            assert follower.wrong is None, follower.wrong
            assert not follower.lost.done(), "a socket was closed"
        assert time.monotonic() < deadline, Counter(follower.position for follower in followers)
        await asyncio.sleep(0.002)


async def test_crashes_under_load_lose_repeat_and_close_nothing(
    start_router: Callable[..., RouterProcess], tmp_path: Path
) -> None:
    """A connection's actor dies every 50 ms, in turn, while events pour in: every client has every event once.

    At full size ten of them, 10,000 in all: by an exception, a cancellation and an exit.
    """
    clients, events = size(100, 500), size(4_000, 44_000)
    socket = str(tmp_path / "control")
    process = start_router("--dev", *PLUGIN, environment={"CONTROL_SOCKET": socket})
    plugin = Control(socket)
    async with crowd(process.ws_url, clients, events) as followers:
        await plugin.do("kill", every_s=0.05, at_once=size(1, 10))
        started = time.monotonic()
        await publish(process, followers, events, per_s=size(2000, 800))
        await reached(followers, events)
        took = time.monotonic() - started
        killed = (await plugin.do("stop_killing"))["killed"]
        await wait_until(
            lambda: sum(follower.others.count(b"notice") for follower in followers) >= killed, "every repair is said"
        )
        for follower in followers:
            assert follower.wrong is None, follower.wrong
            assert not follower.lost.done()
            assert follower.position == events
            assert set(follower.others) <= {b"welcome", b"subscribed", b"notice"}
    log = log_of(process)
    lines = Counter(line["event"] for line in log)
    assert lines["actor_failed"] == lines["actor_restarted"] == lines["connection_repaired"] == killed
    assert lines["actor_given_up"] == 0
    assert killed >= size(20, 10_000)
    failures = Counter(line["exception_type"] for line in log if line["event"] == "actor_failed")
    assert failures.keys() == {"ValueError", "CancelledError", "SystemExit"}
    report(
        "crashes under load:",
        clients=clients,
        events=events,
        deliveries=clients * events,
        killed=killed,
        seconds=round(took, 2),
        deliveries_per_s=round(clients * events / took),
        rss_mib=rss(process.pid) // MIB,
    )


async def test_a_stopped_client_costs_a_bounded_amount_and_nobody_else_anything(
    start_router: Callable[..., RouterProcess],
) -> None:
    """A client process is stopped while tens of MB pass: it is cut after the stall time, the others get everything."""
    events, stall_s = size(20_000, 100_000), size(1, 5)
    process = start_router("--dev", environment={"POSTROOM_STALL_S": str(stall_s)})
    stopped = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.reading_client",
        process.ws_url,
        "doc:1",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with crowd(process.ws_url, 3, events) as followers:
            assert stopped.stdout is not None
            async with asyncio.timeout(WAIT_S):
                assert await stopped.stdout.readline() == b"subscribed\n"
            await publish(process, followers, 4_000, padding="x" * 1000)
            before = most = rss(process.pid)
            stopped.send_signal(signal.SIGSTOP)
            started = time.monotonic()

            def measure() -> None:
                nonlocal most
                most = max(most, rss(process.pid))

            await publish(process, followers, events - 4_000, first=4_000, padding="x" * 1000, each_batch=measure)
            await reached(followers, events)
            took = time.monotonic() - started
            await wait_until(lambda: "connection_closed" in process.log, "the stopped client is cut")
            (cut,) = [line for line in log_of(process) if line["event"] == "connection_closed"]
            cut_after = time.monotonic() - started
            for follower in followers:
                assert follower.wrong is None, follower.wrong
                assert set(follower.others) == {b"welcome", b"subscribed"}
    finally:
        stopped.kill()
        await stopped.wait()
    assert most - before < 24 * MIB, f"{(most - before) // MIB} MiB for one client"
    report(
        "stopped client:",
        events=events,
        seconds=round(took, 2),
        cut_seen_after_s=round(cut_after, 2),
        rss_before_mib=before // MIB,
        rss_most_mib=most // MIB,
        stalled=cut["stalled"],
    )


async def test_clients_that_are_cut_off_at_once_leave_nothing(
    start_router: Callable[..., RouterProcess], tmp_path: Path
) -> None:
    """A reset at any moment of joining: no actor, task, descriptor or subscription stays, and no traceback."""
    clients = size(1_000, 10_000)
    socket = str(tmp_path / "control")
    # Half of the rooms are new: they are being opened while their clients vanish, and are to be gone soon.
    process = start_router("--dev", *PLUGIN, environment={"CONTROL_SOCKET": socket, "POSTROOM_ROOM_IDLE_S": "1"})
    plugin = Control(socket)

    async with NativeClient(process.ws_url) as staying:
        for room in range(50):
            await staying.subscribe(f"doc:{room}")
        before = await plugin.do("counts")
        memory = rss(process.pid)
        started = time.monotonic()
        for start in range(0, clients, 100):
            numbers = range(start, start + 100)
            seen = await asyncio.gather(*(join_and_vanish(process.ws_url, number) for number in numbers))
            assert all(types == ["welcome", "subscribed"][: len(types)] for types in seen)
        took = time.monotonic() - started
        async with asyncio.timeout(WAIT_S):
            while (after := await plugin.do("counts")) != before:
                pass
        assert (await staying.ask("ping"))["type"] == "pong"
        assert (await staying.ask("presence", room="doc:1"))["members"] == [{"user": "anonymous", "connections": 1}]
        async with NativeClient(process.ws_url) as fresh:
            await fresh.subscribe("doc:1")
            await staying.ask("publish", room="doc:1", kind="app.step", data={})
            assert (await fresh.next("event"))["offset"] == 1
    assert not [line for line in log_of(process) if line["level"] in ("error", "critical")], process.log
    report(
        "cut off at once:",
        clients=clients,
        seconds=round(took, 2),
        per_s=round(clients / took),
        rss_growth_mib=round((rss(process.pid) - memory) / MIB, 1),
        **after,
    )
