"""What rooms ask of a journal, and what came of it: operations in, one result for each out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from actors.errors import LogUnavailable, Refusal
from actors.events import Event
from actors.mailbox import Target
from actors.messages import Append
from actors.record import RoomRecord

__all__ = ["Add", "Forget", "Open", "Operation", "Release", "Result", "Snapshot", "Trim", "hand_over"]


class Open(NamedTuple):
    """Read a room's record, or begin one."""

    room: str
    ready: Callable[[RoomRecord | LogUnavailable], None]


class Add(NamedTuple):
    """Keep an event. `epoch` is the one under which the room was opened: in another one the event has no place."""

    room: str
    epoch: str
    append: Append
    to: Target


class Snapshot(NamedTuple):
    """Keep a room's state."""

    room: str
    epoch: str
    offset: int
    state: bytes
    watched: bool


class Trim(NamedTuple):
    """Drop old events."""

    room: str
    epoch: str
    before: int
    lost: int
    keep: tuple[int, ...]
    ids_since_ms: int


class Forget(NamedTuple):
    """Drop all that is known of a room, and begin one. It is a transaction of its own."""

    room: str
    ready: Callable[[RoomRecord | LogUnavailable], None]


class Release(NamedTuple):
    """Forget that the room is open."""

    room: str


Operation = Open | Add | Snapshot | Trim | Forget | Release
Result = RoomRecord | LogUnavailable | Event | Refusal | None
"""Of an `Open` or `Forget`: a record or why there is none; of an `Add`: the event or why not; of the others: None."""


def hand_over(room: str, ready: Callable[[RoomRecord | LogUnavailable], None], result: Any) -> None:
    """Hand a record out. A room that cannot begin with it fails as one that has none, and alone."""
    try:
        ready(result)
    except BaseException as error:
        failure = LogUnavailable(f"{room} cannot go on from its record: {error!r}")
        failure.__cause__ = error
        ready(failure)
