"""Compression of `postroom.v1`: who asks reads deflated events, next to those who do not; bombs do not go off."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from server.app import Router

from ..conftest import running_router
from ..native_client import NativeClient
from ..raw_client import CONTINUATION, PING, PONG, TEXT, RawClient, frame

CHROMIUM = "permessage-deflate; client_max_window_bits"
FIREFOX = "permessage-deflate"
BOTH_RESET = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
ROOM = "session:1"
DEFLATED = 0b100
"""RSV1, among the reserved bits of a frame."""
MIB = 1024 * 1024


@pytest.fixture
async def compressing() -> AsyncIterator[Router]:
    """A router with compression on."""
    async with running_router(dev=True, compression=("postroom.v1",)) as router:
        yield router


def deflated(text: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def message(first: int, payload: bytes) -> dict[str, object]:
    """Read a text frame that may be deflated."""
    assert first in (0x81, 0xC1)
    text = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff") if first == 0xC1 else payload
    decoded: dict[str, object] = json.loads(text)
    return decoded


async def next_text(client: RawClient) -> tuple[int, bytes]:
    """Return the first byte and the payload of the next text frame; pings are answered on the way."""
    while True:
        first, payload = await client.read_frame()
        if first & 0x0F != PING:
            return first, payload
        await client.send(frame(PONG, payload))


async def publish(client: NativeClient, current: int) -> None:
    data = {"current": current, "total": 100, "message": "Importing customers.csv, which has a hundred rows"}
    answer = await client.ask("publish", room=ROOM, kind="progress", data=data)
    assert answer["type"] == "published"


@asynccontextmanager
async def subscribed(router: Router, *headers: str) -> AsyncIterator[RawClient]:
    async with RawClient(router.addresses.ws_url) as client:
        await client.open(*headers)
        await client.command("subscribe", id=1, room=ROOM)
        assert (await client.message())["type"] == "subscribed"
        yield client


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (CHROMIUM, BOTH_RESET),
        (FIREFOX, BOTH_RESET),
        (BOTH_RESET, BOTH_RESET),
        ("permessage-deflate; server_max_window_bits=9", f"{BOTH_RESET}; server_max_window_bits=9"),
        (
            "permessage-deflate; server_max_window_bits=15; client_max_window_bits=8",
            f"{BOTH_RESET}; server_max_window_bits=15; client_max_window_bits=8",
        ),
        ("permessage-deflate; server_max_window_bits=8", None),  # zlib cannot
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", BOTH_RESET),
        ("permessage-deflate; unheard_of", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("x-webkit-deflate-frame, permessage-bzip2, " + CHROMIUM, BOTH_RESET),
        ("permessage-deflate, permessage-deflate", BOTH_RESET),
    ],
)
async def test_an_offer_is_taken_with_both_sides_reset_or_not_at_all(
    compressing: Router, offer: str, answer: str | None
) -> None:
    """Who cannot be served compressed is served plain, in the same room."""
    async with (
        subscribed(compressing, f"Sec-WebSocket-Extensions: {offer}") as client,
        NativeClient(compressing.addresses.ws_url) as publisher,
    ):
        await publish(publisher, 1)
        first, payload = await next_text(client)
        assert first == (0x81 if answer is None else 0xC1)
        assert message(first, payload)["offset"] == 1
    async with RawClient(compressing.addresses.ws_url) as other:
        _, headers, _ = await other.upgrade(f"Sec-WebSocket-Extensions: {offer}")
        assert headers.get("sec-websocket-extensions") == answer


async def test_all_who_negotiated_the_same_get_the_same_bytes_and_the_others_theirs(compressing: Router) -> None:
    """At the same time, in the same order."""
    async with (
        subscribed(compressing, f"Sec-WebSocket-Extensions: {CHROMIUM}") as one,
        subscribed(compressing, f"Sec-WebSocket-Extensions: {FIREFOX}") as other,
        subscribed(compressing) as plain,
        NativeClient(compressing.addresses.ws_url) as publisher,
    ):
        for current in range(20):
            await publish(publisher, current)
        for offset in range(1, 21):
            first, same, as_it_is = [await next_text(client) for client in (one, other, plain)]
            assert first == same
            assert (first[0], as_it_is[0]) == (0xC1, 0x81)
            assert message(*first) == message(*as_it_is)
            assert message(*as_it_is)["offset"] == offset
            assert len(first[1]) < len(as_it_is[1])


@pytest.mark.parametrize(
    "factory",
    [
        ClientPerMessageDeflateFactory(),
        ClientPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True),
        ClientPerMessageDeflateFactory(server_max_window_bits=10, client_max_window_bits=10),
    ],
)
async def test_the_websockets_library_understands_it(
    compressing: Router, factory: ClientPerMessageDeflateFactory
) -> None:
    """With its own offer and others: commands, events, filters, pings, history and the close."""
    async with (
        connect(compressing.addresses.ws_url, proxy=None, extensions=[factory], compression=None) as socket,
        NativeClient(compressing.addresses.ws_url) as publisher,
        asyncio.timeout(10),
    ):
        assert len(socket.protocol.extensions) == 1
        await socket.send('{"type": "hello"}')
        await publish(publisher, 0)
        await socket.send(json.dumps({"type": "subscribe", "id": 1, "room": ROOM, "history": 1, "kinds": ["progress"]}))
        for current in range(1, 50):
            await publish(publisher, current)
        offsets = []
        while len(offsets) < 50:
            received = json.loads(await socket.recv())
            if received["type"] == "event":
                offsets.append(received["offset"])
        assert offsets == list(range(1, 51))
        await (await socket.ping())
        await socket.close()
        assert socket.close_code == 1000


async def test_the_default_client_of_the_websockets_library_negotiates_it(compressing: Router) -> None:
    async with connect(compressing.addresses.ws_url, proxy=None) as socket, asyncio.timeout(10):
        assert len(socket.protocol.extensions) == 1
        await socket.send('{"type": "hello", "client": {"name": "' + "a" * 1000 + '", "version": "1"}}')
        assert json.loads(await socket.recv())["type"] == "welcome"


async def test_a_client_may_compress_what_it_sends(compressing: Router) -> None:
    """A whole message or its fragments, or not at all, with pings between."""
    text = json.dumps({"type": "ping", "id": 7, "pad": "x" * 500}).encode()
    async with RawClient(compressing.addresses.ws_url) as client:
        await client.open(f"Sec-WebSocket-Extensions: {CHROMIUM}")
        data = deflated(text)
        for sent in (
            frame(TEXT, data, reserved=DEFLATED),
            frame(TEXT, text),
            frame(TEXT, data[:9], fin=False, reserved=DEFLATED) + frame(CONTINUATION, data[9:]),
        ):
            await client.send(sent)
            assert (await client.message())["type"] == "pong"
        await client.send(frame(TEXT, data[:9], fin=False, reserved=DEFLATED) + frame(PING, b"!"))
        assert await client.read() == (PONG, b"!")
        await client.send(frame(CONTINUATION, data[9:]))
        assert (await client.message())["id"] == 7


async def test_what_is_not_deflate_ends_the_connection(compressing: Router) -> None:
    async with RawClient(compressing.addresses.ws_url) as client:
        await client.open(f"Sec-WebSocket-Extensions: {CHROMIUM}")
        await client.send(frame(TEXT, b"\xff" * 50, reserved=DEFLATED))
        assert await client.closed() == 1002


async def test_without_the_extension_a_compressed_frame_is_an_error(compressing: Router) -> None:
    async with RawClient(compressing.addresses.ws_url) as client:
        await client.open()
        await client.send(frame(TEXT, deflated(b'{"type": "ping"}'), reserved=DEFLATED))
        assert await client.closed() == 1002


@pytest.mark.parametrize("fragments", [1, 5])
async def test_a_message_may_not_grow_beyond_its_limit(compressing: Router, fragments: int) -> None:
    """60 KiB that would become 60 MiB: 1009, and no memory for them."""
    bomb = deflated(b" " * 60 * MIB)
    assert len(bomb) < 65_536
    step = -(-len(bomb) // fragments)
    parts = [bomb[at : at + step] for at in range(0, len(bomb), step)]
    frames = [
        frame(
            CONTINUATION if number else TEXT,
            part,
            fin=number == fragments - 1,
            reserved=0 if number else DEFLATED,
        )
        for number, part in enumerate(parts)
    ]
    async with RawClient(compressing.addresses.ws_url) as client:
        await client.open(f"Sec-WebSocket-Extensions: {CHROMIUM}")
        tracemalloc.start()
        try:
            await client.send(b"".join(frames))
            assert await client.closed() == 1009
            assert tracemalloc.get_traced_memory()[1] < 2 * MIB
        finally:
            tracemalloc.stop()


async def test_many_small_messages_that_grow_are_read_a_few_at_a_time(compressing: Router) -> None:
    """Under 100 bytes each on the wire and nearly 64 KiB inside: 120 MiB in all, and never many of them at once."""
    text = json.dumps({"type": "ping", "id": 7, "pad": " " * 65_000}).encode()
    one = frame(TEXT, deflated(text), reserved=DEFLATED)
    assert len(one) < 150
    async with RawClient(compressing.addresses.ws_url) as client:
        await client.open(f"Sec-WebSocket-Extensions: {CHROMIUM}")
        tracemalloc.start()
        try:
            await client.send(one * 1000)
            for _ in range(1000):
                assert (await client.message())["type"] == "pong"
            assert tracemalloc.get_traced_memory()[1] < 12 * MIB
        finally:
            tracemalloc.stop()
