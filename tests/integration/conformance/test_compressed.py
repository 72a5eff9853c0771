"""RFC 7692, permessage-deflate: what a client may send deflated, and what it may not."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from server.app import Router

from ...raw_client import CLOSE, CONTINUATION, PING, PONG, TEXT, RawClient, fragments, frame
from .echo import LIMIT, Echo, message_of_size, message_with

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEFLATED = 0b100
"""RSV1, among the reserved bits of a frame."""
HELLO = message_with(b"hello, hello, hello, hello")
TEXT_OF_HELLO = "hello, hello, hello, hello"


@pytest_asyncio.fixture(loop_scope="module")
async def echo(topic_router: Router) -> AsyncIterator[Echo]:
    """A client that negotiated permessage-deflate."""
    async with Echo(topic_router, "Sec-WebSocket-Extensions: permessage-deflate") as echo:
        yield echo


def deflated(data: bytes, *, level: int = -1, strategy: int = zlib.Z_DEFAULT_STRATEGY, blocks: int = 1) -> bytes:
    """Deflate a message (7.2.1), in so many blocks."""
    deflater = zlib.compressobj(level=level, wbits=-15, strategy=strategy)
    step = -(-len(data) // blocks) or 1
    out = b"".join(
        deflater.compress(data[at : at + step]) + deflater.flush(zlib.Z_FULL_FLUSH) for at in range(0, len(data), step)
    )
    out += b"" if data else deflater.flush(zlib.Z_SYNC_FLUSH)
    assert out.endswith(b"\0\0\xff\xff")
    return out[:-4]


@pytest.mark.parametrize(
    "data",
    [
        deflated(HELLO),
        deflated(HELLO, level=0),
        deflated(HELLO, strategy=zlib.Z_FIXED),
        deflated(HELLO, level=9, strategy=zlib.Z_HUFFMAN_ONLY),
        deflated(HELLO, blocks=8),
        deflated(HELLO) + b"\0\0\xff\xff",
        deflated(HELLO) + b"\0\0\xff\xff\0",
    ],
    ids=[
        "as usual",
        "stored",
        "fixed codes",
        "own codes",
        "eight blocks",
        "with its end left on",
        "an empty block more",
    ],
)
async def test_every_kind_of_block_is_taken(echo: Echo, data: bytes) -> None:
    await echo.send(frame(TEXT, data, reserved=DEFLATED))
    await echo.hears(TEXT_OF_HELLO)
    await echo.answers()


async def test_a_block_that_says_it_is_the_last_is_taken(echo: Echo) -> None:
    """7.2.3.5."""
    deflater = zlib.compressobj(wbits=-15)
    await echo.send(frame(TEXT, deflater.compress(HELLO) + deflater.flush() + b"\0", reserved=DEFLATED))
    await echo.hears(TEXT_OF_HELLO)
    await echo.answers()


@pytest.mark.parametrize("size", [23, 125, 126, 65_535, LIMIT])
async def test_a_message_that_grows_to_this_size_is_taken(echo: Echo, size: int) -> None:
    message = message_of_size(size)
    await echo.send(frame(TEXT, deflated(message), reserved=DEFLATED))
    await echo.hears(message.decode().split('"')[7])


@pytest.mark.parametrize("cuts", [[], [1], [10, 20, 30]], ids=["whole", "two fragments", "four fragments"])
@pytest.mark.parametrize("size", [LIMIT + 1, 2 * LIMIT, 64 * LIMIT])
async def test_one_that_grows_beyond_the_limit_is_closed_with_1009(echo: Echo, size: int, cuts: list[int]) -> None:
    await echo.ends(1009, *fragments(deflated(message_of_size(size)), cuts, TEXT, DEFLATED))


@pytest.mark.parametrize("data", [b"", b"\0"], ids=["nothing", "an empty block"])
async def test_a_deflated_message_of_nothing_is_a_bad_message_and_no_end(echo: Echo, data: bytes) -> None:
    """7.2.3.6."""
    await echo.send(frame(TEXT, data, reserved=DEFLATED))
    assert (await echo.client.message())["code"] == "bad_message"
    await echo.answers()


async def test_it_may_be_cut_in_fragments_anywhere(echo: Echo) -> None:
    """The bit is on the first one only; pings between them are not deflated."""
    data = deflated(HELLO)
    for at in range(len(data) + 1):
        first, last = fragments(data, [at], TEXT, DEFLATED)
        await echo.send(first, frame(PING, b"between"), last)
        assert await echo.frames(1) == [(PONG, b"between")]
        await echo.hears(TEXT_OF_HELLO)
    await echo.send(*fragments(data, range(1, len(data)), TEXT, DEFLATED))
    await echo.hears(TEXT_OF_HELLO)


async def test_messages_may_be_deflated_or_not_by_turns(echo: Echo) -> None:
    for number in range(10):
        message = message_with(b"%d" % number)
        await echo.send(
            frame(TEXT, deflated(message), reserved=DEFLATED) if number % 2 else frame(TEXT, message),
        )
    for number in range(10):
        await echo.hears(str(number))


async def test_a_message_may_not_refer_to_the_one_before_it(echo: Echo) -> None:
    """`client_no_context_takeover` was negotiated: the window that it refers to is not there."""
    deflater = zlib.compressobj(wbits=-15)
    first, second = (
        (deflater.compress(HELLO) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff") for _ in range(2)
    )
    await echo.send(frame(TEXT, first, reserved=DEFLATED))
    await echo.hears(TEXT_OF_HELLO)
    await echo.ends(1002, frame(TEXT, second, reserved=DEFLATED))


@pytest.mark.parametrize(
    "data",
    [b"\x07", b"\xff", b"\x00\x01\x00\x00\x00x", b"\x05\xe0\x81\x08\0\0\0\0"],
    ids=["a reserved kind of block", "noise", "a wrong length", "wrong codes"],
)
async def test_what_is_not_deflate_is_closed_with_1002(echo: Echo, data: bytes) -> None:
    await echo.ends(1002, frame(TEXT, data, reserved=DEFLATED))


async def test_a_stored_block_that_is_cut_off_is_closed_with_1007(echo: Echo) -> None:
    """It takes the end that was cut off the message for its own last bytes, which are no text."""
    await echo.ends(1007, frame(TEXT, b"\x00\x08\x00\xf7\xff1234", reserved=DEFLATED))


@pytest.mark.parametrize("cuts", [[], [3]], ids=["whole", "in fragments"])
async def test_text_that_is_not_utf8_when_it_is_inflated_is_closed_with_1007(echo: Echo, cuts: list[int]) -> None:
    await echo.ends(1007, *fragments(deflated(message_with(b"\xed\xa0\x80")), cuts, TEXT, DEFLATED))


@pytest.mark.parametrize("bits", [0b001, 0b010, 0b011, 0b101, 0b110, 0b111], ids="{:03b}".format)
async def test_the_other_reserved_bits_stay_reserved(echo: Echo, bits: int) -> None:
    data = deflated(HELLO) if bits & DEFLATED else HELLO
    await echo.ends(1002, frame(TEXT, data, reserved=bits))


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE], ids=["ping", "pong", "close"])
async def test_control_frames_are_never_deflated(echo: Echo, opcode: int) -> None:
    """6: the bit is not theirs."""
    await echo.ends(1002, frame(opcode, b"", reserved=DEFLATED))


@pytest.mark.parametrize("first", [0, DEFLATED], ids=["of a plain message", "of a deflated one"])
async def test_a_continuation_has_no_bit_of_its_own(echo: Echo, first: int) -> None:
    data = deflated(HELLO)
    await echo.ends(
        1002, frame(TEXT, data[:3], fin=False, reserved=first), frame(CONTINUATION, data[3:], reserved=DEFLATED)
    )


@pytest.mark.parametrize(
    ("offer", "taken"),
    [
        ('permessage-deflate; client_max_window_bits="10"', True),
        ("permessage-deflate ; client_no_context_takeover", True),
        ("permessage-deflate; client_max_window_bits; server_max_window_bits=15; server_no_context_takeover", True),
        ("permessage-deflate; client_max_window_bits=7", False),
        ("permessage-deflate; client_max_window_bits=16", False),
        ("permessage-deflate; client_max_window_bits=010", False),
        ("permessage-deflate; client_max_window_bits=+10", False),
        ("permessage-deflate; client_max_window_bits=10; client_max_window_bits=10", False),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", False),
        ("permessage-deflate; client_no_context_takeover=true", False),
        ("permessage-deflate; server_max_window_bits=", None),
        ("permessage-deflate;", None),
        ("permessage-deflate; =", None),
        ("permessage deflate", None),
        (";", None),
        ("Permessage-Deflate", False),
    ],
)
async def test_an_odd_offer_is_taken_declined_or_no_handshake(
    topic_router: Router, offer: str, taken: bool | None
) -> None:
    """Who declines goes on without it (5); what is not even a header of this form (RFC 6455, 9.1) gets 400."""
    async with RawClient(topic_router.addresses.ws_url) as client:
        status, headers, _ = await client.upgrade(f"Sec-WebSocket-Extensions: {offer}")
        if taken is None:
            assert status == 400
        else:
            assert (status, "sec-websocket-extensions" in headers) == (101, taken)
