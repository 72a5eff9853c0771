"""Tokens and the secret on every way that they come in by, good ones and bad ones: never in a line of the log."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable

import aiohttp
import pytest

from ..conftest import SECRET, RouterProcess
from ..native_client import NativeClient
from ..raw_client import TEXT, RawClient, frame
from .at_size import log_of
from .services import wait_until

TRACED = f"00-{'a' * 32}-{'b' * 16}-01"
EVENT = {"room": "session:1", "kind": "app.step", "data": {"n": 1}}


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_token_gets_into_the_log_at_debug_level_on_any_way(
    start_router: Callable[..., RouterProcess], token: Callable[..., str], log_format: str
) -> None:
    """Hello, refresh, headers, URLs, bodies, broken requests and frames; with tokens that count and that do not."""
    process = start_router(
        environment={
            "POSTROOM_SECRET": SECRET,
            "POSTROOM_LOG_LEVEL": "debug",
            "POSTROOM_LOG_FORMAT": log_format,
            "POSTROOM_TOKEN_WARNING_S": "60",
            "POSTROOM_TOKEN_GRACE_S": "0",
            "PYTHONASYNCIODEBUG": "1",
        }
    )
    good, other, service = token("ann", rooms=("session:*",)), token("bob"), token("job", "service")
    ending, ended = token("ann", ttl_s=2), token("ann", ttl_s=-10)
    forged = good[:-8] + "AAAAAAAA"
    cut_off = good[: len(good) // 2]
    issued = [good, other, service, ending, ended, forged, cut_off]

    async with NativeClient(process.ws_url, good) as client, NativeClient(process.ws_url, ending) as doomed:
        await client.subscribe("session:1")
        await _hello_with(process.ws_url, [other, ended, forged, cut_off, good * 80])
        for each in (good, other, service, ended, forged, cut_off):
            await client.ask("refresh", token=each)
            await client.ask("publish", room="session:1", kind="app.step", data={"token": each}, event_id=each[:200])
            await client.ask("subscribe", room=f"team:{each[:150]}")
            await client.ask(each[:50], token=each)
            await client.send("ack", room="session:1", event_id=each)
            await _knock_with(process, each)
        await _post_with(process, issued)
        assert (await doomed.closed())[0] == 4410
        async with RawClient(process.ws_url) as raw:
            await raw.open(hello=False)
            await raw.send(frame(TEXT, b'{"type": "hello", "token": "' + good.encode() + b"\xff"))
            assert await raw.closed() == 1007
        assert (await client.ask("ping"))["type"] == "pong"
    await wait_until(lambda: process.log.count("connection_closed") >= 5, "they are gone")
    process.stop()

    log = process.log
    assert len(log.splitlines()) > 30
    for each in issued:
        for part in each.split("."):
            assert part not in log, f"{part} is in the log"
        assert each[-20:] not in log
    assert SECRET not in log
    assert "[hidden]" in log, "nothing had to be hidden: the test looks at too little"
    if log_format == "json":
        lines = log_of(process)
        assert {"connection_opened", "connection_closed", "request_unreadable", "event_taken", "event_sent"} <= {
            line["event"] for line in lines
        }
        assert [line for line in lines if line["level"] in ("error", "critical")] == []


async def _hello_with(url: str, tokens: list[str]) -> None:
    for each in tokens:
        async with NativeClient(url, hello=False) as client:
            answer = await client.ask("hello", token=each, client={"name": each, "version": each})
            assert each not in json.dumps(answer)


async def _knock_with(process: RouterProcess, token: str) -> None:
    """Bring a token in the URL, in the header, and in headers of requests that are broken."""
    for path in (f"/v1/ws?token={token}", f"/v1/ws?access_token={token}", f"/{token}", f"//[{token}"):
        async with RawClient(process.ws_url) as client:
            assert (await client.upgrade(path=path))[0] in (400, 404)
    for value in (f"Bearer {token}", f"Basic {token}", f"Bearer {token} {token}", f"{token}\x01"):
        for url, path in ((process.ws_url, "/v1/ws"), (process.api_url, "/v1/publish")):
            async with RawClient(url) as client:
                with contextlib.suppress(asyncio.IncompleteReadError):  # what is broken may be hung up on
                    await client.upgrade(f"Authorization: {value}", path=path)
    for broken in (f"GET /{token}\r\n\r\n", f"GET / HTTP/1.1\r\n{token}\r\n\r\n", f"{token} / HTTP/1.1\r\n\r\n"):
        for url in (process.ws_url, process.api_url):
            async with RawClient(url) as client:
                await client.send(broken.encode())
                client.half_close()
                await client.ended()


async def _post_with(process: RouterProcess, tokens: list[str]) -> None:
    """Publish over HTTP: taken, refused, broken off in the middle."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        for each in tokens:
            headers = {
                "Authorization": f"Bearer {each}",
                "Cookie": f"token={each}",
                "X-Api-Token": each,
                "traceparent": each,
            }
            for body in (
                EVENT,
                {**EVENT, "kind": each},
                {"token": each},
                [EVENT, {**EVENT, "room": each}],
                {**EVENT, "traceparent": each},
                {**EVENT, "traceparent": TRACED, "event_id": each[:200]},
            ):
                async with session.post(f"{process.api_url}/v1/publish", json=body, headers=headers) as response:
                    await response.read()
            async with session.get(f"{process.api_url}/{each}?token={each}", headers=headers) as response:
                assert response.status == 404
        async with RawClient(process.api_url) as client:
            lines = [
                "POST /v1/publish HTTP/1.1",
                "Host: x",
                f"Authorization: Bearer {tokens[2]}",
                "Content-Length: 900",
            ]
            await client.send("\r\n".join([*lines, "", f'{{"token": "{tokens[0]}']).encode())
            client.cut()
