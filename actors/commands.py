"""What clients say: a codec decodes frames into these, the Connection actor obeys them.

The field names are those of the native protocol, whose JSON is these records as they stand.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from .errors import ErrorCode
from .identity import is_room_name

__all__ = [
    "MOST_HISTORY",
    "MOST_KINDS",
    "Ack",
    "Bye",
    "Client",
    "Command",
    "Hello",
    "History",
    "Ping",
    "Position",
    "Presence",
    "Publish",
    "Refresh",
    "Speak",
    "State",
    "Subscribe",
    "Unfit",
    "Unsubscribe",
]


MOST_KINDS = 32
"""Kinds that a subscription may be narrowed to."""

MOST_HISTORY = 300
"""Events in one answer to `history`, at most."""


# What is checked elsewhere, with better words than the decoder has: JSON schemas say it, too.
_Offset = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 0})]
_Kinds = Annotated[
    list[Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": 200})]],
    msgspec.Meta(extra_json_schema={"minItems": 1, "maxItems": MOST_KINDS}),
]
_Limit = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 1, "maximum": MOST_HISTORY})]
_Name = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": 200})]
_Delivery = Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["keep", "latest", "ephemeral"]})]
_Ack = Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["required", "none"]})]


class Position(msgspec.Struct, frozen=True):
    """A place in a room's history. It means nothing under another epoch."""

    epoch: str
    offset: _Offset

    def __post_init__(self) -> None:
        if self.offset < 0:
            raise ValueError(f"offset {self.offset} is negative")


class Command(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower, kw_only=True):
    """Something a client asks for; its answer carries the same `id`."""

    id: int | str | None = None


class _RoomCommand(Command, frozen=True):
    room: str

    def __post_init__(self) -> None:
        _check_room(self.room)


def _check_room(room: str) -> None:
    if not is_room_name(room):
        raise ValueError(
            f"room {room[:80]!r} is no room name: use 'session:ID', 'user:ID', 'role:NAME', 'broadcast', "
            "'system' or 'word:ID'"
        )


class Client(msgspec.Struct, frozen=True):
    """What program the client is; for operators."""

    name: str = ""
    version: str = ""


class Hello(Command, frozen=True):
    """Say who you are; first, and once."""

    token: str | None = None
    client: Client | None = None
    resume: dict[str, Position] = {}

    def __post_init__(self) -> None:
        for room in self.resume:
            _check_room(room)


class Subscribe(_RoomCommand, frozen=True):
    """Join a room: from a position, from the last `history` events, or from now on."""

    after: Position | None = None
    history: _Offset | None = None
    kinds: _Kinds | None = None
    state: bool = True
    presence: bool = False
    """Whether to be told who comes into the room and who leaves it."""

    def __post_init__(self) -> None:
        _RoomCommand.__post_init__(self)
        if self.history is not None and self.history < 0:
            raise ValueError(f"history {self.history} is negative: it is the number of old events that you want")
        if self.kinds is not None and not self.kinds:
            raise ValueError("kinds is empty: name the kinds that you want, or leave it out for all")
        if self.kinds is not None and (len(self.kinds) > MOST_KINDS or max(map(len, self.kinds)) > 200):
            raise ValueError(f"kinds: name up to {MOST_KINDS} kinds of up to 200 characters, or leave it out for all")


class Unsubscribe(_RoomCommand, frozen=True):
    """Leave a room."""


class Publish(_RoomCommand, frozen=True):
    """Hand in an event."""

    kind: str
    data: dict[str, Any]
    event_id: _Name | None = None
    delivery: _Delivery | None = None
    key: _Name | None = None
    ack: _Ack | None = None
    traceparent: str | None = None


class State(_RoomCommand, frozen=True):
    """Ask for the state of a room."""


class History(_RoomCommand, frozen=True):
    """Ask for old events: after an offset, before one, or the last ones."""

    after: int | None = None
    before: int | None = None
    limit: _Limit = 100

    def __post_init__(self) -> None:
        _RoomCommand.__post_init__(self)
        if not 1 <= self.limit <= MOST_HISTORY:
            raise ValueError(f"limit {self.limit}: use 1 to {MOST_HISTORY}")
        if self.after is not None and self.before is not None:
            raise ValueError("after and before exclude each other: use one of them")


class Presence(_RoomCommand, frozen=True):
    """Ask who is in a room; with `connections`, through which connections, too."""

    connections: bool = False


class Ack(_RoomCommand, frozen=True):
    """Acknowledge an alert for everyone in the room."""

    event_id: str


class Refresh(Command, frozen=True):
    """Replace the token before it expires."""

    token: str


class Ping(Command, frozen=True):
    """Ask whether the router answers."""


class Bye(Command, frozen=True):
    """Take leave: for protocols that have a word for it, and do not just close the socket."""


class Speak(Command, frozen=True):
    """From here on this connection's codec is another one: for protocols in which the client chooses at the start."""

    codec: Any
    """An `actors.codec.Codec`. Made by codecs only; no client's message becomes this."""


class Unfit(Command, frozen=True, kw_only=True):
    """One of several commands in a frame that cannot be obeyed: this error is its answer, the others are obeyed.

    Made by codecs only; no client's message becomes this.
    """

    code: ErrorCode = ErrorCode.BAD_MESSAGE
    message: str
