"""RFC 6455, 5.2: payloads of every class of length, and lengths that are not written as they should be."""

from __future__ import annotations

import struct

import pytest

from ...raw_client import CONTINUATION, PING, PONG, TEXT, frame
from .echo import LIMIT, Echo, message_of_size

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("size", [23, 124, 125, 126, 127, 128, 65_534, 65_535, LIMIT])
async def test_a_text_of_this_many_bytes_is_taken(echo: Echo, size: int) -> None:
    message = message_of_size(size)
    await echo.send(frame(TEXT, message))
    await echo.hears(message.decode().split('"')[7])


async def test_an_empty_text_is_a_bad_message_and_no_end(echo: Echo) -> None:
    await echo.send(frame(TEXT))
    assert (await echo.client.message())["code"] == "bad_message"
    await echo.answers()


async def test_a_text_of_one_byte_more_is_closed_with_1009(echo: Echo) -> None:
    await echo.ends(1009, frame(TEXT, message_of_size(LIMIT + 1)))


@pytest.mark.parametrize(
    ("size", "width"),
    [(100, 2), (100, 8), (30_000, 8)],
    ids=["7 bits in 16", "7 bits in 64", "16 bits in 64"],
)
async def test_a_length_in_a_longer_form_than_it_needs_is_taken(echo: Echo, size: int, width: int) -> None:
    """The standard binds who sends ("the minimal number of bytes MUST be used"); it can only mean one thing."""
    message = message_of_size(size)
    await echo.send(frame(TEXT, message, width=width))
    await echo.hears(message.decode().split('"')[7])


@pytest.mark.parametrize("width", [2, 8])
async def test_so_is_one_of_a_control_frame(echo: Echo, width: int) -> None:
    """It has 125 bytes at most, however they are counted."""
    await echo.send(frame(PING, b"short", width=width))
    assert await echo.client.read() == (PONG, b"short")


@pytest.mark.parametrize(
    "length", [LIMIT + 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1], ids=["limit+1", "2^31", "2^63-1", "top bit", "all bits"]
)
@pytest.mark.parametrize("opcode", [TEXT, PING], ids=["text", "ping"])
async def test_a_length_that_is_only_announced_is_closed_with_1009_at_once(
    echo: Echo, opcode: int, length: int
) -> None:
    """The top bit has to be 0: with it the length is over any limit."""
    await echo.client.send(bytes([0x80 | opcode, 0xFF]) + struct.pack("!Q", length) + b"mask")
    assert await echo.client.closed() == 1009


async def test_a_fragment_may_not_announce_more_than_is_left_of_the_message(echo: Echo) -> None:
    await echo.client.send(frame(TEXT, b"x" * 60_000, fin=False))
    await echo.client.send(bytes([0x80 | CONTINUATION, 0xFE]) + struct.pack("!H", 5_537) + b"mask")
    assert await echo.client.closed() == 1009
