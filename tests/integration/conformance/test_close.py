"""RFC 6455, 5.5.1 and 7: close frames, and who closes what when."""

from __future__ import annotations

import pytest

from ...raw_client import BINARY, CLOSE, PING, PONG, TEXT, frame
from .echo import EVIL, Echo, message_with

pytestmark = pytest.mark.asyncio(loop_scope="module")


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


@pytest.mark.parametrize("code", [1002, 1007, 1008, 1009, 1010, 1012, 1013, 1014, 3999, 4000, 4400])
async def test_a_close_with_this_code_is_answered_with_it(echo: Echo, code: int) -> None:
    """1012 to 1014 came to the registry after the standard."""
    await echo.send(close(code), EVIL)
    opcode, payload = await echo.client.read()
    assert (opcode, payload) == (CLOSE, code.to_bytes(2, "big"))
    assert await echo.client.ended() == b""


@pytest.mark.parametrize("code", [0, 1, 500, 1016, 1100, 1999, 2000, 2500, 6000, 32768])
async def test_a_close_with_this_code_is_answered_with_1002(echo: Echo, code: int) -> None:
    """Nobody may send it (7.4.2)."""
    await echo.ends(1002, close(code))


@pytest.mark.parametrize(
    "reason",
    [b"x" * 123, "schön war's \N{WAVING HAND SIGN}".encode(), b"\0\r\n\x7f"],
    ids=["longest", "not ASCII", "control characters"],
)
async def test_the_reason_comes_back(echo: Echo, reason: bytes) -> None:
    await echo.send(close(1000, reason))
    assert await echo.client.read() == (CLOSE, b"\x03\xe8" + reason)
    assert await echo.client.ended() == b""


@pytest.mark.parametrize(
    "reason",
    [b"\x80", b"so l\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"],
    ids=["a continuation byte", "cut off", "half a surrogate pair", "overlong", "past the last code point"],
)
async def test_a_reason_that_is_not_utf8_is_closed_with_1007(echo: Echo, reason: bytes) -> None:
    await echo.ends(1007, close(1000, reason))


async def test_a_close_may_come_in_pieces(echo: Echo) -> None:
    for byte in close(1001, b"leaving"):
        await echo.send(bytes([byte]))
    assert await echo.client.read() == (CLOSE, b"\x03\xe9leaving")
    assert await echo.client.ended() == b""


@pytest.mark.parametrize(
    "behind",
    [frame(PING, b"?"), close(1001), frame(0x3), b"\xff" * 100, frame(TEXT, message_with(b"?"))],
    ids=["a ping", "another close", "a reserved opcode", "noise", "a message"],
)
async def test_what_comes_behind_a_close_is_not_looked_at(echo: Echo, behind: bytes) -> None:
    """One close comes back, and the end."""
    await echo.send(close(1000), behind)
    assert await echo.client.read() == (CLOSE, b"\x03\xe8")
    assert await echo.client.ended() == b""


@pytest.mark.parametrize(
    "behind", [EVIL, EVIL + EVIL, frame(BINARY, b"x") + EVIL], ids=["one", "two", "another wrong one"]
)
async def test_what_comes_right_behind_the_frame_that_the_router_closes_for_is_not_obeyed(
    echo: Echo, behind: bytes
) -> None:
    await echo.ends(1003, frame(BINARY, b"x"), behind)


async def test_the_router_waits_for_the_answer_to_its_close_and_then_ends_tcp(echo: Echo) -> None:
    """A ping that comes before the answer is answered (5.5.2), a message is not obeyed."""
    await echo.send(frame(BINARY, b"x"))
    opcode, payload = await echo.client.read()
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xeb")
    await echo.send(frame(PING, b"wait"), EVIL)
    assert await echo.client.read() == (PONG, b"wait")
    await echo.send(close(1003))
    assert await echo.client.ended() == b""


async def test_after_a_wrong_frame_the_router_ends_tcp_without_waiting(echo: Echo) -> None:
    """The connection has failed (7.1.7): the client's answer is not asked for."""
    await echo.send(frame(0x3))
    opcode, payload = await echo.client.read()
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xea")
    assert await echo.client.ended() == b""
