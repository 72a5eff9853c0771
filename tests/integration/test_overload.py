"""Publishers that do not wait offer more than the router can do: they are slowed down, and others are served."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable

import aiohttp

from ..conftest import RouterProcess
from ..native_client import WAIT_S, NativeClient
from ..raw_client import PING, PONG, TEXT, RawClient, frame

Start = Callable[..., RouterProcess]


async def test_a_publisher_that_is_read_slowly_is_not_taken_for_one_that_does_not_read(start_router: Start) -> None:
    """Its pongs wait behind what it has sent, for longer than `stall_s`; every publish is answered all the same."""
    process = start_router("--dev", environment={"POSTROOM_STALL_S": "0.3"})
    count = 40_000
    publish = frame(TEXT, b'{"type":"publish","id":1,"room":"doc:1","kind":"app.step","data":{}}')
    async with RawClient(process.ws_url) as flooding, NativeClient(process.ws_url) as other:
        await flooding.open()
        sending = asyncio.create_task(flooding.send(publish * count))
        pongs: list[asyncio.Task[None]] = []
        answers: Counter[str] = Counter()
        async with asyncio.timeout(6 * WAIT_S):
            while answers.total() < count:
                opcode, payload = await flooding.read()
                if opcode == PING:  # not waited for: who answers behind what it has sent must read meanwhile
                    pongs.append(asyncio.create_task(flooding.send(frame(PONG, payload))))
                    continue
                answers[json.loads(payload)["type"]] += 1
                if answers.total() % 4000 == 0:
                    assert (await other.ask("ping"))["type"] == "pong"
        await asyncio.gather(sending, *pongs)
        assert answers == {"published": count}
        assert (await other.subscribe("doc:1"))["offset"] == count


async def test_more_requests_than_can_be_handled_are_refused_and_tell_when_to_come_back(start_router: Start) -> None:
    """Each batch is taken as a whole or not at all, and a ping is answered meanwhile."""
    process = start_router("--dev")
    batch = [{"room": "doc:1", "kind": "app.step", "data": {}}] * 500
    outcomes: Counter[int] = Counter()
    async with (
        NativeClient(process.ws_url) as other,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):

        async def post() -> None:
            async with session.post(f"{process.api_url}/v1/publish", json=batch) as response:
                outcomes[response.status] += 1
                if response.status == 503:
                    assert (await response.json())["code"] == "busy"
                    assert int(response.headers["Retry-After"]) > 0

        async with asyncio.timeout(3 * WAIT_S):
            posting = [asyncio.create_task(post()) for _ in range(600)]
            while not outcomes:
                assert (await other.ask("ping"))["type"] == "pong"
            await asyncio.gather(*posting)
        assert set(outcomes) == {200, 503}
        assert (await other.subscribe("doc:1"))["offset"] == outcomes[200] * len(batch)


async def test_a_body_that_does_not_come_holds_up_nobody_else(start_router: Start) -> None:
    process = start_router("--dev")
    port = int(process.api_url.rpartition(":")[2])
    dawdlers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
    try:
        for _, writer in dawdlers:
            writer.write(b"POST /v1/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n[")
            await writer.drain()
        event = {"room": "doc:1", "kind": "app.step", "data": {}}
        async with aiohttp.ClientSession() as session, asyncio.timeout(WAIT_S):
            for _ in range(10):
                async with session.post(f"{process.api_url}/v1/publish", json=event) as response:
                    assert response.status == 200
    finally:
        for _, writer in dawdlers:
            writer.close()
