"""Packets of Socket.IO 5 (https://socket.io/docs/v4/socket-io-protocol/): the text of a client's message in, one out.

What the reference server takes is taken, and what it closes for is `BadMessage`, fatal.
"""

from __future__ import annotations

import enum
import re
from typing import Any, NamedTuple, NoReturn

import msgspec

from actors.codec import BadMessage
from actors.errors import ErrorCode

from .surrogates import without_halves

__all__ = ["Packet", "PacketType", "read", "start"]


class PacketType(enum.IntEnum):
    """What a packet is for."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


class Packet(NamedTuple):
    """One packet."""

    type: PacketType
    namespace: str
    id: int | None
    """Under which number an answer is wanted, or given."""
    payload: Any
    """JSON; `msgspec.UNSET`: there is none."""
    halves: bool = False
    """Whether half a surrogate pair was in it, so that it is not what was meant."""


_PACKET = re.compile(r"([0-6])(?:(?<=[56])(\d{1,2})-)?(?:(/[^,]{0,200})(?:,|\Z))?(\d*)(.*)", re.ASCII | re.DOTALL)
_MOST_ATTACHMENTS = 10
_MOST_DIGITS = 15
"""Of an id: a number of JavaScript holds all that have so many."""
_RESERVED = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"},
)


def start(type: PacketType, namespace: str, id: int | None = None) -> bytes:
    """Return what stands before the payload of a packet."""
    place = "" if namespace == "/" else f"{namespace},"
    return f"{type.value}{place}{'' if id is None else id}".encode()


def read(text: str) -> Packet:
    """Read one packet.

    Raises:
        BadMessage: It is none, or none that a client may send.
    """
    parts = _PACKET.fullmatch(text)
    if parts is None:
        _fail("it does not begin with a type from 0 to 6")
    type, attachments, namespace, id, rest = parts.groups()
    packet = Packet(PacketType(int(type)), namespace or "/", _id(id), *_payload(rest))
    _CHECKS[packet.type](packet.payload)
    binary = packet.type in (PacketType.BINARY_EVENT, PacketType.BINARY_ACK)
    if binary and not (attachments and 1 <= int(attachments) <= _MOST_ATTACHMENTS):
        _fail(f"it does not say how many attachments it has, 1 to {_MOST_ATTACHMENTS}")
    return packet


def _id(digits: str) -> int | None:
    if len(digits) > _MOST_DIGITS:
        _fail(f"an id has up to {_MOST_DIGITS} digits")
    return int(digits) if digits else None


def _payload(text: str) -> tuple[Any, bool]:
    if not text:
        return msgspec.UNSET, False
    try:
        return msgspec.json.decode(text), False
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        whole = without_halves(text)
        if whole is None:
            _fail(f"its payload is not JSON that can be read: {error}")
    return _payload(whole)[0], True


def _object_or_nothing(payload: Any) -> None:
    if payload is not msgspec.UNSET and not isinstance(payload, dict):
        _fail("the payload of CONNECT is an object, or there is none")


def _nothing(payload: Any) -> None:
    if payload is not msgspec.UNSET:
        _fail("DISCONNECT has no payload")


def _event(payload: Any) -> None:
    name = payload[0] if isinstance(payload, list) and payload else None
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        _fail("the payload of an event is a list that begins with its name")
    if name in _RESERVED:
        _fail(f"{name!r} is reserved and names no event")


def _list(payload: Any) -> None:
    if not isinstance(payload, list):
        _fail("the payload of an acknowledgement is a list")


def _never(_payload: Any) -> None:
    _fail("only the router refuses a connection")


_CHECKS = {
    PacketType.CONNECT: _object_or_nothing,
    PacketType.DISCONNECT: _nothing,
    PacketType.EVENT: _event,
    PacketType.ACK: _list,
    PacketType.CONNECT_ERROR: _never,
    PacketType.BINARY_EVENT: _event,
    PacketType.BINARY_ACK: _list,
}


def _fail(why: str) -> NoReturn:
    raise BadMessage(ErrorCode.BAD_MESSAGE, f"this is no packet of Socket.IO: {why}", fatal=True)
