"""Two routers behind the nginx that `deploy` configures: clients get to any of them, and past the one that drains."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus

from ..conftest import RouterProcess
from ..event_source import EventSource
from ..native_client import WAIT_S, NativeClient
from ..nginx import Proxy, running_nginx
from .crowd import Follower


class Site(NamedTuple):
    """What runs."""

    proxy: Proxy
    routers: list[RouterProcess]

    async def clients(self) -> list[int]:
        """Return how many clients each router has."""
        return [(await readiness(router))["connections"] for router in self.routers]


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Run two routers that know nothing of each other, and nginx before them."""
    arguments = ["--dev", "--journal", "memory"]
    with ExitStack() as stack:
        routers = []
        for number in range(2):
            router = RouterProcess(arguments, folder / f"router-{number}.log", {"POSTROOM_DRAIN_S": "1"}, folder)
            stack.callback(router.stop)
            routers.append(router)
        addresses = [(router.ws_url, router.api_url) for router in routers]
        yield Site(stack.enter_context(running_nginx(folder, addresses)), routers)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for the tests that leave it as it is."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


async def readiness(router: RouterProcess) -> dict[str, Any]:
    """Return what a router says of itself."""
    async with aiohttp.ClientSession() as session, session.get(f"{router.api_url}/readyz") as answer:
        said: dict[str, Any] = await answer.json()
        return said


async def connect_some(stack: AsyncExitStack, proxy: Proxy, count: int) -> list[NativeClient]:
    """Have clients connect, one after the other."""
    return [await stack.enter_async_context(NativeClient(proxy.ws_url)) for _ in range(count)]


async def test_clients_are_spread_over_the_routers(site: Site) -> None:
    """Each gets to the one with the fewest; what they say and hear passes."""
    async with AsyncExitStack() as stack:
        clients = await connect_some(stack, site.proxy, 4)
        assert await site.clients() == [2, 2]
        for client in clients:
            assert (await client.ask("subscribe", room="session:1"))["type"] == "subscribed"


async def test_only_the_paths_of_clients_are_open_to_all(site: Site) -> None:
    """Of the API's port that is event streams and nothing else; inside, everything is there."""
    async with aiohttp.ClientSession() as session:
        event = {"room": "session:1", "kind": "build.finished", "data": {}}
        for path in ("/v1/publish", "/v1/rooms", "/v1/rooms/session:1/state", "/metrics", "/healthz", "/", "/v1/ws/x"):
            async with session.get(f"{site.proxy.public_url}{path}") as answer:
                assert answer.status == 404, path
        async with session.post(f"{site.proxy.api_url}/v1/publish", json=event) as answer:
            assert answer.status == 200
        async with session.get(f"{site.proxy.api_url}/readyz") as answer:
            assert answer.status == 200
        async with EventSource(site.proxy.public_url, "session:1") as stream:
            assert (await stream.next()).event == "subscribed"


async def test_pages_of_the_proxys_host_may_connect_and_no_others(site: Site) -> None:
    """The router sees the host as the browser named it."""
    async with NativeClient(site.proxy.ws_url, origin=site.proxy.public_url):
        pass
    with pytest.raises(InvalidStatus) as refused:
        async with NativeClient(site.proxy.ws_url, origin="https://elsewhere.example"):
            pass
    assert refused.value.response.status_code == 403


async def test_who_comes_while_a_router_drains_gets_to_the_other_one(tmp_path: Path) -> None:
    """Nobody is refused: not during the drain, when the router has few clients and says 503, and not after it."""
    async with AsyncExitStack() as stack:
        site = stack.enter_context(running_site(tmp_path))
        one, other = site.routers
        await Follower.join(one.ws_url, [])  # it never leaves, so the drain lasts
        one.signal(signal.SIGTERM)
        async with asyncio.timeout(WAIT_S):
            while (await readiness(one))["reason"] != "draining":  # noqa: ASYNC110  # another process tells nothing
                await asyncio.sleep(0.02)
        await connect_some(stack, site.proxy, 3)
        assert (await readiness(other))["connections"] == 3
        assert (await readiness(one))["reason"] == "draining"
        assert await asyncio.to_thread(one.wait) == 0
        await connect_some(stack, site.proxy, 3)
        assert (await readiness(other))["connections"] == 6
