"""A second reading of RFC 6455, plain and slow, that the router's own is held against: bytes of a client in, what it
means out.

Where the standard leaves a choice it reads as the router does (tests/integration/conformance says which those are).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Heard", "agree", "read"]

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_REGISTERED = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}


class Heard(NamedTuple):
    """What came of a client's bytes."""

    texts: tuple[str, ...]
    """Messages that an actor was told."""
    pongs: tuple[bytes, ...]
    """Pings that were answered."""
    code: int | None
    """Of the close frame that was sent; 1005: one without a code; None: there was none."""

    @classmethod
    def of(cls, texts: list[str], written: bytes) -> Heard:
        """Read what a router wrote: pongs, and at most one close. Behind that pings may be answered still (5.5.2)."""
        pongs: list[bytes] = []
        codes: list[int] = []
        at = 0
        while at < len(written):
            opcode, size = written[at] & 0x0F, written[at + 1]
            assert written[at] & 0xF0 == 0x80, "not one whole frame"
            assert size < 126, "no control frame has this size"
            payload, at = written[at + 2 : at + 2 + size], at + 2 + size
            if opcode == _CLOSE:
                codes.append(int.from_bytes(payload[:2], "big") if payload else 1005)
            else:
                assert opcode == _PONG, hex(opcode)
                pongs.append(payload)
        assert len(codes) < 2, "closed twice"
        return cls(tuple(texts), tuple(pongs), codes[0] if codes else None)


class _Fails(Exception):
    """The connection ends with a code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def agree(one: Heard, other: Heard) -> bool:
    """Tell whether two ways of receiving the same bytes came to the same.

    That a message is no text, or not one in UTF-8, is found when it is taken, and control frames behind it may have
    been read by then: a pong more, or the close for something worse.
    """
    if one.texts != other.texts:
        return False
    if one.code == other.code and one.pongs == other.pongs:
        return True
    few, many = sorted((one.pongs, other.pongs), key=len)
    return bool({1003, 1007} & {one.code, other.code}) and many[: len(few)] == few


def read(data: bytes, message_bytes: int) -> Heard:
    """Say what a client that sends this has said, and how it is ended."""
    texts: list[str] = []
    pongs: list[bytes] = []
    try:
        for opcode, payload in _messages(data, message_bytes):
            if opcode == _PING:
                pongs.append(payload)
            elif opcode == _BINARY:
                raise _Fails(1003)
            elif opcode == _TEXT:
                try:
                    texts.append(payload.decode())
                except UnicodeDecodeError:
                    raise _Fails(1007) from None
            elif opcode == _CLOSE:
                raise _Fails(int.from_bytes(payload[:2], "big") if payload else 1005)
    except _Fails as fails:
        return Heard(tuple(texts), tuple(pongs), fails.code)
    return Heard(tuple(texts), tuple(pongs), None)


def _messages(data: bytes, message_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield whole messages and control frames (5.4)."""
    begun: tuple[int, bytes] | None = None
    while frame := _frame(data, message_bytes - (0 if begun is None else len(begun[1]))):
        first, payload, data = frame
        fin, opcode = first & 0x80, first & 0x0F
        if first & 0x70:
            raise _Fails(1002)
        if opcode >= _CLOSE:
            if not fin or len(payload) > 125:
                raise _Fails(1002)
            if opcode == _CLOSE:
                _check_close(payload)
                if begun is not None:
                    raise _Fails(1002)
            yield opcode, payload
            continue
        if (opcode == 0) == (begun is None):
            raise _Fails(1002)
        begun = (opcode, payload) if begun is None else (begun[0], begun[1] + payload)
        if fin:
            yield begun
            begun = None


def _check_close(payload: bytes) -> None:
    """Hold a close frame against 5.5.1 and 7.4."""
    if len(payload) == 1:
        raise _Fails(1002)
    code = int.from_bytes(payload[:2], "big")
    if payload and code not in _REGISTERED and not 3000 <= code < 5000:
        raise _Fails(1002)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise _Fails(1007) from None


def _frame(data: bytes, most_bytes: int) -> tuple[int, bytes, bytes] | None:
    """Split off the first frame (5.2): its first byte, its payload, and what follows; None: it is not whole."""
    if len(data) < 2:
        return None
    first, second = data[:2]
    if first & 0x0F not in (0, _TEXT, _BINARY, _CLOSE, _PING, _PONG) or not second & 0x80:
        raise _Fails(1002)
    size, at = second & 0x7F, 2
    if size > 125:
        at += 2 if size == 126 else 8
        if len(data) < at:
            return None
        size = int.from_bytes(data[2:at], "big")
    if size > most_bytes:
        raise _Fails(1009)
    key, payload = data[at : at + 4], data[at + 4 : at + 4 + size]
    if len(data) < at + 4 + size:
        return None
    return first, bytes(byte ^ key[n % 4] for n, byte in enumerate(payload)), data[at + 4 + size :]
