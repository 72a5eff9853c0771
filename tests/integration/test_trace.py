"""A trace context on every way in: it travels with the event to every client and through the log, or is left out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from actors.messages import Publish
from postroom_client import Custom, Service, connect
from server.app import Router
from server.protocols.native import SUBPROTOCOL

from ..conftest import RouterProcess, running_router
from ..native_client import WAIT_S, Message, NativeClient
from .at_size import log_of
from .services import position, state_of, wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
FIRST = f"00-{TRACE}-b7ad6b7169203331-01"
SECOND = f"00-{TRACE}-b7ad6b7169203332-00"
MALFORMED = f"00-{TRACE}-zzzz"


def event(**fields: Any) -> Message:
    return {"room": "team:1", "kind": "app.step", "data": {}, **fields}


async def post(url: str, body: Any, *traceparents: str) -> None:
    headers = [("traceparent", each) for each in traceparents]
    async with (
        asyncio.timeout(WAIT_S),
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/publish", json=body, headers=headers) as response,
    ):
        assert response.status == 200, await response.text()


@pytest.mark.parametrize("compression", [(), (SUBPROTOCOL,)], ids=["plain", "compressed"])
async def test_it_travels_from_every_way_in_to_every_client(compression: tuple[Any, ...]) -> None:
    """By the header for the whole request, by an event's field, over the WebSocket, and from inside the process."""
    async with running_router(dev=True, compression=compression) as router:
        options: dict[str, Any] = {"compression": "deflate"} if compression else {}
        url = router.addresses.api_url
        async with (
            NativeClient(router.addresses.ws_url, **options) as client,
            NativeClient(router.addresses.ws_url, **options) as choosy,
        ):
            await client.subscribe("team:1")
            await choosy.subscribe("team:1", kinds=["app.step"])
            await post(url, event(), FIRST)
            await post(url, [event(traceparent=SECOND), event(), event(traceparent=MALFORMED)], FIRST)
            await post(url, event(traceparent=SECOND))
            assert (await client.ask("publish", **event(traceparent=FIRST)))["type"] == "published"
            message = Publish(rooms=("team:1",), kind="app.step", data={}, traceparent=SECOND)
            await router.source.ask(message)
            for each in (client, choosy):
                traces = [received.get("traceparent") for received in await each.events(7)]
                assert traces == [FIRST, SECOND, FIRST, FIRST, SECOND, FIRST, SECOND]
            page = await client.ask("history", room="team:1", limit=1)
            assert page["events"][0]["traceparent"] == SECOND


async def test_what_is_malformed_is_as_if_it_were_not_there(router: Router) -> None:
    """Nothing is refused, and the event has no such field (W3C Trace Context, 3.2)."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("team:1")
        url = router.addresses.api_url
        await post(url, event())
        await post(url, event(), MALFORMED)
        await post(url, event(), FIRST, SECOND)
        await post(url, event(traceparent=MALFORMED))
        answer = await client.ask("publish", **event(traceparent=""))
        assert answer["type"] == "published"
        await router.source.ask(Publish(rooms=("team:1",), kind="app.step", data={}, traceparent=MALFORMED))
        assert all("traceparent" not in received for received in await client.events(6))


async def test_each_step_is_in_the_log_at_debug_level(start_router: Callable[..., RouterProcess]) -> None:
    """Taken, committed, sent, and delivered where a connection does it itself; nothing for events without a trace."""
    process = start_router("--dev", environment={"POSTROOM_LOG_LEVEL": "debug"})
    async with NativeClient(process.ws_url) as client, NativeClient(process.ws_url) as choosy:
        await client.subscribe("team:1")
        await choosy.subscribe("team:1", kinds=["app.step", "app.other"])
        await post(process.api_url, [event(event_id="a"), event(event_id="b", traceparent=FIRST)])
        await client.events(2)
        await choosy.events(2)
        await wait_until(lambda: "event_delivered" in process.log, "the last line")
        lines = [line for line in log_of(process) if line["event"].startswith("event_")]
    assert [line["event"] for line in lines] == ["event_taken", "event_committed", "event_sent", "event_delivered"]
    assert {(line["event_id"], line["traceparent"]) for line in lines} == {("b", FIRST)}
    taken, _, sent, delivered = lines
    assert taken["rooms"] == ["team:1"]
    assert sent["by_line"] + sent["by_mail"] == 2
    assert sent["by_mail"] >= 1
    assert (delivered["offset"], delivered["held"]) == (2, False)


async def test_who_comes_back_gets_it_with_what_was_missed(router: Router, logged: list[dict[str, Any]]) -> None:
    """From the history of the room, and the log says who got what by that way."""
    async with NativeClient(router.addresses.ws_url) as client:
        place = position(await client.subscribe("team:1"))
        await post(router.addresses.api_url, [event(traceparent=FIRST), event(), event(traceparent=SECOND)])
    async with NativeClient(router.addresses.ws_url, resume={"team:1": {**place, "offset": 1}}) as back:
        assert [received.get("traceparent") for received in await back.events(2)] == [None, SECOND]
        id = state_of(router, back).id
    delivered = [line for line in logged if line["event"] == "event_delivered"]
    assert [(line["connection"], line["traceparent"]) for line in delivered] == [(id, SECOND)]


async def test_the_python_client_sends_and_shows_it(router: Router) -> None:
    """`Service`, `publish` and what is received."""
    ws, api = router.addresses.ws_url, router.addresses.api_url
    async with asyncio.timeout(WAIT_S), Service(api) as service, connect(ws) as client:
        stream = await client.subscribe("team:1")
        await service.ask(Custom("team:1", "app.step", {}, traceparent=FIRST))
        await client.publish("team:1", "app.step", {}, traceparent=SECOND)
        await client.publish("team:1", "app.step", {})
        assert [(await anext(stream)).traceparent for _ in range(3)] == [FIRST, SECOND, None]
