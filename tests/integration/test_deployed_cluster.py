"""What `deploy` configures, as a whole: three NATS servers with its passwords and rights, two routers, and nginx."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import aiohttp
import nats
import nats.errors
import pytest

from ..conftest import SECRET, RouterProcess
from ..native_client import WAIT_S, NativeClient
from ..nats_server import binary
from ..nginx import Proxy, running_nginx
from ..ports import free_port

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nats.conf"
PASSWORD = "0123456789abcdef"
Token = Callable[..., str]


class Deployed(NamedTuple):
    """What runs."""

    proxy: Proxy
    routers: list[RouterProcess]
    nats_urls: list[str]
    nats_logs: list[Path]


@pytest.fixture
async def deployed(tmp_path: Path) -> AsyncIterator[Deployed]:
    """All of it; NATS is ready before the routers are started, as `depends_on` has it."""
    with ExitStack() as stack:
        urls, logs = start_nats(stack, tmp_path)
        await nats_is_ready(urls)
        routers = []
        for name in ("router-1", "router-2"):
            environment = {
                "POSTROOM_SECRET": SECRET,
                "POSTROOM_NODE": name,
                "POSTROOM_CLUSTER": ",".join(urls),
                "POSTROOM_CLUSTER_USER": "postroom",
                "POSTROOM_CLUSTER_PASSWORD": PASSWORD,
                "POSTROOM_CLUSTER_REPLICAS": "3",
                "POSTROOM_HISTORY_EVENTS": "4",  # so that events are dropped, and snapshots are stored
                "POSTROOM_ROOM_IDLE_S": "0",
            }
            router = await asyncio.to_thread(RouterProcess, [], tmp_path / f"{name}.log", environment, tmp_path)
            stack.callback(router.stop)
            routers.append(router)
        addresses = [(router.ws_url, router.api_url) for router in routers]
        yield Deployed(stack.enter_context(running_nginx(tmp_path, addresses)), routers, urls, logs)


def start_nats(stack: ExitStack, folder: Path) -> tuple[list[str], list[Path]]:
    """Start three servers with the configuration, on loopback; return their URLs and logs."""
    routes = [free_port() for _ in range(3)]
    every_route = ", ".join(f"nats://server:{PASSWORD}@127.0.0.1:{port}" for port in routes)
    environment = {"NATS_PASSWORD": PASSWORD, "NATS_SERVER_PASSWORD": PASSWORD, "NATS_ROUTES": f"[{every_route}]"}
    urls, logs = [], []
    for number, route in enumerate(routes, 1):
        port = free_port()
        text = CONFIGURATION.read_text()
        for place, here in (
            ("0.0.0.0:4222", f"127.0.0.1:{port}"),
            ("0.0.0.0:6222", f"127.0.0.1:{route}"),
            ("0.0.0.0:8222", f"127.0.0.1:{free_port()}"),
            ("store_dir: /data", f'store_dir: "{folder}/nats-{number}"'),
        ):
            assert place in text
            text = text.replace(place, here)
        file = folder / f"nats-{number}.conf"
        file.write_text(text)
        logs.append(folder / f"nats-{number}.log")
        with logs[-1].open("wb") as log:
            process = subprocess.Popen(
                [binary(), "--config", str(file), "--name", f"nats-{number}"],
                env=os.environ | environment,
                stdout=log,
                stderr=log,
            )
        stack.callback(process.wait)
        stack.callback(process.kill)
        urls.append(f"nats://127.0.0.1:{port}")
    return urls, logs


async def nats_is_ready(urls: list[str]) -> None:
    """Wait until JetStream has a leader, whichever server is asked."""

    async def quiet(_error: Exception) -> None:
        """It is not there yet."""

    async with asyncio.timeout(30.0):
        for url in urls:
            while True:
                try:
                    client = await nats.connect(
                        url, user="postroom", password=PASSWORD, allow_reconnect=False, error_cb=quiet
                    )
                    try:
                        answer = await client.request("$JS.API.INFO", b"", timeout=0.5)
                    finally:
                        await client.close()
                    if b'"error"' not in answer.data:
                        break
                except (nats.errors.Error, OSError, TimeoutError):
                    pass
                await asyncio.sleep(0.05)


async def publish(proxy: Proxy, token: str, *texts: str) -> None:
    """Publish to the room through whichever router takes it."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for text in texts:
            event = {"room": "session:1", "kind": "notification", "data": {"level": "info", "message": text}}
            async with session.post(f"{proxy.api_url}/v1/publish", json=event) as answer:
                assert answer.status == 200, await answer.text()


async def test_routers_share_rooms_with_the_rights_that_they_have(deployed: Deployed, token: Token) -> None:
    """A client goes on with the other router without a gap; what no router needs to say, its user may not."""
    proxy = deployed.proxy
    service, reader = token("ci", "service"), token("ann", rooms=("session:*",))
    async with NativeClient(proxy.ws_url, reader) as client:
        subscribed = await client.ask("subscribe", room="session:1", presence=True)
        await publish(proxy, service, *"abcdef")
        heard = [await client.next("event") for _ in "abcdef"]
        assert [event["data"]["message"] for event in heard] == [*"abcdef"]
        (its,) = [each for each in deployed.routers if await connections(each) == 1]
        (other,) = [each for each in deployed.routers if each is not its]
        its.signal(signal.SIGTERM)
        async with asyncio.timeout(WAIT_S):
            await client.socket.wait_closed()
        assert await asyncio.to_thread(its.wait) == 0
    await publish(proxy, service, *"ghi")
    position = {"epoch": subscribed["epoch"], "offset": heard[-1]["offset"]}
    async with NativeClient(proxy.ws_url, reader) as client:
        assert await connections(other) == 1
        again = await client.ask("subscribe", room="session:1", after=position)
        assert again["recovery"] == "full"
        assert [(await client.next("event"))["data"]["message"] for _ in "ghi"] == [*"ghi"]
    await raise_and_forget(deployed, token("root", "admin"))
    assert await asyncio.to_thread(other.stop) == 0  # it has stored and dropped all that it wants to
    assert not violations(deployed)
    await forge(deployed)
    assert len(violations(deployed)) == 1


async def raise_and_forget(deployed: Deployed, token: str) -> None:
    """Have an alert wait in a room, and then the room forgotten: what else there is to be stored and dropped."""
    url = deployed.proxy.api_url
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        alert = {"room": "session:2", "kind": "alert", "data": {"severity": "critical", "title": "hot"}}
        async with session.post(f"{url}/v1/publish", json=alert) as answer:
            assert answer.status == 200, await answer.text()
        async with session.get(f"{url}/v1/alerts") as answer:
            assert [each["room"] for each in (await answer.json())["alerts"]] == ["session:2"]
        async with session.delete(f"{url}/v1/rooms/session:2") as answer:
            assert answer.status == 200, await answer.text()


def violations(deployed: Deployed) -> list[str]:
    """Return what the servers logged of rights that somebody did not have."""
    lines = [line for log in deployed.nats_logs for line in log.read_text().splitlines()]
    return [line for line in lines if "Violation" in line]


async def forge(deployed: Deployed) -> None:
    """Try to tell routers of an event that the stream does not hold, with the rights of a router."""
    refused = asyncio.Event()

    async def note(error: Exception) -> None:
        if "permissions violation" in str(error).lower():
            refused.set()

    client = await nats.connect(deployed.nats_urls[0], user="postroom", password=PASSWORD, error_cb=note)
    await client.publish("postroom.live.session:1", b"{}")
    async with asyncio.timeout(WAIT_S):
        await refused.wait()
    await client.close()


async def connections(router: RouterProcess) -> int:
    """Return how many clients a router has."""
    async with aiohttp.ClientSession() as session, session.get(f"{router.api_url}/readyz") as answer:
        return int((await answer.json())["connections"])
