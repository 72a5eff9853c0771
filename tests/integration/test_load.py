"""Hundreds of clients at once: everyone gets exactly its room's events, in order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pykka

from actors.connection import Connection
from server.app import Router

from ..native_client import NativeClient
from .services import http_service, in_chain, numbers, publish, wait_until

CLIENTS = 300
ROOMS = 6
EVENTS = 40
CONNECT_AT_ONCE = 50


async def connect_all(stack: AsyncExitStack, url: str, count: int) -> list[NativeClient]:
    """Connect clients, many at a time."""
    clients = [NativeClient(url) for _ in range(count)]
    for start in range(0, count, CONNECT_AT_ONCE):
        some = clients[start : start + CONNECT_AT_ONCE]
        await asyncio.gather(*(stack.enter_async_context(client) for client in some))
    return clients


async def test_three_hundred_clients_get_exactly_their_rooms_events(router: Router):
    """While services publish to several rooms at once, no client misses, repeats or mixes up an event."""
    rooms = [f"session:{number}" for number in range(ROOMS)]
    async with AsyncExitStack() as stack:
        clients = await connect_all(stack, router.addresses.ws_url, CLIENTS)
        assert len(router.registry) == CLIENTS
        room_of = {client: rooms[number % ROOMS] for number, client in enumerate(clients)}
        await asyncio.gather(*(client.subscribe(room) for client, room in room_of.items()))
        service = await stack.enter_async_context(http_service(router))

        async def run(room: str) -> None:
            for n in range(EVENTS):
                event = {"room": room, "kind": "app.count", "data": {"n": n, "room": room}}
                if n % 2:
                    await service.publish(event)
                else:
                    await publish(router, room, "app.count", {"n": n, "room": room})

        async def receive(client: NativeClient) -> None:
            events = await client.events(EVENTS)
            assert numbers(events) == list(range(EVENTS))
            assert {(event["room"], event["data"]["room"]) for event in events} == {(room_of[client],) * 2}
            assert in_chain(events) == EVENTS

        async with asyncio.timeout(30):
            await asyncio.gather(*map(run, rooms), *map(receive, clients))
        await publish(router, "broadcast", "app.count", {"n": -1})
        for client in clients:
            assert numbers(await client.events(1)) == [-1]
            assert await client.nothing_more() == []


async def test_three_hundred_clients_that_go_at_once_leave_nothing(router: Router):
    """A network that fails takes all its clients with it; the router forgets them and serves the one that is left."""
    async with NativeClient(router.addresses.ws_url) as steady:
        await steady.subscribe("session:1")
        async with AsyncExitStack() as stack:
            clients = await connect_all(stack, router.addresses.ws_url, CLIENTS)
            await asyncio.gather(*(client.subscribe("session:1") for client in clients))
            assert (await steady.ask("presence", room="session:1"))["members"][0]["connections"] == CLIENTS + 1
            for client in clients:
                client.cut()
        await wait_until(lambda: len(router.registry) == 1, "the registry forgets all but one")
        await wait_until(lambda: len(pykka.ActorRegistry.get_by_class(Connection)) == 1, "their actors have stopped")
        assert (await steady.ask("presence", room="session:1"))["members"][0]["connections"] == 1
        await publish(router, "session:1", "app.count", {"n": 1})
        assert numbers(await steady.events(1)) == [1]
