"""What clients are told: the Connection actor makes these, a codec encodes them into frames.

Field names and meanings are those of the native protocol; events have a record of their own in `events`.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec

from .errors import ErrorCode, Refusal
from .events import Event
from .roll import Roll
from .state import StateView

__all__ = [
    "Acknowledged",
    "CommandId",
    "Error",
    "History",
    "MemberJoined",
    "MemberLeft",
    "Missing",
    "Notice",
    "OldEvents",
    "Pong",
    "Presence",
    "Published",
    "Refreshed",
    "Reply",
    "Revoked",
    "RoomJoined",
    "Skipped",
    "State",
    "Subscribed",
    "Unsubscribed",
    "Welcome",
]

CommandId = int | str | None

# Words that stand for themselves, and so need no class; JSON schemas name them.
_Recovery = Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["fresh", "full", "partial", "none"]})]
_Reason = Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["filtered", "conflated", "expired"]})]
_Advice = Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["token_expiring", "draining", "resumed"]})]


class Missing(msgspec.Struct, frozen=True):
    """Offsets that are gone from the history, both ends included."""

    from_: int = msgspec.field(name="from")
    to: int


class OldEvents(NamedTuple):
    """The first old events of a room, for protocols in which they are part of the answer (`Codec.tells_old_events`)."""

    events: tuple[Event, ...]
    """Those that the client wants, oldest first."""
    skipped: tuple[Skipped, ...]
    """Offsets up to `position` that will not come."""
    position: int
    """How far the client has got with these; where the room's offset is higher, more old events follow."""


class Reply(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower, kw_only=True, omit_defaults=True):
    """Anything but an event."""

    id: CommandId = None


class RoomJoined(msgspec.Struct, frozen=True, kw_only=True):
    """Where a subscription begins: position, recovery and state, from one turn of the room."""

    epoch: str
    offset: int
    recovery: _Recovery
    replay: int
    """How many old events follow."""
    missing: Missing | msgspec.UnsetType = msgspec.UNSET
    state: StateView | msgspec.UnsetType = msgspec.UNSET
    old: OldEvents | msgspec.UnsetType = msgspec.UNSET
    """Unset: those that there are follow one by one."""


class Welcome(Reply, frozen=True):
    """The answer to `hello`."""

    connection: str
    user: str
    role: str
    protocol: int
    heartbeat_s: float
    expires_at: str | None
    expires_in_s: float | None
    """Until then, for clients whose clock may be wrong."""
    limits: dict[str, int]
    rooms: dict[str, RoomJoined]


class Subscribed(Reply, frozen=True):
    """The answer to `subscribe`."""

    room: str
    epoch: str
    offset: int
    recovery: _Recovery
    replay: int
    missing: Missing | msgspec.UnsetType = msgspec.UNSET
    state: StateView | msgspec.UnsetType = msgspec.UNSET
    old: OldEvents | msgspec.UnsetType = msgspec.UNSET
    """As in `RoomJoined`."""


class Unsubscribed(Reply, frozen=True):
    """The answer to `unsubscribe`."""

    room: str


class Published(Reply, frozen=True):
    """The answer to `publish`, after the commit."""

    room: str
    epoch: str
    offset: int
    event_id: str
    duplicate: bool


class State(Reply, frozen=True):
    """The answer to `state`."""

    room: str
    epoch: str
    offset: int
    state: StateView


class History(Reply, frozen=True):
    """The answer to `history`; the codec writes the events."""

    room: str
    epoch: str
    offset: int
    """The room's last one."""
    events: tuple[Event, ...]
    more: bool


class Presence(Reply, frozen=True):
    """The answer to `presence`."""

    room: str
    roll: Roll
    """Who is there; the codec writes it."""
    connections: bool = False
    """Whether it was asked for each connection, too."""


class Acknowledged(Reply, frozen=True):
    """The answer to `ack`."""

    room: str
    event_id: str


class Refreshed(Reply, frozen=True):
    """The answer to `refresh`."""

    expires_at: str | None
    expires_in_s: float | None


class Pong(Reply, frozen=True):
    """The answer to `ping`."""

    time: str


class Skipped(Reply, frozen=True):
    """These offsets will not come; the position is now `to`."""

    room: str
    from_: int = msgspec.field(name="from")
    to: int
    reason: _Reason


class Notice(Reply, frozen=True):
    """Advice; what else it says depends on `code`."""

    code: _Advice
    expires_at: str | msgspec.UnsetType = msgspec.UNSET
    reconnect_in_ms: int | msgspec.UnsetType = msgspec.UNSET
    rooms: list[str] | msgspec.UnsetType = msgspec.UNSET


class Revoked(Reply, frozen=True):
    """The server ended a subscription."""

    room: str
    reason: str


class MemberJoined(Reply, frozen=True, tag="joined"):
    """A connection has come into a room; for those who asked for it when they subscribed."""

    room: str
    user: str
    connection: str


class MemberLeft(Reply, frozen=True, tag="left"):
    """A connection has left a room."""

    room: str
    user: str
    connection: str


class Error(Reply, frozen=True):
    """A command failed; nothing was changed."""

    code: ErrorCode
    message: str
    temporary: bool
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, id: CommandId, refusal: Refusal) -> Error:
        """Make the answer to a command that was refused."""
        return cls(
            id=id,
            code=refusal.code,
            message=refusal.message,
            temporary=refusal.code.temporary,
            retry_after_ms=msgspec.UNSET if refusal.retry_after_ms is None else refusal.retry_after_ms,
        )
