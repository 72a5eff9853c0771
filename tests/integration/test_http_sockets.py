"""Sockets of the HTTP API: none is held for long by who sends no whole request, and the log says when all are used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from server.app import Router
from server.http import heads

from ..native_client import WAIT_S

PROBE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def opened(router: Router) -> AsyncIterator[Streams]:
    """Open a socket to the API."""
    url = urlsplit(router.addresses.api_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answered(reader: asyncio.StreamReader) -> bytes:
    """Read one answer; return its status line."""
    async with asyncio.timeout(WAIT_S):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
        await reader.readexactly(length)
    return head.split(b"\r\n")[0]


async def cut(reader: asyncio.StreamReader) -> None:
    """Wait until the router closes the socket without a word."""
    async with asyncio.timeout(WAIT_S):
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            return


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost: 127.0", PROBE + PROBE[:-2]])
async def test_a_request_whose_head_does_not_come_holds_its_socket_for_a_while_only(
    router: Router, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """Nothing at all, half of the first head, and half of the second."""
    monkeypatch.setattr(heads, "HEAD_S", 0.2)
    monkeypatch.setattr(heads, "IDLE_S", 0.2)
    async with opened(router) as (reader, writer):
        writer.write(said)
        if said.startswith(PROBE):
            assert b"200" in await answered(reader)
        await cut(reader)
    monkeypatch.setattr(heads, "HEAD_S", 10.0)
    async with opened(router) as (reader, writer):
        writer.write(PROBE)
        assert b"200" in await answered(reader)


async def test_a_head_that_comes_a_byte_at_a_time_does_not_get_more_time(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the whole head that has to be there."""
    monkeypatch.setattr(heads, "HEAD_S", 0.3)
    async with opened(router) as (reader, writer):
        ended = asyncio.ensure_future(cut(reader))
        writer.write(PROBE[:-2] + b"X: ")
        while not ended.done():
            writer.write(b"x")
            await asyncio.wait((ended,), timeout=0.02)
        await ended


async def test_a_socket_is_kept_between_requests_and_while_one_is_answered(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time for the head does not count for the body, nor for the answer."""
    monkeypatch.setattr(heads, "HEAD_S", 0.3)
    body = b'{"room": "team:1", "kind": "a.b", "data": {}}'
    head = b"POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with opened(router) as (reader, writer):
        for _ in range(2):
            writer.write(head + body[:9])
            await asyncio.sleep(0.5)
            writer.write(body[9:])
            assert b"200" in await answered(reader)


async def test_the_log_says_once_that_all_sockets_are_used(router: Router, logged: list[dict[str, Any]]) -> None:
    """Whoever comes then is turned away; when one is free again it is served."""
    router._api._most_connections = 1
    async with opened(router) as (reader, writer):
        writer.write(PROBE)
        assert b"200" in await answered(reader)
        for _ in range(3):
            async with opened(router) as (turned_away, _):
                async with asyncio.timeout(WAIT_S):
                    assert b" 503 " in await turned_away.read()
    lines = [line for line in logged if line["event"] == "api_sockets_used_up"]
    assert [(line["log_level"], line["connections"]) for line in lines] == [("warning", 1)]
