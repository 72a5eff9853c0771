"""Bad networks and bad peers: a slow line that tears messages apart, and a client that falls silent."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from websockets.frames import Frame, Opcode

from ..native_client import WAIT_S

__all__ = ["PING_FRAME", "Relay", "SilentPeer", "silent_peer", "slow_network"]

_RELAYED_BYTES = 4096
PING_FRAME = bytes(Frame(Opcode.PING, b"").serialize(mask=False))


@asynccontextmanager
async def slow_network(url: str, *, delay_s: float, seed: int) -> AsyncIterator[str]:
    """Put a slow line before a WebSocket address.

    Every byte arrives late by between half of `delay_s` and all of it, never before one that was sent earlier, and
    what was sent in one piece arrives in many: cut anywhere, in the middle of frames and of characters.

    Args:
        url: `ws://HOST:PORT/PATH` of the router.
        delay_s: The longest delay of each direction, in seconds.
        seed: Where the pieces and delays begin; the same seed cuts alike.

    Yields:
        The address at this end of the line.
    """
    parts = urlsplit(url)
    chance = random.Random(seed)
    lines: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def take_in() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    under_way.put_nowait((loop.time() + delay_s * chance.uniform(0.5, 1.0), data))
            under_way.put_nowait((loop.time() + delay_s, b""))

        taking_in = asyncio.create_task(take_in())
        try:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not data:
                    return
                while data:
                    size = chance.randint(1, max(2, len(data) // 3))
                    writer.write(data[:size])
                    await writer.drain()
                    await asyncio.sleep(0)  # the next piece is a packet of its own
                    data = data[size:]
        finally:
            taking_in.cancel()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
        directions = [
            asyncio.create_task(carry(reader, far_writer)),
            asyncio.create_task(carry(far_reader, writer)),
        ]
        lines.update(directions)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for each in (writer, far_writer):
            each.close()
            with contextlib.suppress(ConnectionError):
                await each.wait_closed()
        for direction in directions:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
        lines.difference_update(directions)

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"ws://127.0.0.1:{port}{parts.path}"
    finally:
        server.close()
        async with asyncio.timeout(WAIT_S):
            while lines:
                await asyncio.wait(lines)
                await asyncio.sleep(0)


class Relay:
    """A line to a server that can be cut, stopped, or led to another one; its own address stays.

    Args:
        url: Of the server, a router's `ws://HOST:PORT/PATH` or a NATS server's `nats://HOST:PORT`.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._ends: set[asyncio.StreamWriter] = set()
        self._lines: set[asyncio.Task[None] | None] = set()
        self._flowing, self._returning = asyncio.Event(), asyncio.Event()
        self.go_on()
        self._server: asyncio.Server
        self.url = ""

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.url = f"{self._parts.scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self._parts.path}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.go_on()
        self._server.close()
        self.cut()
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*filter(None, self._lines))

    def lead_to(self, url: str) -> None:
        """Have those who connect from now on come to another router."""
        self._parts = urlsplit(url)

    def cut(self) -> None:
        """Reset every connection, on both sides, with what is under way."""
        for end in self._ends:
            end.transport.abort()

    def stop(self, *, both: bool = False) -> None:
        """Carry nothing any more to the clients, and take nothing for them from the server; `both`: nor from them."""
        self._flowing.clear()
        if both:
            self._returning.clear()

    def go_on(self) -> None:
        """Carry on."""
        self._flowing.set()
        self._returning.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        self._lines.add(line)
        try:
            await self._join(reader, writer)
        finally:
            self._lines.discard(line)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(
                self._parts.hostname, self._parts.port, limit=_RELAYED_BYTES
            )
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._ends |= ends
        try:
            await asyncio.gather(
                self._carry(reader, far_writer, self._returning), self._carry(far_reader, writer, self._flowing)
            )
        finally:
            self._ends -= ends

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await flowing.wait()
                data = await reader.read(_RELAYED_BYTES)
                await flowing.wait()
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


class SilentPeer:
    """A client that has said hello and answers nothing any more, no ping either."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def end(self) -> bytes:
        """Return everything that came until the router cut the connection."""
        received = b""
        async with asyncio.timeout(WAIT_S):
            with contextlib.suppress(ConnectionResetError):
                while data := await self._reader.read(65536):
                    received += data
        return received


@asynccontextmanager
async def silent_peer(url: str) -> AsyncIterator[SilentPeer]:
    """Connect, say hello, and fall silent."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    request = [
        f"GET {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
    ]
    writer.write(("\r\n".join(request) + "\r\n\r\n").encode())
    try:
        async with asyncio.timeout(WAIT_S):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
            hello = json.dumps({"type": "hello", "id": 1}).encode()
            writer.write(Frame(Opcode.TEXT, hello).serialize(mask=True))
            await reader.readuntil(b'"type":"welcome"')
        yield SilentPeer(reader)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
