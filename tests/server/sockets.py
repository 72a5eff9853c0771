"""Guarded connections on loopback sockets: both sides in the test's hands."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import serve

from actors import replies
from actors.pressure import Pressure
from server.protocols.native import NativeCodec, NativeDoor
from server.stall import WRITE_LIMIT
from server.wire import GuardedConnection, Wire
from tests.actors.house import Ear

__all__ = [
    "CODEC",
    "KIB",
    "WAIT_S",
    "Server",
    "Side",
    "connected",
    "fill",
    "pong",
    "received",
    "serving",
    "small_socket",
    "until",
]

WAIT_S = 10.0
CODEC = NativeCodec()
KIB = 1024


class Side(NamedTuple):
    """The server's side of one connection."""

    connection: GuardedConnection
    wire: Wire
    ear: Ear
    """Stands where the mailbox of the Connection actor would."""


class Server:
    """Accepts connections; `side()` is the next one's."""

    def __init__(self, port: int, sides: asyncio.Queue[Side]) -> None:
        self.url = f"ws://127.0.0.1:{port}"
        self.port = port
        self._sides = sides

    async def side(self) -> Side:
        async with asyncio.timeout(WAIT_S):
            return await self._sides.get()


@asynccontextmanager
async def serving(**attributes: Any) -> AsyncIterator[Server]:
    """Serve with a `GuardedConnection` of these attributes, as the listener does."""
    sides: asyncio.Queue[Side] = asyncio.Queue()

    async def handle(connection: Any) -> None:
        ear = Ear()
        sides.put_nowait(Side(connection, Wire(connection, ear, NativeDoor(), CODEC, Pressure()), ear))  # type: ignore[arg-type]  # it is only told
        await connection.wait_closed()

    async with serve(
        handle,
        "127.0.0.1",
        0,
        compression=None,
        ping_interval=None,
        close_timeout=0.5,
        write_limit=WRITE_LIMIT,
        create_connection=type("Guarded", (GuardedConnection,), attributes),
    ) as server:
        yield Server(server.sockets[0].getsockname()[1], sides)


def small_socket() -> socket.socket:
    """Make a socket into which little fits that nobody reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * KIB)
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def connected(
    server: Server, sock: socket.socket | None = None, kernel_bytes: int | None = 16 * KIB
) -> AsyncIterator[tuple[ClientConnection, Side]]:
    """Connect a client that takes little at a time; at the end it is cut without ceremony.

    `kernel_bytes` is what the kernel buffers on the server's side; None: what it likes, which may be megabytes.
    """
    sock = small_socket() if sock is None else sock
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
    client = await connect(server.url, sock=sock, compression=None, ping_interval=None, max_size=None, max_queue=None)
    side = await server.side()
    if kernel_bytes is not None:
        kernel = side.connection.transport.get_extra_info("socket")
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, kernel_bytes)
    try:
        yield client, side
    finally:
        client.transport.abort()
        await client.wait_closed()


def pong(number: int, size: int = 0) -> bytes:
    """Make a frame with a number in it."""
    return CODEC.encode(replies.Pong(id=number, time="x" * size))


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so, which nothing tells of."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


async def received(client: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(WAIT_S):
        message: dict[str, Any] = json.loads(await client.recv())
        return message


async def fill(side: Side) -> None:
    """Write until the socket takes no more, and some more that has to wait."""
    number = 0
    while not side.connection.paused:
        side.wire.write(pong(number, 8 * KIB))
        number += 1
        await asyncio.sleep(0)  # the loop gets to hand on what it can
