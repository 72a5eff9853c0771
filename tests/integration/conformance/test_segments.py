"""However TCP cuts the bytes, they mean the same; a frame's head may be cut anywhere."""

from __future__ import annotations

import base64
import json

import pytest

from server.app import Router

from ...raw_client import PING, PONG, TEXT, RawClient, fragments, frame
from .echo import Echo, message_with

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST, *REST = fragments(message_with("€".encode()), [5, 22, 22])
SCRIPT = b"".join(
    [
        frame(TEXT, message_with(b"a")),
        FIRST,
        frame(PING, b"p"),
        *REST,
        frame(TEXT, message_with(b"b" * 200)),
        frame(PONG, b"q"),
        frame(TEXT, message_with(b"c"), width=8),
    ]
)


async def hears_the_script(echo: Echo) -> None:
    heard = await echo.frames(5)
    assert [payload for opcode, payload in heard if opcode == PONG] == [b"p"]
    assert [json.loads(payload)["id"] for opcode, payload in heard if opcode == TEXT] == ["a", "€", "b" * 200, "c"]


async def test_all_in_one(echo: Echo) -> None:
    await echo.send(SCRIPT)
    await hears_the_script(echo)


async def test_byte_by_byte(echo: Echo) -> None:
    for at in range(len(SCRIPT)):
        await echo.send(SCRIPT[at : at + 1])
    await hears_the_script(echo)


@pytest.mark.parametrize("size", [2, 3, 5, 7, 64, 127])
async def test_in_pieces_of_this_size(echo: Echo, size: int) -> None:
    for at in range(0, len(SCRIPT), size):
        await echo.send(SCRIPT[at : at + size])
    await hears_the_script(echo)


@pytest.mark.parametrize("begin", range(1, len(SCRIPT), 40))
async def test_cut_in_two_at_every_boundary(echo: Echo, begin: int) -> None:
    """Forty of them to a connection: so many fragments and control frames at once are no flood yet."""
    for at in range(begin, min(begin + 40, len(SCRIPT))):
        await echo.send(SCRIPT[:at])
        await echo.send(SCRIPT[at:])
        await hears_the_script(echo)


async def test_in_one_segment_with_the_handshake(topic_router: Router) -> None:
    """A client has to wait for its answer; one that is sure of it is understood, too."""
    async with RawClient(topic_router.addresses.ws_url) as client:
        key = base64.b64encode(b"sixteen bytes ok").decode()
        request = (
            f"GET /v1/ws HTTP/1.1\r\nHost: {client.host}:{client.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        await client.send(request.encode() + frame(TEXT, b'{"type":"hello","id":1}') + frame(TEXT, message_with(b"a")))
        assert (await client.response())[0] == 101
        assert (await client.message())["type"] == "welcome"
        assert (await client.message())["id"] == "a"


async def test_five_hundred_messages_in_one_segment_are_answered_in_order(echo: Echo) -> None:
    await echo.send(*(frame(TEXT, message_with(b"%d" % number)) for number in range(500)))
    for number in range(500):
        await echo.hears(str(number))
