"""A WebSocket client made of bytes, for what no library would send: wrong handshakes and wrong frames."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from .native_client import WAIT_S, Message

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "RawClient",
    "fragments",
    "frame",
    "join_and_vanish",
    "small_socket",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bool = True, width: int = 0
) -> bytes:
    """Make one frame (RFC 6455, 5.2), a right one unless asked otherwise.

    `width`: bytes of the extended length, 2 or 8; 0: what it needs.
    """
    head = bytes([(0x80 if fin else 0) | (reserved << 4) | opcode])
    masked = 0x80 if mask else 0
    if len(payload) < 126 and not width:
        head += bytes([masked | len(payload)])
    elif len(payload) < 65536 and width < 8:
        head += bytes([masked | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([masked | 127]) + struct.pack("!Q", len(payload))
    if not mask:
        return head + payload
    key = os.urandom(4)
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")


def fragments(payload: bytes, cuts: Iterable[int], opcode: int = TEXT, reserved: int = 0) -> list[bytes]:
    """Return the frames of one message, cut at these places."""
    ends = [*sorted(cuts), len(payload)]
    begins = [0, *ends[:-1]]
    return [
        frame(
            CONTINUATION if number else opcode,
            payload[begin:end],
            fin=number == len(ends) - 1,
            reserved=0 if number else reserved,
        )
        for number, (begin, end) in enumerate(zip(begins, ends, strict=True))
    ]


class RawClient:
    """One TCP connection to the router's WebSocket port.

    Args:
        url: `ws://HOST:PORT/v1/ws`.
        receive_bytes: How much the system takes in that is not read yet; None: what is usual, which is megabytes.
    """

    def __init__(self, url: str, *, receive_bytes: int | None = None) -> None:
        self._receive_bytes = receive_bytes
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 0
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> RawClient:
        if self._receive_bytes is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        else:
            sock = await small_socket(self.host, self.port, self._receive_bytes)
            self._reader, self._writer = await asyncio.open_connection(sock=sock)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def request(self, *headers: str, path: str = "/v1/ws", host: str | None = None) -> tuple[int, Message, bytes]:
        """Ask for `path` with these headers and no others but `Host`; return status, headers and body."""
        lines = [f"GET {path} HTTP/1.1", f"Host: {host or f'{self.host}:{self.port}'}", *headers, "", ""]
        await self.send("\r\n".join(lines).encode())
        return await self.response()

    async def upgrade(self, *headers: str, path: str = "/v1/ws", host: str | None = None) -> tuple[int, Message, bytes]:
        """Ask for a WebSocket; return status, headers and body of the answer."""
        key = base64.b64encode(os.urandom(16)).decode()
        wanted = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}")
        return await self.request(*wanted, *headers, path=path, host=host)

    async def response(self) -> tuple[int, Message, bytes]:
        """Read one HTTP response; header names are in lower case."""
        async with asyncio.timeout(WAIT_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
            return int(head[0].split()[1]), headers, body

    async def open(self, *headers: str, hello: bool = True) -> RawClient:
        """Open a WebSocket, which must succeed, and say hello."""
        status, _, body = await self.upgrade(*headers)
        assert status == 101, body
        if hello:
            await self.command("hello", id=0)
            assert (await self.message())["type"] == "welcome"
        return self

    async def command(self, type: str, **fields: Any) -> None:
        """Send a command as one right text frame."""
        await self.send(frame(TEXT, json.dumps({"type": type, **fields}).encode()))

    async def read(self) -> tuple[int, bytes]:
        """Read one frame, which is whole and not compressed; return its opcode and payload."""
        first, payload = await self.read_frame()
        assert first & 0xF0 == 0x80, hex(first)
        return first & 0x0F, payload

    async def read_frame(self) -> tuple[int, bytes]:
        """Read one frame; return its first byte and payload. The router's are never masked."""
        async with asyncio.timeout(WAIT_S):
            first, second = await self._reader.readexactly(2)
            assert second & 0x80 == 0, "masked"
            length = second
            if second == 126:
                (length,) = struct.unpack("!H", await self._reader.readexactly(2))
            elif second == 127:
                (length,) = struct.unpack("!Q", await self._reader.readexactly(8))
            return first, await self._reader.readexactly(length)

    async def message(self) -> Message:
        """Read the next message; pings are answered on the way."""
        while True:
            opcode, payload = await self.read()
            if opcode == PING:
                await self.send(frame(PONG, payload))
                continue
            assert opcode == TEXT, (opcode, payload)
            message: Message = json.loads(payload)
            return message

    async def closed(self) -> int | None:
        """Read up to the close frame, answer it and wait for the end; return its code (None: cut without one)."""
        try:
            while True:
                opcode, payload = await self.read()
                if opcode == CLOSE:
                    break
            await self.send(frame(CLOSE, payload))
            await self.ended()
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return int.from_bytes(payload[:2], "big") if payload else 1005

    async def ended(self) -> bytes:
        """Wait until the router has closed the TCP connection; return what came before."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    def half_close(self) -> None:
        """Say that nothing more will be sent, and go on reading."""
        self._writer.write_eof()

    def stop_reading(self) -> None:
        """Take nothing more from the socket."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can be read from

    def resume_reading(self) -> None:
        """Read on."""
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]  # likewise

    def cut(self) -> None:
        """Reset the TCP connection."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


async def small_socket(host: str, port: int, receive_bytes: int) -> socket.socket:
    """Connect a socket for which the kernel keeps little, so that not reading shows soon."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def join_and_vanish(url: str, number: int) -> list[str]:
    """Connect, say hello, subscribe, and reset the connection: at once, after the upgrade, or when it is subscribed.

    Args:
        url: Of the router.
        number: Chooses the moment, and the room: every other one has a room of its own.

    Returns:
        The types of the messages that were waited for.
    """
    hello = frame(TEXT, b'{"type": "hello"}')
    room = number if number % 8 < 4 else number % 50
    subscribe = frame(TEXT, b'{"type": "subscribe", "room": "doc:%d"}' % room)
    async with RawClient(url) as client:
        moment = number % 4
        if moment == 0:
            await client.send(
                b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + hello + subscribe
            )
            seen = []
        else:
            await client.open(hello=False)
            await client.send(hello + subscribe)
            seen = [(await client.message())["type"] for _ in range(moment - 1)]
        client.cut()
        return seen
