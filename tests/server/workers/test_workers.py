"""`postroom serve --workers`: real processes that share two ports and a NATS server, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ...conftest import RouterProcess
from ...integration.services import HttpService, wait_until
from ...native_client import WAIT_S, Message, NativeClient
from ...nats_server import nats_servers
from ...torture.disk import small_disk, unavailable

HELLO = {"level": "info", "message": "hello"}
BAD_END = "tests.server.workers.crashing:start"

StartRouter = Callable[..., RouterProcess]


def lines(process: RouterProcess, *events: str) -> list[dict[str, Any]]:
    """Return what it has logged so far of these events; none: of all."""
    whole = process.log.rpartition("\n")[0].splitlines()  # the last line may be half written
    logged = [json.loads(line) for line in whole if line.startswith("{")]
    return [line for line in logged if not events or line["event"] in events]


def pids(process: RouterProcess) -> dict[str, int]:
    """Return the processes that were started last: of each worker by its name, and of NATS."""
    return {line.get("worker", "nats"): line["pid"] for line in lines(process, "worker_started", "nats_started")}


def of_process(pid: int, what: str) -> str:
    return Path(f"/proc/{pid}/{what}").read_text(errors="replace")


def alive(pid: int) -> bool:
    try:
        return of_process(pid, "stat").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def texts(folder: Path) -> list[str]:
    """Return what all files in a folder hold."""
    return [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()]


@asynccontextmanager
async def service(process: RouterProcess) -> AsyncIterator[HttpService]:
    """Yield a service; each of its requests goes to whichever worker the system chooses."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield HttpService(session, process.api_url)


def event(room: str) -> dict[str, Any]:
    return {"rooms": [room], "kind": "notification", "data": HELLO}


async def one_on_each(process: RouterProcess, stack: AsyncExitStack, count: int = 2) -> dict[str, NativeClient]:
    """Connect clients until each worker has one; return these by the worker's name."""
    of: dict[str, NativeClient] = {}
    for _ in range(64):
        client = await stack.enter_async_context(NativeClient(process.ws_url))
        id = client.welcome["connection"]

        def opened(id: str = id) -> list[str]:
            return [line["node"] for line in lines(process, "connection_opened") if line["connection"] == id]

        await wait_until(lambda: bool(opened()), "the line about a connection")  # used up in this turn
        of.setdefault(opened()[0], client)
        if len(of) == count:
            return of
    raise AssertionError(f"all clients went to {list(of)}")


async def test_workers_share_ports_and_rooms_and_end_together(start_router: StartRouter, tmp_path: Path) -> None:
    """Each has clients of its own, and all see one order; SIGHUP reaches each; nothing is left, no password shown."""
    process = start_router("--dev", "--workers", "2", environment={"POSTROOM_NODE": "here"})
    started = pids(process)
    assert started.keys() == {"here-1", "here-2", "nats"}
    async with AsyncExitStack() as stack:
        clients = await one_on_each(process, stack)
        for client in clients.values():
            await client.subscribe("session:1")
        publisher = await stack.enter_async_context(service(process))
        receipts = [(await publisher.publish(event("session:1")))[0] for _ in range(6)]
        seen = [[each["offset"] for each in await client.events(6)] for client in clients.values()]
        assert seen[0] == seen[1] == [receipt["offset"] for receipt in receipts]
        process.signal(signal.SIGHUP)
        await wait_until(lambda: len(lines(process, "reloaded")) == 2, "a line of each worker")
        assert {line["node"] for line in lines(process, "reloaded")} == {"here-1", "here-2"}
        password = of_process(started["nats"], "environ").partition("POSTROOM_NATS_PASSWORD=")[2].partition("\0")[0]
        assert len(password) > 40
        shown = [of_process(pid, "cmdline") for pid in (process.pid, *started.values())]
        process.signal(signal.SIGTERM)
        for client in clients.values():
            assert (await client.next("notice"))["code"] == "draining"
        assert await asyncio.to_thread(process.wait) == 0
    assert not any(map(alive, started.values()))
    assert all(line["node"] in ("here", "here-1", "here-2") for line in lines(process))
    assert len(lines(process, "router_stopped")) == 2
    shown += [process.log, *texts(tmp_path / "nats")]
    assert all(password not in text for text in shown)


async def test_what_ends_is_started_again_and_nothing_is_lost(start_router: StartRouter) -> None:
    """A worker is killed: the clients of the other stay. NATS is killed: what was acknowledged is there after it."""
    process = start_router("--dev", "--workers", "2")
    before = pids(process)
    async with AsyncExitStack() as stack:
        publisher = await stack.enter_async_context(service(process))
        receipts = await publisher.publish(event("session:1"))
        clients = await one_on_each(process, stack)
        killed, spared = clients
        os.kill(before[killed], signal.SIGKILL)
        await clients[killed].closed()
        await wait_until(lambda: len(lines(process, "router_started")) == 3, "the worker's next life")
        assert [line["how"] for line in lines(process, "worker_ended")] == ["SIGKILL"]
        await clients[spared].ask("ping")
        os.kill(before["nats"], signal.SIGKILL)
        await wait_until(lambda: len(lines(process, "nats_started")) == 2, "the next NATS server")
        await wait_until(lambda: len(lines(process, "cluster_link_up")) >= 2, "both workers' connections to it")
        receipts += await published_in_the_end(publisher)
        answer = await clients[spared].subscribe("session:1", history=2)
        assert answer["replay"] == 2, answer
        offsets = [each["offset"] for each in await clients[spared].events(2)]
        assert offsets == [receipt["offset"] for receipt in receipts]
    now = pids(process)
    assert now[spared] == before[spared]
    assert now[killed] != before[killed]
    assert process.stop() == 0


async def published_in_the_end(publisher: HttpService) -> list[Message]:
    """Publish, again and again while it is refused: NATS is looked at before anything is given to it."""
    async with asyncio.timeout(WAIT_S):
        while True:
            status, answer = await publisher.post(event("session:1"))
            if status != 503:
                assert status == 200, answer
                receipts: list[Message] = answer["results"]
                return receipts
            await asyncio.sleep(0.05)


async def test_a_worker_that_ends_again_and_again_ends_the_service(start_router: StartRouter, tmp_path: Path) -> None:
    """But one that says that it cannot start is tried on, while the other one works."""
    crash = tmp_path / "crash"
    process = start_router(
        "--dev", "--workers", "2", "--plugin", BAD_END, environment={"WORKERS_CRASH": str(crash), "POSTROOM_NODE": "n"}
    )
    crash.write_text("refuse")
    os.kill(pids(process)["n-1"], signal.SIGKILL)
    await wait_until(lambda: len(lines(process, "worker_refused")) == 2, "a worker that cannot start")
    assert "told to refuse" in lines(process, "worker_refused")[0]["reason"]
    async with service(process) as publisher:
        await publisher.publish(event("session:1"))
    crash.write_text("crash")
    assert await asyncio.to_thread(process.wait) == 1
    assert (
        "postroom: the worker n-1 ended 4 times in a row within 5 s of being ready, or before, at last with exit code 3"
        in process.log
    )
    assert not any(map(alive, pids(process).values()))


async def test_a_nats_server_that_ends_again_and_again_ends_the_service(start_router: StartRouter) -> None:
    """With what NATS itself says of it, or where that is to be found."""
    process = start_router("--dev", "--workers", "2", "--journal", "memory")
    (folder,) = {Path(line["folder"]) for line in lines(process, "nats_started")}
    assert texts(folder)
    for number in range(4):
        await wait_until(lambda number=number: len(lines(process, "nats_started")) > number, "the next NATS server")
        os.kill(pids(process)["nats"], signal.SIGKILL)
    assert await asyncio.to_thread(process.wait) == 1
    assert (
        "postroom: the NATS server ended 4 times in a row within 5 s of being ready, or before, at last with SIGKILL"
        in process.log
    )
    assert not texts(folder), "files that were to be thrown away are left"


async def test_nothing_outlives_a_parent_that_is_killed(start_router: StartRouter) -> None:
    """The system ends workers and NATS, and the ports are free."""
    process = start_router("--dev", "--workers", "2")
    started = pids(process)
    assert all(map(alive, started.values()))
    process.signal(signal.SIGKILL)
    process.wait()
    await wait_until(lambda: not any(map(alive, started.values())), "the end of all")


async def test_workers_on_a_nats_server_of_somebody_else(start_router: StartRouter, tmp_path: Path) -> None:
    """It is left alone at the end; the password in its URL is in no line of the log, and not in the greeting."""
    more = 'authorization { user: "postroom", password: "a-nats-password" }'
    with nats_servers(tmp_path, more=more) as (nats,):
        await nats.ready(user="postroom", password="a-nats-password")
        url = nats.url.replace("://", "://postroom:a-nats-password@")
        process = start_router("--dev", "--workers", "2", environment={"POSTROOM_CLUSTER": url}, cwd=tmp_path)
        async with service(process) as publisher:
            await publisher.publish(event("session:1"))
        assert process.stop() == 0
        assert "nats" not in pids(process)
        assert alive(nats.pid)
        assert "a-nats-password" not in process.log


def test_what_keeps_all_workers_from_starting_is_said_once(start_router: StartRouter, tmp_path: Path) -> None:
    """A plug-in that fails, a port that another service has, and a folder that another NATS server has."""
    process = start_router("--dev", "--workers", "2", "--journal", str(tmp_path / "journal.db"))

    def refused(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "server.cli", "serve", "--dev", "--workers", "2", *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert done.stdout == ""
        said = [line for line in done.stderr.splitlines() if line.startswith("postroom: ")]
        assert len(said) == 1, done.stderr
        return said[0]

    free = ("--port", "0", "--api-port", "0")
    crash = tmp_path / "crash"
    crash.write_text("refuse")
    other = ("--journal", str(tmp_path / "other" / "journal.db"))
    said = refused(*free, *other, "--plugin", BAD_END, WORKERS_CRASH=str(crash))
    assert said.endswith("failed: ValueError: told to refuse")
    port = process.ws_url.rpartition(":")[2].partition("/")[0]
    said = refused("--port", port, "--api-port", "0", *other)
    assert said.startswith(f"postroom: port {port} on 127.0.0.1 is in use by another program: stop it, or choose")
    said = refused(*free, "--journal", str(tmp_path / "journal.db"))
    assert "belongs to another router that runs" in said
    assert process.stop() == 0


@pytest.mark.skipif(unavailable() is not None, reason="no small file system can be mounted")
async def test_a_full_disk_is_survived(start_router: StartRouter, tmp_path: Path) -> None:
    """NATS stores nothing more after it, also when there is space again: it is started anew, and nothing is missing."""
    with small_disk(tmp_path / "disk", 48) as disk:
        process = start_router("--dev", "--workers", "2", "--journal", str(tmp_path / "disk" / "journal.db"))
        async with service(process) as publisher, NativeClient(process.ws_url) as client:
            await client.subscribe("session:1")
            taken = [receipt["offset"] for receipt in await publisher.publish(event("session:1"))]
            disk.fill()
            too_much = {**event("session:1"), "data": {**HELLO, "more": "x" * 20_000}}
            publishing = asyncio.create_task(publisher.post(too_much))
            await wait_until(lambda: bool(lines(process, "nats_complained")), "a complaint about the disk")
            assert not publishing.done() or publishing.result()[0] != 200
            disk.free()
            await wait_until(lambda: bool(lines(process, "nats_renewed")), "the end of the NATS server")
            status, answer = await publishing
            while status != 200:
                status, answer = await publisher.post(too_much)
            taken += [receipt["offset"] for receipt in answer["results"]]
            assert [each["offset"] for each in await client.events(2)] == taken
        assert process.stop() == 0
