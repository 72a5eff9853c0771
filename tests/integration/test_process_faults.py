"""What befalls the router as a process: it stands still, or ends; clients keep their connection, or come back."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from ..conftest import RouterProcess
from ..native_client import NativeClient
from .services import in_chain, numbers, position, wait_until

CLIENTS = 20
PLUGIN = '''
import asyncio
import time
from pathlib import Path

from pykka.messages import ProxyCall


def obey(router):
    """Do what a file in the working folder says, once it is there."""

    async def wait():
        while True:
            await asyncio.sleep(0.01)
            if Path("block").exists():
                Path("block").unlink()
                time.sleep(2.0)
            if Path("fail").exists():
                mailbox = router.source
                if mailbox.occupied and not len(mailbox):
                    mailbox.tell(ProxyCall(("explode",), (), {}))

    router.task = asyncio.create_task(wait())
'''

Start = Callable[..., RouterProcess]


@pytest.fixture
def start(start_router: Start, tmp_path: Path) -> Start:
    """Start routers that obey files in `tmp_path`, on one journal."""
    (tmp_path / "obedient.py").write_text(PLUGIN)

    def start(**environment: str) -> RouterProcess:
        options = ("--dev", "--journal", "journal.db", "--plugin", "obedient:obey")
        return start_router(*options, cwd=tmp_path, environment=environment)

    return start


def tell(folder: Path, what: str) -> None:
    (folder / what).touch()


def lines(process: RouterProcess, event: str) -> list[dict[str, Any]]:
    """Return the log lines of one event."""
    found = [json.loads(line) for line in process.log.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


async def stopped(process: RouterProcess, folder: Path) -> None:
    process.signal(signal.SIGSTOP)
    await asyncio.sleep(3.0)
    process.signal(signal.SIGCONT)


async def blocked(process: RouterProcess, folder: Path) -> None:
    tell(folder, "block")
    await wait_until(lambda: not (folder / "block").exists(), "the plug-in blocks")


@pytest.mark.parametrize(("fault", "least_ms"), [(stopped, 2000), (blocked, 1500)])
async def test_a_router_that_stood_still_keeps_its_clients_and_says_for_how_long(
    start: Start, tmp_path: Path, fault: Callable[[RouterProcess, Path], Awaitable[None]], least_ms: int
) -> None:
    """Longer than a client has to answer a ping: whoever answered is not cut for it, and all stays in order."""
    process = start(POSTROOM_HEARTBEAT_S="1.5", POSTROOM_PONG_TIMEOUT_S="1.2")
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(NativeClient(process.ws_url)) for _ in range(CLIENTS)]
        for client in clients:
            await client.subscribe("doc:1")
        publisher = await stack.enter_async_context(NativeClient(process.ws_url))

        async def publish(first: int, last: int) -> None:
            for n in range(first, last + 1):
                await publisher.send("publish", room="doc:1", kind="app.step", data={"n": n})

        reading = asyncio.gather(*(client.events(300, "doc:1") for client in clients))
        await publish(1, 100)
        await asyncio.gather(fault(process, tmp_path), publish(101, 200))
        await publish(201, 300)
        for events in await reading:
            assert numbers(events) == list(range(1, 301))
            assert in_chain(events) == 300
        assert lines(process, "connection_closed") == lines(process, "connections_closed") == []
        assert max(lag["lag_ms"] for lag in lines(process, "loop_lagged")) >= least_ms


async def test_clients_resume_after_a_router_whose_root_failed_was_started_again(start: Start, tmp_path: Path) -> None:
    """It ends with exit code 1, as nothing repairs it; the next one goes on where the first was."""
    first = start()
    async with NativeClient(first.ws_url) as client:
        place = position(await client.subscribe("doc:1"))
        for n in range(1, 6):
            await client.ask("publish", room="doc:1", kind="app.step", data={"n": n}, event_id=f"e{n}")
        assert numbers(await client.events(3)) == [1, 2, 3]
        tell(tmp_path, "fail")
        assert await asyncio.to_thread(first.wait, 20.0) == 1
        await client.closed()
    (tmp_path / "fail").unlink()
    second = start()
    async with NativeClient(second.ws_url, resume={"doc:1": {**place, "offset": 3}}) as client:
        assert client.welcome["rooms"]["doc:1"]["recovery"] == "full"
        again = await client.ask("publish", room="doc:1", kind="app.step", data={"n": 5}, event_id="e5")
        assert (again["offset"], again["duplicate"]) == (5, True)
        await client.ask("publish", room="doc:1", kind="app.step", data={"n": 6})
        events = await client.events(3, "doc:1")
        assert numbers(events) == [4, 5, 6]
        assert in_chain(events, after=3) == 6
