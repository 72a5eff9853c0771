"""A client that reads ten messages a second in a room with thousands of updates a second: what it sees is fresh."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable

import aiohttp
import pytest
from websockets.asyncio.client import connect

from ..conftest import RouterProcess
from ..native_client import Message
from .at_size import size

pytestmark = pytest.mark.alone

ROOM = "session:busy"
READ_S = 0.1
FIRST = 15
PUBLISH_S = 10.0
SETTLED_S = 5.0
"""When the client's own library has read what it reads ahead, and the router knows how fast it is."""
FRESH_S = size(5, full=2)
"""Without what is done about it values are 20 s old and more. The figure itself is for a machine that does nothing
else."""
BOUND_S = 60.0


async def publish_all(api_url: str, counts: dict[str, int], ended: asyncio.Event) -> None:
    """Publish 10,000 updates a second, an alert twice a second and a new run of the session once a second."""
    numbers = itertools.count(1)
    began = time.monotonic()
    async with aiohttp.ClientSession() as session:

        async def post(events: list[Message]) -> None:
            async with session.post(f"{api_url}/v1/publish", json=events) as answer:
                assert answer.status == 200, await answer.text()

        for tick in range(int(PUBLISH_S * 50)):
            events: list[Message] = [
                {"room": ROOM, "kind": "progress", "data": {"current": next(numbers), "sent": time.time()}}
                for _ in range(200)
            ]
            if tick % 25 == 0:
                counts["alert"] += 1
                data = {"severity": "low", "title": "look", "number": counts["alert"]}
                events.append({"room": ROOM, "kind": "alert", "data": data})
            if tick % 50 == 0:
                counts["session"] += 1
                events.append(
                    {"room": ROOM, "kind": "session", "data": {"status": "started", "number": counts["session"]}}
                )
            await post(events)
            await asyncio.sleep(max(0.0, began + (tick + 1) / 50 - time.monotonic()))
        await post([{"room": ROOM, "kind": "session", "data": {"status": "completed", "number": 0}}])
    ended.set()


async def publish_first(api_url: str) -> None:
    """Publish a few updates: a client whose speed nobody knows is written all that there is."""
    events = [{"room": ROOM, "kind": "progress", "key": f"step-{n}", "data": {"current": n}} for n in range(FIRST)]
    async with aiohttp.ClientSession() as session, session.post(f"{api_url}/v1/publish", json=events) as answer:
        assert answer.status == 200, await answer.text()


async def test_a_slow_reader_sees_fresh_values_and_every_session_event_and_alert(
    start_router: Callable[..., RouterProcess],
) -> None:
    """Old progress gives way, markers keep the chain whole, and the client is never cut or closed for being slow."""
    router = start_router("--dev")
    counts = {"alert": 0, "session": 0}
    seen: dict[str, list[int]] = {"alert": [], "session": []}
    ages: list[float] = []
    conflated = 0
    ended = asyncio.Event()
    async with connect(router.ws_url, proxy=None, compression=None) as client, asyncio.timeout(BOUND_S):
        await client.send('{"type": "hello"}')
        await client.send(json.dumps({"type": "subscribe", "id": 1, "room": ROOM}))
        position = None
        publishing = None
        began = 0.0
        while True:
            message = json.loads(await client.recv())
            if message["type"] == "subscribed":
                position = message["offset"]
                await publish_first(router.api_url)
            elif message["type"] == "event" and message["offset"] == FIRST:
                position = message["offset"]
                began = time.monotonic()
                publishing = asyncio.create_task(publish_all(router.api_url, counts, ended))
            elif message["type"] == "skipped":
                assert message["from"] == position + 1
                assert message["reason"] == "conflated"
                position = message["to"]
                conflated += 1
            elif message["type"] == "event":
                assert message["prev"] == position, "the chain is whole"
                position = message["offset"]
                if (
                    message["kind"] == "progress"
                    and publishing is not None
                    and not ended.is_set()
                    and time.monotonic() > began + SETTLED_S
                ):
                    ages.append(time.time() - message["data"]["sent"])
                elif message["kind"] in seen:
                    seen[message["kind"]].append(message["data"]["number"])
                    if message["data"].get("status") == "completed":
                        break
            await asyncio.sleep(READ_S)
        assert publishing is not None
        await publishing
    assert seen["alert"] == list(range(1, counts["alert"] + 1))
    assert seen["session"] == [*range(1, counts["session"] + 1), 0]
    assert conflated > 0
    assert len(ages) > 5
    ages.sort()
    assert ages[len(ages) * 9 // 10] < FRESH_S, [round(age, 2) for age in ages]
    assert "slow_consumer" not in router.log
