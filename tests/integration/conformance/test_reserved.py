"""RFC 6455, 5.1 and 5.2: what is reserved, and what is not masked, ends the connection with 1002."""

from __future__ import annotations

import pytest

from ...raw_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from .echo import Echo, message_with

pytestmark = pytest.mark.asyncio(loop_scope="module")
HELLO = message_with(b"hello")


@pytest.mark.parametrize("payload", [b"", HELLO], ids=["empty", "with a payload"])
@pytest.mark.parametrize("opcode", [*range(0x3, 0x8), *range(0xB, 0x10)], ids=hex)
async def test_a_reserved_opcode(echo: Echo, opcode: int, payload: bytes) -> None:
    await echo.ends(1002, frame(opcode, payload))


@pytest.mark.parametrize("opcode", [0x3, 0xB], ids=hex)
async def test_a_reserved_opcode_inside_a_fragmented_text(echo: Echo, opcode: int) -> None:
    await echo.ends(1002, frame(TEXT, HELLO[:5], fin=False), frame(opcode))


@pytest.mark.parametrize("bits", range(1, 8), ids="{:03b}".format)
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE], ids=["text", "binary", "ping", "pong", "close"])
async def test_a_reserved_bit_that_nothing_was_negotiated_for(echo: Echo, opcode: int, bits: int) -> None:
    await echo.ends(1002, frame(opcode, b"", reserved=bits))


@pytest.mark.parametrize("bits", range(1, 8), ids="{:03b}".format)
async def test_a_reserved_bit_of_a_continuation(echo: Echo, bits: int) -> None:
    await echo.ends(1002, frame(TEXT, HELLO[:5], fin=False), frame(CONTINUATION, HELLO[5:], reserved=bits))


@pytest.mark.parametrize("payload", [b"", HELLO], ids=["empty", "with a payload"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PONG], ids=["text", "binary", "pong"])
async def test_a_frame_that_is_not_masked(echo: Echo, opcode: int, payload: bytes) -> None:
    await echo.ends(1002, frame(opcode, payload, mask=False))


async def test_a_continuation_that_is_not_masked(echo: Echo) -> None:
    await echo.ends(1002, frame(TEXT, HELLO[:5], fin=False), frame(CONTINUATION, HELLO[5:], mask=False))


@pytest.mark.parametrize("key", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1"], ids=["zeros", "ones", "one bit"])
async def test_any_key_may_be_masked_with(echo: Echo, key: bytes) -> None:
    """Also one that changes nothing."""
    masked = bytes(byte ^ key[place % 4] for place, byte in enumerate(HELLO))
    await echo.send(bytes([0x81, 0x80 | len(HELLO)]) + key + masked)
    await echo.hears("hello")
