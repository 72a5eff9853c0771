"""RFC 6455, 5.5.2 and 5.5.3: pings and pongs."""

from __future__ import annotations

import json

import pytest

from server.app import Router

from ...raw_client import PING, PONG, TEXT, RawClient, frame
from .echo import Echo, message_with

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_pings_in_one_segment_are_answered_one_by_one_in_order(echo: Echo) -> None:
    """With what each carried, which need be no text."""
    payloads = [bytes([number, 255 - number]) * (number % 60) for number in range(100)]
    await echo.send(*(frame(PING, payload) for payload in payloads))
    assert await echo.frames(100) == [(PONG, payload) for payload in payloads]


async def test_a_ping_may_come_in_pieces(echo: Echo) -> None:
    for byte in frame(PING, b"byte by byte"):
        await echo.send(bytes([byte]))
    assert await echo.client.read() == (PONG, b"byte by byte")


@pytest.mark.parametrize("payload", [b"", b"unasked", b"\xff" * 125], ids=["empty", "short", "longest"])
async def test_a_pong_that_nobody_asked_for_is_not_answered(echo: Echo, payload: bytes) -> None:
    await echo.send(frame(PONG, payload), frame(PONG, payload))
    await echo.answers()


async def test_a_ping_is_answered_before_hello(topic_router: Router) -> None:
    async with RawClient(topic_router.addresses.ws_url) as client:
        await client.open(hello=False)
        await client.send(frame(PING, b"first"))
        assert await client.read() == (PONG, b"first")


async def test_pings_between_messages_change_nothing(echo: Echo) -> None:
    """Nor is the order of the answers lost: a ping's may come sooner."""
    await echo.send(*(frame(PING, b"p") + frame(TEXT, message_with(b"%d" % number)) for number in range(20)))
    heard = await echo.frames(40)
    assert [payload for opcode, payload in heard if opcode == PONG] == [b"p"] * 20
    assert [json.loads(payload)["id"] for opcode, payload in heard if opcode == TEXT] == [str(n) for n in range(20)]


@pytest.mark.parametrize("opcode", [PING, PONG], ids=["ping", "pong"])
@pytest.mark.parametrize("size", [126, 127, 65_535])
async def test_a_control_frame_over_125_bytes_is_closed_with_1002(echo: Echo, opcode: int, size: int) -> None:
    await echo.ends(1002, frame(opcode, b"x" * size))
