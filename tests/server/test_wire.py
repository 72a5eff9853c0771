"""The wire, on real loopback sockets: what it writes arrives, and who does not read costs a bounded amount.

It goes past the library's own send; what that stands on is held against the installed library here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN

from actors import replies
from actors.messages import Writable
from server.protocols.native import NativeCodec
from server.wire import WRITE_LIMIT, GuardedConnection, Wire
from tests.actors.house import Ear

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
        sides.put_nowait(Side(connection, Wire(connection, ear), ear))  # type: ignore[arg-type]  # it is only told
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
    while not side.wire.paused:
        side.wire.write(pong(number, 8 * KIB))
        number += 1
        await asyncio.sleep(0)  # the loop gets to hand on what it can


# --- what the wire stands on


async def test_the_library_has_what_the_wire_uses() -> None:
    async with serving() as server, connected(server) as (_, side):
        connection = side.connection
        assert connection.protocol.state is OPEN
        assert isinstance(connection.transport, asyncio.Transport)
        assert connection.transport.get_write_buffer_size() == 0
        assert connection.paused is False
        assert connection.recv_messages.paused is False
        assert isinstance(connection.recv_messages.high, int)
        assert isinstance(connection.recv_messages.low, int)
        assert connection.request is not None
        assert connection.response is not None
        assert isinstance(connection.loop, asyncio.AbstractEventLoop)


async def test_without_compression_no_extension_changes_our_frames() -> None:
    async with serving() as server, connected(server) as (_, side):
        assert side.connection.protocol.extensions == []


async def test_frames_written_past_the_library_arrive_whole_and_in_order() -> None:
    async with serving() as server, connected(server) as (client, side):
        side.wire.write(pong(1) + pong(2))
        side.wire.write(pong(3, 70 * KIB))
        assert [(await received(client))["id"] for _ in range(3)] == [1, 2, 3]


async def test_frames_and_the_librarys_own_answers_do_not_mix() -> None:
    async with serving() as server, connected(server) as (client, side):
        waiters = []
        for number in range(50):
            side.wire.write(pong(number, 2 * KIB))
            waiters.append(await client.ping())
        assert [(await received(client))["id"] for _ in range(50)] == list(range(50))
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*waiters)


async def test_the_guards_are_told_by_the_library_when_the_socket_is_full_and_when_not() -> None:
    async with serving(stall_s=60.0) as server, connected(server) as (client, side):
        client.transport.pause_reading()
        await fill(side)
        assert side.connection.paused
        assert side.wire.buffered > WRITE_LIMIT
        assert side.ear.of(Writable) == []
        client.transport.resume_reading()
        await until(lambda: side.ear.of(Writable))
        assert not side.wire.paused
        assert not side.connection.paused


async def test_the_handshake_is_let_go_of() -> None:
    async with serving() as server, connected(server) as (client, side):
        side.connection.forget_request()
        assert side.connection.request is not None
        assert len(side.connection.request.headers) == 0
        assert side.connection.response is None
        side.wire.write(pong(1))
        assert (await received(client))["id"] == 1


# --- closing


async def test_a_close_follows_what_was_written() -> None:
    async with serving() as server, connected(server) as (client, side):
        side.wire.write(pong(1))
        side.wire.close(4002, "slow_consumer")
        assert (await received(client))["id"] == 1
        with pytest.raises(ConnectionClosed) as caught:
            await received(client)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4002, "slow_consumer")


async def test_after_the_close_nothing_is_written() -> None:
    async with serving() as server, connected(server) as (client, side):
        side.wire.close(4009, "")
        side.wire.write(pong(1))
        with pytest.raises(ConnectionClosed):
            await received(client)


async def test_the_first_reason_to_close_counts() -> None:
    async with serving() as server, connected(server) as (client, side):
        side.wire.close(4009, "first")
        side.wire.close(1011, "second")
        assert side.wire.close_code == 4009
        with pytest.raises(ConnectionClosed) as caught:
            await received(client)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.reason == "first"


async def test_writing_to_a_socket_that_is_gone_is_harmless() -> None:
    async with serving() as server, connected(server) as (client, side):
        client.transport.abort()
        await side.connection.wait_closed()
        side.wire.write(pong(1))
        side.wire.close(1001, "")
        await asyncio.wait_for(side.connection.wait_closed(), WAIT_S)


async def test_a_client_that_does_not_take_part_in_the_close_is_cut() -> None:
    """The library alone would wait for ever: for its time-out to begin, the close frame must leave the buffer."""
    async with serving(stall_s=60.0, close_s=0.2) as server, connected(server) as (client, side):
        client.transport.pause_reading()
        await fill(side)
        side.wire.close(4002, "slow_consumer")
        async with asyncio.timeout(WAIT_S):
            await side.connection.wait_closed()


# --- who does not read


async def test_a_stalled_reader_is_cut_after_its_time() -> None:
    async with serving(stall_s=0.3) as server, connected(server) as (client, side):
        client.transport.pause_reading()
        await fill(side)
        started = time.monotonic()
        async with asyncio.timeout(WAIT_S):
            await side.connection.wait_closed()
        assert 0.2 < time.monotonic() - started < 3.0
        assert side.connection.stalled
        assert side.wire.cut


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what their kernel holds")
@pytest.mark.parametrize("kernel_bytes", [16 * KIB, None])
async def test_a_client_that_reads_slowly_is_not_cut(kernel_bytes: int | None) -> None:
    """It takes many times the stall time for what waits, and takes some of it all the while."""
    sock, read = small_socket(), 0
    async with serving(stall_s=0.25) as server, connected(server, sock, kernel_bytes) as (client, side):
        client.transport.pause_reading()  # the test reads in its place
        side.wire.write(b"".join(pong(number, 64 * KIB) for number in range(64)))
        started = time.monotonic()
        while read < 1024 * KIB:
            with contextlib.suppress(BlockingIOError):
                read += len(sock.recv(16 * KIB))
            assert not side.wire.cut, f"cut with {side.wire.buffered} bytes left"
            assert time.monotonic() - started < WAIT_S
            await asyncio.sleep(0.02)  # this is how slow it is
        assert time.monotonic() - started > 4 * 0.25
        assert side.connection.protocol.state is OPEN


async def test_a_client_that_catches_up_is_watched_no_more() -> None:
    async with serving(stall_s=0.2) as server, connected(server) as (client, side):
        client.transport.pause_reading()
        await fill(side)
        client.transport.resume_reading()
        await until(lambda: not side.wire.paused)
        waiter = await client.ping()
        async with asyncio.timeout(WAIT_S):
            await waiter
        assert side.connection._stall_timer is None


async def test_a_flood_of_pings_is_cut_at_the_limit() -> None:
    limit = 128 * KIB
    worst = 0

    def measured(connection: GuardedConnection, data: bytes) -> None:
        nonlocal worst
        GuardedConnection.data_received(connection, data)
        worst = max(worst, connection.transport.get_write_buffer_size())

    async with (
        serving(stall_s=60.0, buffer_limit=limit, data_received=measured) as server,
        connected(server) as (client, side),
    ):
        client.transport.pause_reading()
        ping = bytes(Frame(Opcode.PING, b"x" * 125).serialize(mask=True))
        deadline = time.monotonic() + WAIT_S
        while not side.wire.cut:
            assert time.monotonic() < deadline, "it was never cut"
            if client.transport.get_write_buffer_size() < 256 * KIB:
                client.transport.write(ping * 500)
            await asyncio.sleep(0)
        assert worst < 2 * WRITE_LIMIT + limit + 512 * KIB


async def test_a_client_that_sends_pings_and_reads_the_answers_is_not_cut() -> None:
    async with serving(buffer_limit=16 * KIB) as server, connected(server) as (client, side):
        for _ in range(20):
            waiters = [await client.ping() for _ in range(50)]
            async with asyncio.timeout(WAIT_S):
                await asyncio.gather(*waiters)
        assert not side.wire.cut


# --- pings of ours


async def test_a_ping_is_answered_and_the_client_is_not_silent() -> None:
    async with serving() as server, connected(server) as (_, side):
        side.connection.ping_now()
        assert side.connection.silent
        await until(lambda: not side.connection.silent)


async def test_a_client_that_answers_nothing_is_silent() -> None:
    async with serving() as server, connected(server) as (client, side):
        client.transport.pause_reading()
        side.connection.ping_now()
        assert side.connection.silent


async def test_whatever_a_client_sends_answers_the_ping() -> None:
    async with serving() as server, connected(server) as (client, side):
        side.connection.heard = False
        await client.send("hello")
        await until(lambda: not side.connection.silent)


async def test_a_client_that_was_behind_at_its_ping_is_not_silent_when_it_has_caught_up() -> None:
    """No ping went out, so there is none to answer: it would be cut though it is well."""
    async with serving(stall_s=60.0) as server, connected(server) as (client, side):
        client.transport.pause_reading()
        await fill(side)
        side.connection.ping_now()
        client.transport.resume_reading()
        await until(lambda: not side.wire.paused)
        assert not side.connection.silent


async def test_while_we_do_not_read_a_client_is_not_silent() -> None:
    async with serving() as server, connected(server) as (client, side):
        for number in range(40):
            await client.send(str(number))
        await until(lambda: side.connection.recv_messages.paused)
        side.connection.ping_now()
        assert not side.connection.silent


# --- how much may be under way


async def test_reading_stops_when_64_things_are_under_way_and_goes_on_at_half() -> None:
    async with serving() as server, connected(server) as (_, side):
        for _ in range(63):
            side.wire.begin()
        assert not side.wire.busy
        side.wire.begin()
        assert side.wire.busy
        waiting = asyncio.ensure_future(side.wire.caught_up())
        await asyncio.sleep(0)
        for _ in range(31):
            side.wire.done()
        await asyncio.sleep(0)
        assert not waiting.done()
        side.wire.done()
        await asyncio.wait_for(waiting, WAIT_S)


async def test_services_may_have_more_under_way() -> None:
    async with serving() as server, connected(server) as (_, side):
        side.wire.trust()
        for _ in range(1023):
            side.wire.begin()
        assert not side.wire.busy
        assert side.connection.recv_messages.high == 1024


async def test_with_little_under_way_nobody_waits() -> None:
    async with serving() as server, connected(server) as (_, side):
        side.wire.begin()
        await asyncio.wait_for(side.wire.caught_up(), WAIT_S)


async def test_nobody_waits_for_a_socket_that_is_gone() -> None:
    async with serving() as server, connected(server) as (client, side):
        for _ in range(64):
            side.wire.begin()
        waiting = asyncio.ensure_future(side.wire.caught_up())
        await asyncio.sleep(0)
        client.transport.abort()
        await asyncio.wait_for(waiting, WAIT_S)
        assert not side.wire.busy
