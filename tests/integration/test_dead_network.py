"""Networks that fail without a word: clients behind them are found, and come back to where they were."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.app import Router
from server.auth import issue_token

from ..conftest import SECRET, running_router
from ..native_client import NativeClient
from . import namespaces
from .namespaces import Cable
from .services import in_chain, numbers, position, publish, wait_until

Log = list[dict[str, Any]]


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    reason = namespaces.unavailable()
    if reason is not None:
        if "CI" in os.environ:
            pytest.fail(f"these tests run in continuous integration: {reason}")
        pytest.skip(reason)
    with namespaces.cable() as cable:
        yield cable


@pytest.fixture(autouse=True)
def mended(cable: Cable) -> Iterator[None]:
    yield
    cable.mend()


@asynccontextmanager
async def router_on(cable: Cable, **settings: Any) -> AsyncIterator[Router]:
    """Run a router on its machine."""
    with cable.at(Cable.router):
        context = running_router(host=Cable.router, **settings)
        router = await context.__aenter__()
    try:
        yield router
    finally:
        await context.__aexit__(None, None, None)


async def client_on(cable: Cable, router: Router, **options: Any) -> NativeClient:
    """Connect from the clients' machine."""
    with cable.at(Cable.clients):
        return await a_client(router, **options)


async def a_client(router: Router, **options: Any) -> NativeClient:
    """Connect as somebody who may do everything."""
    token = issue_token(SECRET, "ann", "admin", (), ("*",), 3600)
    return await NativeClient(router.addresses.ws_url, token, **options).__aenter__()


async def vanished(router: Router, client: NativeClient, begin: Callable[[], None]) -> None:
    """Let a client vanish; wait until the router has found out, and nothing of it is left."""
    id = client.welcome["connection"]
    begin()
    await wait_until(lambda: all(state.id != id for state in router.registry.states), "the client is found gone")
    client.cut()


def black_hole(cable: Cable) -> None:
    cable.lose(Cable.router)
    cable.lose(Cable.clients)


def deaf(cable: Cable) -> None:
    cable.lose(Cable.clients)


def mute(cable: Cable) -> None:
    cable.lose(Cable.router)


@pytest.mark.parametrize("fault", [black_hole, deaf, mute])
async def test_an_idle_client_that_cannot_be_reached_is_found_and_comes_back(
    cable: Cable, fault: Callable[[Cable], None], logged: Log
) -> None:
    """By the heartbeat, 25 and 10 s unless set otherwise; nothing of it is left, and who is near notices nothing."""
    async with router_on(cable, heartbeat_s=1.0, pong_timeout_s=0.5) as router:
        with cable.at(Cable.router):
            near = await a_client(router)
        client = await client_on(cable, router)
        for each in (client, near):
            place = position(await each.subscribe("team:1"))
        await vanished(router, client, lambda: fault(cable))
        await publish(router, "team:1", "app.count", {"n": 1})
        cable.mend()
        back = await client_on(cable, router, resume={"team:1": place})
        assert back.welcome["rooms"]["team:1"]["recovery"] == "full"
        for each in (back, near):
            assert numbers(await each.events(1, "team:1")) == [1]
            await each.__aexit__(None, None, None)
    (line,) = [line for line in logged if line["event"] == "connection_closed" and line["by"] == "router"][:1]
    assert not line["clean"]


async def test_a_client_that_vanishes_while_events_are_sent_to_it_is_found_before_its_heartbeat(cable: Cable) -> None:
    """What is not acknowledged for 6 s ends the connection."""
    async with router_on(cable) as router:
        client = await client_on(cable, router)
        place = position(await client.subscribe("team:1"))
        sending = asyncio.create_task(keep_publishing(router))
        try:
            await client.events(3)
            await vanished(router, client, lambda: black_hole(cable))
        finally:
            sending.cancel()
        cable.mend()
        back = await client_on(cable, router, resume={"team:1": place})
        (top, replay) = (back.welcome["rooms"]["team:1"][name] for name in ("offset", "replay"))
        assert in_chain(await back.events(replay, "team:1")) == top
        await back.__aexit__(None, None, None)


async def keep_publishing(router: Router) -> None:
    """Publish an event now and then."""
    n = 0
    while True:
        n += 1
        await publish(router, "team:1", "app.count", {"n": n})
        await asyncio.sleep(0.05)


async def test_a_client_whose_machine_began_anew_is_found_by_the_first_packet_to_it(cable: Cable) -> None:
    """Its end of the connection is gone and the router's is not: half open."""
    async with router_on(cable) as router:
        client = await client_on(cable, router)
        await client.subscribe("team:1")
        black_hole(cable)
        client.cut()
        await client.socket.wait_closed()
        cable.mend()
        assert len(router.registry) == 1
        await publish(router, "team:1", "app.count", {"n": 1})
        await wait_until(lambda: not len(router.registry), "the client is found gone")


async def test_over_a_line_that_loses_packets_every_event_comes_once_and_in_order(cable: Cable) -> None:
    """One packet in twenty each way."""
    async with router_on(cable) as router:
        subscriber, publisher = [await client_on(cable, router) for _ in range(2)]
        await subscriber.subscribe("team:1")
        for address in (Cable.router, Cable.clients):
            cable.lose(address, one_in=20)
        for n in range(60):
            data = {"n": n, "text": "x" * (n * 20)}
            assert (await publisher.ask("publish", room="team:1", kind="app.count", data=data))["offset"] == n + 1
        events = await subscriber.events(60)
        assert numbers(events) == list(range(60))
        assert in_chain(events) == 60
        assert cable.lost(Cable.router) > 0
        assert cable.lost(Cable.clients) > 0
        cable.mend()
        for each in (subscriber, publisher):
            await each.__aexit__(None, None, None)
