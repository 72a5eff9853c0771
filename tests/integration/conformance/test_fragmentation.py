"""RFC 6455, 5.4: messages in fragments, what may come between them, and what may not."""

from __future__ import annotations

import pytest

from ...raw_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, fragments, frame
from .echo import LIMIT, Echo, message_of_size, message_with

pytestmark = pytest.mark.asyncio(loop_scope="module")
HELLO = message_with(b"hello")
END = len(HELLO)


@pytest.mark.parametrize(
    "cuts",
    [[5], [0], [END], [0, 0, 0], [5, 5, 5], [END, END], range(1, END), [7] * 63],
    ids=[
        "two",
        "nothing first",
        "nothing last",
        "three empty ones first",
        "empty ones between",
        "two empty ones last",
        "a byte each",
        "sixty-four",
    ],
)
async def test_a_text_may_come_in_fragments(echo: Echo, cuts: list[int]) -> None:
    await echo.send(*fragments(HELLO, cuts))
    await echo.hears("hello")


@pytest.mark.parametrize("cuts", [[5], [0], [END], [3, 9, 9, 20]], ids=["two", "nothing first", "nothing last", "five"])
async def test_pings_and_pongs_may_come_between_any_two_fragments(echo: Echo, cuts: list[int]) -> None:
    """Each ping is answered at once, before the message is whole."""
    *most, last = fragments(HELLO, cuts)
    for number, each in enumerate(most):
        await echo.send(each, frame(PONG, b"nobody asked"), frame(PING, bytes([number])))
        assert await echo.client.read() == (PONG, bytes([number]))
    await echo.send(last)
    await echo.hears("hello")


async def test_what_comes_behind_a_fragmented_text_is_answered_behind_it(echo: Echo) -> None:
    """Although it is whole sooner: all of it is in one segment."""
    await echo.send(
        *fragments(HELLO, [5]), frame(TEXT, message_with(b"second")), *fragments(message_with(b"third"), [9])
    )
    for text in ("hello", "second", "third"):
        await echo.hears(text)


async def test_fragments_of_nothing_are_an_empty_text(echo: Echo) -> None:
    await echo.send(*fragments(b"", [0, 0]))
    assert (await echo.client.message())["code"] == "bad_message"
    await echo.answers()


async def test_a_text_of_the_limit_may_come_in_fragments(echo: Echo) -> None:
    message = message_of_size(LIMIT)
    await echo.send(*fragments(message, range(1040, LIMIT, 1040)))
    await echo.hears(message.decode().split('"')[7])


@pytest.mark.parametrize("cuts", [[1], [LIMIT], range(1040, LIMIT, 1040)], ids=["first", "last", "each a little"])
async def test_a_text_over_the_limit_in_fragments_is_closed_with_1009(echo: Echo, cuts: list[int]) -> None:
    await echo.ends(1009, *fragments(message_of_size(LIMIT + 1), cuts))


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE], ids=["ping", "pong", "close"])
@pytest.mark.parametrize("payload", [b"", b"\x03\xe8"], ids=["empty", "with a payload"])
async def test_a_control_frame_may_not_be_a_fragment(echo: Echo, opcode: int, payload: bytes) -> None:
    await echo.ends(1002, frame(opcode, payload, fin=False), frame(CONTINUATION))


async def test_nor_inside_a_fragmented_text(echo: Echo) -> None:
    await echo.ends(1002, frame(TEXT, HELLO[:5], fin=False), frame(PING, fin=False))


async def test_a_continuation_behind_a_whole_message_continues_nothing(echo: Echo) -> None:
    await echo.send(*fragments(HELLO, [5]))
    await echo.hears("hello")
    await echo.ends(1002, frame(CONTINUATION, b"!"))


@pytest.mark.parametrize("fin", [True, False], ids=["whole", "first"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
async def test_a_new_message_may_not_begin_inside_another(echo: Echo, opcode: int, fin: bool) -> None:
    await echo.ends(1002, *fragments(HELLO, [3, 6])[:2], frame(opcode, HELLO, fin=fin))


async def test_a_binary_message_in_fragments_is_closed_with_1003(echo: Echo) -> None:
    await echo.ends(1003, *fragments(HELLO, [5, 9], BINARY))


async def test_a_close_inside_a_fragmented_text_ends_it_with_1002(echo: Echo) -> None:
    """The standard lets a close come there and has it echoed; the library finds the message incomplete. Either way the
    client's wish to end is met, and nothing of the message is obeyed.
    """
    await echo.ends(1002, frame(TEXT, HELLO[:5], fin=False), frame(CLOSE, b"\x03\xe8"))


async def test_a_ping_inside_a_fragmented_text_counts_against_the_messages_limit(echo: Echo) -> None:
    """The standard would answer it; the library holds every frame against what is left of the message. It takes a text
    that leaves less than 125 bytes of the limit to notice.
    """
    await echo.send(frame(TEXT, message_of_size(LIMIT)[: LIMIT - 10], fin=False), frame(PING, b"x" * 10))
    assert await echo.client.read() == (PONG, b"x" * 10)
    await echo.ends(1009, frame(PING, b"x" * 11))


async def test_fragments_without_end_are_closed_with_1009(echo: Echo) -> None:
    """And what comes behind them in the same segment is not obeyed, though it would end the message."""
    await echo.send(frame(TEXT, b"", fin=False), frame(CONTINUATION, b"", fin=False) * 600, frame(CONTINUATION, HELLO))
    await echo.ends(1009)
