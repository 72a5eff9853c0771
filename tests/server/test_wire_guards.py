"""The wire's guards, on real loopback sockets: who does not read costs a bounded amount; who reads slowly stays."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN

from server.stall import WRITE_LIMIT
from server.wire import GuardedConnection

from .sockets import KIB, WAIT_S, connected, fill, pong, serving, small_socket, until

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


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no such option")
async def test_tcp_gives_a_peer_up_that_acknowledges_nothing_for_6_s() -> None:
    """Left alone, it would send again for a quarter of an hour."""
    async with serving() as server, connected(server) as (_, side):
        kernel = side.connection.transport.get_extra_info("socket")
        assert kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 6_000


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
        assert side.connection._stall_watch is None


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
        for _ in range(5):
            waiters = [await client.ping() for _ in range(50)]
            async with asyncio.timeout(WAIT_S):
                await asyncio.gather(*waiters)
        assert not side.wire.cut


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG])
async def test_a_flood_of_control_frames_is_cut_and_holds_nobody_up(opcode: Opcode) -> None:
    """Each read of one brings 40,000 frames: they are parsed a few at a time, and after 300 no more."""
    flood = Frame(opcode, b"").serialize(mask=True) * 40_000
    async with serving() as server, connected(server) as (client, side):
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            if not side.wire.cut:
                asyncio.get_running_loop().call_soon(turn)

        client.transport.write(flood)
        turn()
        await until(lambda: side.wire.cut)
        assert side.connection.flooded
        assert turns > 0


async def test_a_long_read_of_messages_is_taken_in_turns() -> None:
    """Others go on in between, and every message comes, in order."""
    text = Frame(Opcode.TEXT, b"x" * 100).serialize(mask=True)
    async with serving() as server, connected(server) as (client, side):
        side.connection.wire = None  # without one, messages wait to be received
        taken = []
        client.transport.write(text * 5_000)
        async with asyncio.timeout(WAIT_S):
            while len(taken) < 5_000:
                taken.append(await side.connection.recv())
        assert set(taken) == {"x" * 100}
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
        side.connection.wire = None  # without one, messages wait to be received
        for number in range(40):
            await client.send(str(number))
        await until(lambda: side.connection.recv_messages.paused)
        side.connection.ping_now()
        assert not side.connection.silent
