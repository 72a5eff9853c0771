"""What clients receive: one record per event, one per answer."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

import msgspec

from ._positions import Position

__all__ = ["Event", "HistoryPage", "Member", "Presence", "Receipt", "RoomState"]

_Data = TypeVar("_Data")


class Event(msgspec.Struct, frozen=True, tag="event", tag_field="type", kw_only=True):
    """One event at its place in a room."""

    room: str = ""
    offset: int
    """Place in the room, from 1 on, growing."""
    prev: int
    """Offset of the room's event before this one; 0: none."""
    id: str
    """The publisher's event id; acknowledge an alert with it."""
    kind: str
    """`notification`, `alert`, `progress`, `session`, `system`, or an application's own name with a dot."""
    time: datetime
    """When the router took it (aware, UTC)."""
    data: dict[str, object]
    """The payload as plain JSON values; `read` gives it a type."""
    key: str | None = None
    """Conflation key, where the publisher set one."""
    delivery: str | None = None
    """`keep`, `latest` or `ephemeral`, where it is not what is usual for the kind."""
    ack: str | None = None
    """`required`: an alert that stays in the room's state until somebody acknowledges it."""
    traceparent: str | None = None
    """Which trace it belongs to (W3C Trace Context), where the publisher said so and the router knows still."""

    def read(self, shape: type[_Data]) -> _Data:
        """Return the data as a type of your own: a msgspec Struct, a dataclass or a TypedDict.

        Raises:
            msgspec.ValidationError: The data does not have that shape; the message says where.
        """
        return msgspec.convert(self.data, shape)


class Receipt(msgspec.Struct, frozen=True):
    """A published event is committed: it will not be lost."""

    room: str
    epoch: str
    offset: int
    """Its place in the room."""
    event_id: str
    duplicate: bool = False
    """Whether the router had it already (from an attempt whose answer was lost): it counts once."""

    @property
    def position(self) -> Position:
        """Its place with the room's epoch."""
        return Position(self.epoch, self.offset)


class RoomState(msgspec.Struct, frozen=True):
    """What a room's events amount to, at one position."""

    room: str
    position: Position
    state: dict[str, object]
    """`status`, `owner`, `progress` by key, unacknowledged `alerts`, counts: see the protocol's table."""


class HistoryPage(msgspec.Struct, frozen=True):
    """A part of a room's history, oldest event first."""

    room: str
    epoch: str
    events: tuple[Event, ...]
    more: bool
    """Whether there is more in the direction that was asked for."""


class Member(msgspec.Struct, frozen=True):
    """A user who is in a room now."""

    user: str
    connections: int
    """With how many connections."""


class Presence(msgspec.Struct, frozen=True):
    """Who is in a room now."""

    room: str
    members: tuple[Member, ...]
    count: int
    """How many members; may be more than are listed."""
