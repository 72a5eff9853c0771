"""The protocol's messages: bytes in, one record per type out; commands in, bytes out. No socket here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from ._events import Event, Member
from ._positions import Recovery, Skipped

__all__ = [
    "UNREADABLE",
    "AcknowledgedMessage",
    "ErrorMessage",
    "HistoryMessage",
    "JoinedRoom",
    "Limits",
    "MalformedMessage",
    "MissingRange",
    "NoticeMessage",
    "PongMessage",
    "PresenceMessage",
    "PublishedMessage",
    "RefreshedMessage",
    "RevokedMessage",
    "ServerMessage",
    "StateMessage",
    "SubscribedMessage",
    "UnsubscribedMessage",
    "WelcomeMessage",
    "decode",
    "encode",
]

CommandId = int | str

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for bytes that are no JSON, or another one; for text that is not UTF-8; for deep nesting."""


class MalformedMessage(Exception):
    """The peer sent something that is not the protocol; the connection cannot be trusted any more."""


class MissingRange(msgspec.Struct, frozen=True):
    """Offsets that are gone, both ends included."""

    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")


class JoinedRoom(msgspec.Struct, frozen=True):
    """One room of a welcome."""

    epoch: str
    offset: int
    recovery: Recovery = "fresh"
    replay: int = 0
    missing: MissingRange | None = None
    state: dict[str, object] | None = None


class Limits(msgspec.Struct, frozen=True):
    """What the router takes."""

    message_bytes: int = 65_536
    """Longest message, in bytes."""


class WelcomeMessage(msgspec.Struct, frozen=True, tag="welcome", tag_field="type", kw_only=True):
    """The answer to `hello`."""

    connection: str
    user: str
    role: str
    protocol: int = 1
    expires_at: datetime | None = None
    limits: Limits = Limits()
    rooms: dict[str, JoinedRoom] = {}


class SubscribedMessage(msgspec.Struct, frozen=True, tag="subscribed", tag_field="type", kw_only=True):
    """The answer to `subscribe`; without `id` the router joined the room by itself."""

    id: CommandId | None = None
    room: str
    epoch: str
    offset: int
    recovery: Recovery = "fresh"
    replay: int = 0
    missing: MissingRange | None = None
    state: dict[str, object] | None = None


class UnsubscribedMessage(msgspec.Struct, frozen=True, tag="unsubscribed", tag_field="type", kw_only=True):
    """The answer to `unsubscribe`."""

    id: CommandId | None = None
    room: str


class PublishedMessage(msgspec.Struct, frozen=True, tag="published", tag_field="type", kw_only=True):
    """The answer to `publish`."""

    id: CommandId | None = None
    room: str
    epoch: str
    offset: int
    event_id: str
    duplicate: bool = False


class StateMessage(msgspec.Struct, frozen=True, tag="state", tag_field="type", kw_only=True):
    """The answer to `state`."""

    id: CommandId | None = None
    room: str
    epoch: str
    offset: int
    state: dict[str, object] = {}


class HistoryMessage(msgspec.Struct, frozen=True, tag="history", tag_field="type", kw_only=True):
    """The answer to `history`."""

    id: CommandId | None = None
    room: str
    epoch: str
    events: tuple[Event, ...]
    more: bool = False


class PresenceMessage(msgspec.Struct, frozen=True, tag="presence", tag_field="type", kw_only=True):
    """The answer to `presence`."""

    id: CommandId | None = None
    room: str
    members: tuple[Member, ...]
    count: int


class AcknowledgedMessage(msgspec.Struct, frozen=True, tag="acknowledged", tag_field="type", kw_only=True):
    """The answer to `ack`."""

    id: CommandId | None = None
    room: str
    event_id: str


class RefreshedMessage(msgspec.Struct, frozen=True, tag="refreshed", tag_field="type", kw_only=True):
    """The answer to `refresh`."""

    id: CommandId | None = None
    expires_at: datetime | None = None


class PongMessage(msgspec.Struct, frozen=True, tag="pong", tag_field="type", kw_only=True):
    """The answer to `ping`."""

    id: CommandId | None = None
    time: datetime


class NoticeMessage(msgspec.Struct, frozen=True, tag="notice", tag_field="type", kw_only=True):
    """Advice from the router."""

    code: str
    expires_at: datetime | None = None
    reconnect_in_ms: float = 0
    rooms: object = None


class RevokedMessage(msgspec.Struct, frozen=True, tag="revoked", tag_field="type", kw_only=True):
    """The router ended a subscription."""

    room: str
    reason: str = ""


class ErrorMessage(msgspec.Struct, frozen=True, tag="error", tag_field="type", kw_only=True):
    """A command failed."""

    id: CommandId | None = None
    code: str
    message: str = ""
    temporary: bool = False
    retry_after_ms: int | None = None


ServerMessage = (
    AcknowledgedMessage
    | ErrorMessage
    | Event
    | HistoryMessage
    | NoticeMessage
    | PongMessage
    | PresenceMessage
    | PublishedMessage
    | RefreshedMessage
    | RevokedMessage
    | Skipped
    | StateMessage
    | SubscribedMessage
    | UnsubscribedMessage
    | WelcomeMessage
)

_decoder: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)
_KNOWN = frozenset(str(kind.__struct_config__.tag) for kind in ServerMessage.__args__)


class _AnyType(msgspec.Struct):
    type: str


def decode(frame: bytes) -> ServerMessage | None:
    """Read one message; None for a type this client does not know (a later router may have more).

    Raises:
        MalformedMessage: Not JSON that can be read, or a known type with a wrong field.
    """
    try:
        return _decoder.decode(frame)
    except UNREADABLE as error:
        try:
            kind = msgspec.json.decode(frame, type=_AnyType).type
        except UNREADABLE:
            raise MalformedMessage(str(error)) from None
        if kind in _KNOWN:
            raise MalformedMessage(f"{kind}: {error}") from None
        return None


def encode(kind: str, fields: Mapping[str, object], command_id: CommandId | None = None) -> bytes:
    """Write one command. Fields that are None are left out.

    Raises:
        TypeError: A value that JSON has no form for.
    """
    message: dict[str, object] = {"type": kind}
    if command_id is not None:
        message["id"] = command_id
    message.update((name, value) for name, value in fields.items() if value is not None)
    return msgspec.json.encode(message)
