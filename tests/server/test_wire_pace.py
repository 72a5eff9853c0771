"""The wire's pace, on real loopback sockets: a slow reader gets fresh values, a quick one everything, and a stop shows.

Which client is which is told by its answers to pings, so each is made with the library as it comes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN

from actors.messages import Frame as TextFrame
from actors.messages import Writable
from actors.throttle import TokenBucket
from server.stall import unread

from .sockets import KIB, WAIT_S, Server, Side, connected, fill, pong, received, serving, until

pytestmark = pytest.mark.alone

FRAME = 250


def value(number: int) -> bytes:
    """Make a frame of about 250 bytes that tells when it was written."""
    text = json.dumps({"number": number, "at": time.monotonic(), "filling": "x" * 180})
    return bytes(Frame(Opcode.TEXT, text.encode()).serialize(mask=False))


async def publish(side: Side, *, every_value: bool) -> None:
    """Write the newest value all the time; of one that waits until a client has room, only the newest is left."""
    number = 0
    while side.connection.protocol.state is OPEN:
        for _ in range(10):
            if side.wire.paused and every_value:
                break
            number += 1
            if not side.wire.paused:
                side.wire.write(value(number))
        await asyncio.sleep(0.001)


@asynccontextmanager
async def client_of(server: Server, *, every_value: bool = False) -> AsyncIterator[tuple[ClientConnection, Side]]:
    """Connect a client with the library's defaults, to which values are written without end."""
    async with connect(server.url) as client:
        side = await server.side()
        publishing = asyncio.create_task(publish(side, every_value=every_value))
        try:
            yield client, side
        finally:
            publishing.cancel()
            client.transport.abort()


async def read(client: ClientConnection, seconds: float, *, per_s: float = 0.0) -> list[tuple[int, float]]:
    """Read for a while, so many times a second (0: as fast as it goes); return numbers and ages."""
    got, until_s = [], time.monotonic() + seconds
    while time.monotonic() < until_s:
        message = await received(client)
        got.append((message["number"], time.monotonic() - message["at"]))
        if per_s:
            await asyncio.sleep(1 / per_s)  # this is how slow it is
    return got


async def quick(client: ClientConnection, side: Side) -> None:
    """Read until the client counts as one that keeps up."""
    while side.wire.written < 256 * KIB:
        await received(client)


# --- who reads slowly


async def test_a_client_that_reads_10_frames_a_second_sees_values_of_the_last_2_seconds() -> None:
    async with serving() as server, client_of(server) as (client, side):
        await read(client, 6.0, per_s=10.0)
        got = await read(client, 4.0, per_s=10.0)
        assert max(age for _, age in got) < 2.0
        assert len(got) > 20, "and it gets most of what it can take"
        assert not side.wire.cut
        assert side.wire.stuck or not side.wire.paused


async def test_a_client_that_takes_seconds_for_what_it_has_is_not_cut() -> None:
    """Once it was seen to: its library reads nothing for longer than the stall time, and that is all that shows."""
    async with serving(stall_s=0.5) as server, client_of(server) as (client, side):
        await read(client, 1.0, per_s=40.0)
        await read(client, 3.5, per_s=14.0)
        assert not side.wire.cut


async def test_a_slow_client_keeps_little_of_its_stream_out_of_reach() -> None:
    async with serving() as server, client_of(server) as (client, side):
        await received(client)
        await until(lambda: side.wire.stuck)
        assert side.wire.paused
        assert 0 < side.wire.room < 1 * KIB
        assert side.wire.under_way < 64 * KIB


async def test_values_give_way_for_a_slow_client_even_at_its_turn() -> None:
    """A batch that comes just then may be far more than it is written: the newest of it counts."""
    async with serving() as server, connect(server.url) as client:
        side = await server.side()
        publishing = asyncio.create_task(publish(side, every_value=False))
        await until(lambda: side.wire.stuck)
        publishing.cancel()
        reading = asyncio.create_task(read(client, WAIT_S))
        await until(lambda: not side.wire.paused)
        reading.cancel()
        assert side.wire.stuck
        assert side.wire.room < 4 * KIB


# --- who reads quickly


async def test_a_client_that_reads_everything_gets_everything() -> None:
    async with serving() as server, client_of(server, every_value=True) as (client, side):
        got = await read(client, 2.0)
        assert [number for number, _ in got] == list(range(1, len(got) + 1))
        assert len(got) > 2_000
        assert not side.wire.cut


async def test_a_client_is_told_when_it_may_be_written_more() -> None:
    async with serving() as server, connected(server) as (client, side):
        side.wire.write(b"".join(pong(number, 1 * KIB) for number in range(3)))
        await until(lambda: side.wire.room < 64 * KIB)  # it has answered the first ping
        side.ear.heard.clear()
        side.wire.write(pong(3, side.wire.room))
        assert (side.wire.paused, side.wire.stuck) == (True, False)
        await until(lambda: side.ear.of(Writable))
        assert (side.wire.paused, side.wire.stuck) == (False, False)
        assert [(await received(client))["id"] for _ in range(4)] == [0, 1, 2, 3]


async def test_without_pings_to_spare_clients_that_keep_up_are_taken_at_their_word() -> None:
    none = TokenBucket(per_s=1e-9, burst=0.0, now=0.0)
    async with serving(checks=none) as server, client_of(server, every_value=True) as (client, side):
        await read(client, 1.0)
        assert side.wire._pacer is not None
        assert side.wire._pacer.pace._number < 50


async def test_a_client_with_little_to_read_costs_no_pace() -> None:
    async with serving() as server, connected(server) as (client, side):
        side.wire.write(pong(1))
        await received(client)
        assert side.wire._pacer is None


# --- who does not answer


@asynccontextmanager
async def mute(server: Server) -> AsyncIterator[tuple[asyncio.StreamReader, Side]]:
    """Connect a client that only counts bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    try:
        await reader.readuntil(b"\r\n\r\n")
        yield reader, await server.side()
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_client_that_answers_no_pings_is_not_held() -> None:
    async with serving(stall_s=0.3) as server, mute(server) as (reader, side):
        count, started = 0, time.monotonic()
        while time.monotonic() - started < 1.0:
            side.wire.write(value(0) * 100)
            assert side.wire.room > 1 << 60
            async with asyncio.timeout(WAIT_S):
                count += len(await reader.read(1 << 20))
        assert count > 64 * KIB
        assert not side.wire.cut


async def test_a_client_that_answers_no_pings_and_stops_is_cut_as_before() -> None:
    async with serving(stall_s=0.3) as server, mute(server) as (_, side):
        await fill(side)
        async with asyncio.timeout(WAIT_S):
            await side.connection.wait_closed()
        assert side.connection.stalled


# --- who stops


@pytest.mark.parametrize("stall_s", [0.5, 1.0])
async def test_a_client_that_stops_reading_is_cut_in_its_time_and_a_second(stall_s: float) -> None:
    async with serving(stall_s=stall_s) as server, client_of(server) as (client, side):
        await quick(client, side)
        client.transport.pause_reading()
        started = time.monotonic()
        async with asyncio.timeout(WAIT_S):
            await side.connection.wait_closed()
        assert stall_s * 0.9 < time.monotonic() - started < stall_s + 1.5
        assert side.connection.stalled
        assert side.wire.cut


async def test_a_client_that_stops_while_little_is_written_is_not_cut_for_it() -> None:
    async with serving(stall_s=0.2) as server, connected(server) as (client, side):
        for number in range(100):
            side.wire.write(pong(number, FRAME))
            await received(client)
        client.transport.pause_reading()
        side.wire.write(pong(100))
        await asyncio.sleep(1.0)  # five times the stall time
        assert not side.wire.cut


# --- ourselves


async def test_when_we_stand_still_for_2_seconds_a_quick_client_is_not_slow() -> None:
    async with serving() as server, client_of(server, every_value=True) as (client, side):
        await quick(client, side)
        time.sleep(2.0)  # noqa: ASYNC251 - the loop is what is blocked
        await read(client, 1.0)
        assert not side.wire.stuck
        assert side.wire.room > 4 * KIB or side.wire.paused


# --- pings and pongs of others


async def test_pongs_to_our_pings_are_no_flood() -> None:
    """More than the 300 at once and 50 a second that a client may send of its own accord."""
    plenty = TokenBucket(per_s=1e6, burst=1e6, now=0.0)
    async with serving(checks=plenty) as server, client_of(server, every_value=True) as (client, side):
        started = time.monotonic()
        while side.wire._pacer is None or side.wire._pacer.pace._number < 300 + 60 * (time.monotonic() - started):
            await received(client)
            assert time.monotonic() - started < WAIT_S
        assert not side.connection.flooded
        assert side.connection._bucket is None


async def test_the_heartbeats_ping_goes_on_beside() -> None:
    async with serving() as server, client_of(server, every_value=True) as (client, side):
        await quick(client, side)
        reading = asyncio.create_task(read(client, 2.0))
        await until(lambda: not side.wire.paused)
        side.connection.ping_now()
        await until(lambda: not side.connection.silent)
        await reading


async def test_a_client_that_is_held_is_not_silent() -> None:
    """No heartbeat finds it: who stops is found by the stall timer."""
    async with serving() as server, client_of(server) as (client, side):
        await received(client)
        await until(lambda: side.wire.stuck)
        side.connection.heard = False
        assert side.wire.paused
        assert not side.connection.silent


async def fake_pongs(client: ClientConnection) -> None:
    for payload in (b"", b"\0\0\0\0", b"\0\0\0\7", b"\xff" * 4, b"x" * 125):
        await client.pong(payload)


async def pong_twice(client: ClientConnection) -> None:
    for _ in range(2):
        await client.pong(b"\0\0\0\1")


@pytest.mark.parametrize("pongs", [fake_pongs, pong_twice])
async def test_pongs_that_answer_nothing_do_nothing(pongs: Callable[[ClientConnection], Awaitable[None]]) -> None:
    async with serving() as server, connected(server) as (client, side):
        await pongs(client)
        await client.send("done")
        await until(lambda: side.ear.of(TextFrame))
        assert side.ear.only(TextFrame).text == "done"
        assert side.wire.room > 1 << 60
        side.wire.write(pong(1))
        assert (await received(client))["id"] == 1


# --- the kernel


async def test_the_kernel_is_not_given_megabytes_for_who_does_not_read() -> None:
    async with serving(stall_s=60.0) as server, connected(server, kernel_bytes=None) as (client, side):
        client.transport.pause_reading()
        await fill(side)
        assert unread(side.connection.transport) + side.connection.under_way < 1024 * KIB
