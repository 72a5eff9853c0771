"""Alerts in a cluster: told to admins once, whoever sees to them; acknowledged by one; not forgotten with a router."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from ..integration.services import publish
from ..native_client import NativeClient
from ..nats_server import NatsServer, nats_servers
from .logs import until
from .together import together

ROOM = "doc:1"
ALERT = {"severity": "critical", "title": "disk full"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One NATS server for all tests of the file."""
    with nats_servers(tmp_path_factory.mktemp("nats")) as (server,):
        yield server


async def escalations(client: NativeClient, last: str) -> list[str]:
    """Return the alerts that have come to the admins until `last` came."""
    found: list[str] = []
    while last not in found:
        event = await client.next("event")
        if event["room"] == "role:admin" and event["kind"] == "alert":
            found.append(event["data"]["title"])
    return found


async def test_an_alert_that_several_routers_see_goes_to_the_admins_once(
    server: NatsServer, token: Any, logged: list[dict[str, Any]]
) -> None:
    async with (
        together(server, "a", "b", "c", escalate_after_s=0.3) as routers,
        NativeClient(routers[0].addresses.ws_url, token("ops", "admin")) as client,
    ):
        for router in routers:  # each has the room open, and its own timer
            async with NativeClient(router.addresses.ws_url, token("ops", "admin")) as watching:
                await watching.subscribe(ROOM)
        await publish(routers[1], ROOM, "alert", ALERT, event_id="first")
        await until(lambda: [line["event"] for line in logged].count("alert_escalated") == 3)
        await publish(routers[2], "doc:2", "alert", {**ALERT, "title": "last"}, event_id="second")
        assert await escalations(client, "last") == ["disk full", "last"]


async def test_of_two_who_acknowledge_through_two_routers_one_is_first(server: NatsServer, token: Any) -> None:
    async with together(server, "a", "b") as (first, second), AsyncExitStack() as stack:
        ann = await stack.enter_async_context(NativeClient(first.addresses.ws_url, token("ann", "admin")))
        bob = await stack.enter_async_context(NativeClient(second.addresses.ws_url, token("bob", "admin")))
        for client in (ann, bob):
            await client.subscribe(ROOM)
        await publish(first, ROOM, "alert", ALERT, event_id="alert")
        for client in (ann, bob):
            await client.next("event")
        answers = await asyncio.gather(
            *(client.ask("ack", room=ROOM, event_id="alert") for client in (ann, bob)), return_exceptions=True
        )
        told = [(await client.next("event"))["data"]["user"] for client in (ann, bob)]
        assert told[0] == told[1]
        names = {answer["type"] for answer in answers if isinstance(answer, dict)}
        assert names == {"acknowledged", "error"}, answers
        loser = answers[1 - ["ann", "bob"].index(told[0])]
        assert isinstance(loser, dict)
        assert (loser["code"], told[0] in loser["message"]) == ("not_found", True)


async def test_an_alert_of_a_router_that_ended_is_seen_to_by_another_one(server: NatsServer, token: Any) -> None:
    """Nobody else has ever heard of the room."""
    async with together(server, "a", "b", escalate_after_s=2.0) as (first, second), AsyncExitStack() as stack:
        client = await stack.enter_async_context(NativeClient(second.addresses.ws_url, token("ops", "admin")))
        await publish(first, ROOM, "alert", ALERT, event_id="alert")
        assert ROOM not in second.ledger.notes()
        await first.stop()
        await until(lambda: ROOM in second.ledger.notes())
        assert await escalations(client, "disk full") == ["disk full"]
