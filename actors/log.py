"""EventLog: the port that decides when an event is committed, and the log in memory.

Drafts in; committed events out, with the offsets that the log gave them, as messages to the room.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from .errors import LogUnavailable, PostroomError
from .events import Event
from .mailbox import Target
from .messages import Append, Committed

__all__ = ["EventLog", "MemoryLog", "RoomRecord"]


class RoomRecord(msgspec.Struct, frozen=True):
    """What a log knows of a room: enough to go on where it stopped."""

    epoch: str
    top: int
    """Offset of the last committed event; 0: none yet."""
    events: tuple[Event, ...]
    """The retained events, oldest first, without a hole up to `top`."""
    state: bytes | None
    """The last snapshot of the room's state; None: there is none, fold from the first event."""
    state_offset: int
    """The offset that the snapshot stands at. Every event after it is in `events`."""


class EventLog(Protocol):
    """Where events are kept. Every call returns at once, on the loop's thread; what takes time comes back later."""

    def open(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None]) -> None:
        """Read a room's record, or begin one under a new epoch, and hand it to `ready` on the loop's thread."""

    def append(self, room: str, append: Append, to: Target) -> None:
        """Commit an event at the next offset; `to` is told `Committed`, or `AppendFailed` and nothing was kept.

        Commits of one room are told in the order of the calls.
        """

    def snapshot(self, room: str, offset: int, state: bytes) -> None:
        """Keep the room's state at `offset`, in place of the snapshot before."""

    def trim(self, room: str, before: int) -> None:
        """Drop the events whose offset is below `before`; never one that comes after the snapshot."""

    def release(self, room: str) -> None:
        """The room is retired: nobody will append until it is opened again."""

    def known(self, room: str) -> bool:
        """Tell whether the log has a record of `room`."""


_OVERHEAD_BYTES = 400  # of an event beside its data, in CPython


class _Shelf:
    __slots__ = ("epoch", "events", "state", "state_offset", "top")

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(6)
        self.top = 0
        self.events: deque[Event] = deque()
        self.state: bytes | None = None
        self.state_offset = 0


class MemoryLog:
    """An event log that ends with the process. It commits at once.

    Args:
        retired_rooms: How many retired rooms are remembered; past that the one retired longest ago is forgotten, and
            comes back empty under a new epoch.
        retired_bytes: About how many bytes they may take together; past that likewise.
    """

    def __init__(self, *, retired_rooms: int = 10_000, retired_bytes: int = 256 * 1024 * 1024) -> None:
        self._shelves: dict[str, _Shelf] = {}
        self._retired: dict[str, int] = {}
        """Retired rooms, longest ago first, to the bytes that they take."""
        self._retired_rooms = retired_rooms
        self._retired_bytes = retired_bytes
        self._bytes = 0

    def open(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None]) -> None:
        """Read a room's record; `ready` is called before this returns."""
        shelf = self._shelves.get(room)
        if shelf is None:
            shelf = self._shelves[room] = _Shelf()
        self._bytes -= self._retired.pop(room, 0)
        ready(RoomRecord(shelf.epoch, shelf.top, tuple(shelf.events), shelf.state, shelf.state_offset))

    def append(self, room: str, append: Append, to: Target) -> None:
        """Commit an event; `to` is told before this returns."""
        shelf = self._shelves[room]
        event = Event(offset=shelf.top + 1, prev=shelf.top, draft=append.draft)
        shelf.events.append(event)
        shelf.top = event.offset
        to.tell(Committed(event, append))

    def snapshot(self, room: str, offset: int, state: bytes) -> None:
        """Keep the room's state at `offset`."""
        shelf = self._shelves[room]
        shelf.state, shelf.state_offset = state, offset

    def trim(self, room: str, before: int) -> None:
        """Drop the events whose offset is below `before`."""
        shelf = self._shelves[room]
        if before > shelf.state_offset + 1:
            raise PostroomError(f"{room}: cannot trim up to {before}, the state stands at {shelf.state_offset}")
        while shelf.events and shelf.events[0].offset < before:
            shelf.events.popleft()

    def release(self, room: str) -> None:
        """Remember the room among the retired ones."""
        shelf = self._shelves[room]
        if not shelf.top:  # nothing ever happened in it: it may not push out one where something did
            del self._shelves[room]
            return
        self._retired[room] = sum(len(memoryview(event.draft.data)) + _OVERHEAD_BYTES for event in shelf.events)
        self._bytes += self._retired[room]
        while len(self._retired) > self._retired_rooms or self._bytes > self._retired_bytes:
            forgotten = next(iter(self._retired))
            self._bytes -= self._retired.pop(forgotten)
            del self._shelves[forgotten]

    def known(self, room: str) -> bool:
        """Tell whether the room was ever opened and is not forgotten."""
        return room in self._shelves
