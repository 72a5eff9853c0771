"""RFC 6455, 8.1: what is text and what is not, whole and in fragments that cut characters in pieces."""

from __future__ import annotations

import pytest

from ...raw_client import TEXT, fragments, frame
from .echo import Echo, message_with

pytestmark = pytest.mark.asyncio(loop_scope="module")

RIGHT = {
    "Greek": "κόσμε",
    "last of one byte": "\x7f",
    "first of two bytes": "\x80",
    "last of two bytes": "\u07ff",
    "first of three bytes": "\u0800",
    "last before the surrogates": "\ud7ff",
    "first behind the surrogates": "\ue000",
    "replacement character": "\ufffd",
    "no character": "\ufdd0\ufffe\uffff",
    "byte order mark": "\ufeff",
    "first of four bytes": "\U00010000",
    "last of all": "\U0010ffff",
    "no character of four bytes": "\U0001fffe\U0010fffe",
    "of each length": "a\u00e4\u20ac\U0001f600",
}
WRONG = {
    "a continuation byte": b"\x80",
    "the last continuation byte": b"\xbf",
    "seven continuation bytes": b"\x80\xbf\x80\xbf\x80\xbf\x80",
    "every continuation byte": bytes(range(0x80, 0xC0)),
    "starts of two without the rest": b" ".join(bytes([byte]) for byte in range(0xC2, 0xE0)),
    "starts of three without the rest": b" ".join(bytes([byte]) for byte in range(0xE0, 0xF0)),
    "starts of four without the rest": b" ".join(bytes([byte]) for byte in range(0xF0, 0xF5)),
    "three bytes without the last": b"\xe2\x82",
    "four bytes without the last": b"\xf0\x9f\x98",
    "never a byte: fe": b"\xfe",
    "never a byte: ff": b"\xff",
    "overlong slash in two": b"\xc0\xaf",
    "overlong slash in three": b"\xe0\x80\xaf",
    "overlong slash in four": b"\xf0\x80\x80\xaf",
    "overlong slash in five": b"\xf8\x80\x80\x80\xaf",
    "overlong slash in six": b"\xfc\x80\x80\x80\x80\xaf",
    "overlong zero": b"\xc0\x80",
    "largest overlong of two": b"\xc1\xbf",
    "largest overlong of three": b"\xe0\x9f\xbf",
    "largest overlong of four": b"\xf0\x8f\xbf\xbf",
    "first surrogate": b"\xed\xa0\x80",
    "last surrogate": b"\xed\xbf\xbf",
    "a surrogate pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "first past the last": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "Latin-1": "schön".encode("latin-1"),
    "right, then wrong": "κόσμε".encode() + b"\xed\xa0\x80edited",
}
CUT_OFF = {"two bytes": b"\xc3", "three bytes": b"\xe2\x82", "four bytes": b"\xf0\x9f\x98"}


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
async def test_text_comes_back_as_it_was(echo: Echo, text: str) -> None:
    """Whole, with each byte in a fragment of its own, and cut in two at every byte."""
    message = message_with(text.encode())
    await echo.send(frame(TEXT, message), *fragments(message, range(1, len(message))))
    for at in range(len(message)):
        await echo.send(*fragments(message, [at]))
    for _ in range(len(message) + 2):
        await echo.hears(text)


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
async def test_what_is_not_utf8_is_closed_with_1007(echo: Echo, data: bytes) -> None:
    await echo.ends(1007, frame(TEXT, message_with(data)))


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
async def test_so_is_it_in_fragments(echo: Echo, data: bytes) -> None:
    """Cut in the middle of what is wrong. The router judges a message when it is whole, which the standard allows."""
    message = message_with(data)
    at = message.index(data) + 1
    await echo.ends(1007, *fragments(message, [at, at + len(data) - 1]))


@pytest.mark.parametrize("data", CUT_OFF.values(), ids=CUT_OFF)
@pytest.mark.parametrize("in_fragments", [False, True], ids=["whole", "in fragments"])
async def test_a_character_may_not_be_cut_off_by_the_end_of_the_message(
    echo: Echo, data: bytes, in_fragments: bool
) -> None:
    """Not even where the next message would go on with it."""
    message = message_with(b"") + data
    await echo.ends(1007, *fragments(message, [len(message) - 1] if in_fragments else []), frame(TEXT, b"\x80\x80"))


async def test_half_a_surrogate_pair_as_an_escape_is_a_bad_message_and_no_end(echo: Echo) -> None:
    """The frame is UTF-8; that the JSON in it is none of text is the protocol's affair."""
    await echo.send(frame(TEXT, message_with(rb"\ud800")))
    assert (await echo.client.message())["code"] == "bad_message"
    await echo.answers()
