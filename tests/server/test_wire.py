"""The wire, on real loopback sockets: what it writes arrives, closes end, and reading stops when much is under way.

It goes past the library's own send; what that stands on is held against the installed library here.
"""

from __future__ import annotations

import asyncio
import zlib

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN

from actors.messages import Writable
from server.protocols.deflate import OFFER
from server.stall import WRITE_LIMIT

from .sockets import KIB, WAIT_S, connected, fill, pong, received, serving, until

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


async def test_with_compression_the_library_keeps_nothing_between_messages() -> None:
    """Neither a compressor, which our frames would go past, nor a window of what the client sent."""
    params, extension = OFFER.process_request_params([("client_max_window_bits", None)], [])
    assert params == [("server_no_context_takeover", None), ("client_no_context_takeover", None)]
    ping = Frame(Opcode.PING, b"x")
    assert extension.encode(ping) is ping
    deflater = zlib.compressobj(wbits=-15)
    sent = (deflater.compress(b"hello") + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert extension.decode(Frame(Opcode.TEXT, sent, rsv1=True)) == Frame(Opcode.TEXT, b"hello")
    assert not {"encoder", "decoder"} & vars(extension).keys()


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


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("x" * 122 + "ü", "x" * 122),
        ("x" + "\U0001f600" * 60, "x" + "\U0001f600" * 30),
    ],
    ids=["what fits", "one too many", "half of a letter", "emoji"],
)
async def test_a_reason_too_long_for_a_close_frame_is_cut_between_characters(reason: str, told: str) -> None:
    """The library refuses to send it whole: the socket stayed open, and its client heard nothing any more."""
    async with serving() as server, connected(server) as (client, side):
        side.wire.close(1011, reason)
        with pytest.raises(ConnectionClosed) as caught:
            await received(client)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1011, told)


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


@pytest.mark.parametrize("end", ["bad utf-8", "end of the stream"])
async def test_behind_what_ends_the_stream_nobody_sends_by_the_line(end: str) -> None:
    async with serving() as server, connected(server) as (client, side):
        side.wire.open_line()
        assert side.wire.open
        if end == "bad utf-8":
            client.transport.write(Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True))
        else:
            client.transport.write_eof()
        await until(lambda: not side.wire.open)
        side.wire.open_line()
        assert not side.wire.open
