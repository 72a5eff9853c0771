"""EventLog: the port that decides when an event is committed, and the log in memory.

Drafts in; committed events out, with the offsets that the log gave them, as messages to the room.
"""

from __future__ import annotations

import hashlib
import secrets
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection
from typing import Protocol

from .errors import LogUnavailable, PostroomError
from .events import Event
from .mailbox import Target
from .messages import Append, Committed
from .record import PastId, RoomRecord

__all__ = ["EventLog", "MemoryLog", "epoch_of"]


class EventLog(Protocol):
    """Where events are kept. Every call returns at once, on the loop's thread; what takes time comes back later.

    Calls take effect in their order: a room that is opened after an append finds the event, or it was not kept.
    """

    def open(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None], to: Target | None = None) -> None:
        """Read a room's record, or begin one under a new epoch, and hand it to `ready` on the loop's thread.

        From then on `to` is told what other routers on the same log append (`Arrived`), and that one of them had the
        room forgotten (`Renewed`), each at its place among the commits; None: nobody is.
        """

    def append(self, room: str, append: Append, to: Target) -> None:
        """Commit an event at the next offset; `to` is told `Committed`, or `AppendFailed` and nothing was kept.

        Commits of one room are told in the order of the offsets, which is that of the calls. An event whose delivery is
        `ephemeral` takes an offset and is not kept.

        Where another router on the same log was given it first under the same id, `to` is told `Duplicated`.

        Raises:
            PostroomError: The room is not open, or its history was lost since.
        """

    def snapshot(self, room: str, offset: int, state: bytes, *, watched: bool) -> None:
        """Keep the room's state at `offset`, in place of the snapshot before.

        `watched`: whether the room has to be opened at the next start even if nobody asks for it. It has to be, too,
        after an alert that is to be acknowledged was appended, until a snapshot says otherwise.
        """

    def trim(self, room: str, before: int, *, lost: int, keep: Collection[int], ids_since_ms: int) -> None:
        """Drop the events whose offset is below `before`, but for those in `keep` and those that no snapshot covers.

        `lost` is what the record says from then on: up to there one of those that were dropped matters.

        Of those that are dropped and were named by their publisher the ids are kept, and ids that were kept before are
        dropped when they are older than `ids_since_ms`, Unix time in milliseconds.
        """

    def release(self, room: str) -> None:
        """The room is retired: nobody will append until it is opened again."""

    def forget(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None]) -> None:
        """Drop all that is known of a room that is open, for good, and begin one under a new epoch.

        `ready` is called on the loop's thread, when that outlives the process as far as events do: with the new
        record, or with why nothing was done. What was appended before is told before, and is gone.
        """

    def catch_up(self, room: str, then: Callable[[LogUnavailable | None], None]) -> None:
        """Have a room that is open told what others have appended until now, and then call `then`."""

    def rooms(self) -> Collection[str]:
        """Return the names of the rooms that the log has a record of, in no order."""

    def known(self, room: str) -> bool:
        """Tell whether the log may have a record of `room`: it has none where this is False."""

    def watched(self) -> Collection[str]:
        """Return the rooms that have to be opened at the start because something in them waits for its time."""


def epoch_of(log_id: str, room: str) -> str:
    """Return the epoch of a room in which nothing happened yet.

    It can be told from the log's own id, so that a client which was there before the first event comes back to the same
    epoch after a restart, although nothing was written for the room.
    """
    return hashlib.blake2s(f"{log_id} {room}".encode(), digest_size=6).hexdigest()


_OVERHEAD_BYTES = 400  # of an event beside its data, in CPython


class _Shelf:
    __slots__ = ("epoch", "events", "gone", "lost", "named", "past_ids", "state", "state_offset", "top")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.top = 0
        self.events: list[Event] = []
        self.named: set[int] = set()
        """Offsets of events whose publisher gave them their id."""
        self.past_ids: deque[PastId] = deque()
        self.gone = 0
        self.lost = 0
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
        self._id = secrets.token_hex(6)
        self._shelves: dict[str, _Shelf] = {}
        self._retired: dict[str, int] = {}
        """Retired rooms, longest ago first, to the bytes that they take."""
        self._retired_rooms = retired_rooms
        self._retired_bytes = retired_bytes
        self._bytes = 0

    def open(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None], to: Target | None = None) -> None:
        """Read a room's record; `ready` is called before this returns."""
        shelf = self._shelves.get(room)
        if shelf is None:
            shelf = self._shelves[room] = _Shelf(epoch_of(self._id, room))
        self._bytes -= self._retired.pop(room, 0)
        ready(
            RoomRecord(
                epoch=shelf.epoch,
                top=shelf.top,
                events=tuple(shelf.events),
                gone=shelf.gone,
                lost=shelf.lost,
                state=shelf.state,
                state_offset=shelf.state_offset,
                past_ids=tuple(shelf.past_ids),
            )
        )

    def append(self, room: str, append: Append, to: Target) -> None:
        """Commit an event; `to` is told before this returns."""
        shelf = self._shelves.get(room)
        if shelf is None:
            raise PostroomError(f"{room} is not open")
        event = Event(offset=shelf.top + 1, prev=shelf.top, draft=append.draft)
        shelf.top = event.offset
        if event.draft.delivery != "ephemeral":
            shelf.events.append(event)
            if append.named:
                shelf.named.add(event.offset)
        to.tell(Committed(event, append))

    def snapshot(self, room: str, offset: int, state: bytes, *, watched: bool) -> None:
        """Keep the room's state at `offset`; there is no next start for which to remember `watched`."""
        shelf = self._shelves[room]
        shelf.state, shelf.state_offset = state, offset

    def trim(self, room: str, before: int, *, lost: int, keep: Collection[int], ids_since_ms: int) -> None:
        """Drop the events whose offset is below `before`."""
        shelf = self._shelves[room]
        before = min(before, shelf.state_offset + 1)
        shelf.gone = max(shelf.gone, before - 1)
        shelf.lost = max(shelf.lost, min(lost, before - 1))
        keep = set(keep)
        end = bisect_left(shelf.events, before, key=lambda event: event.offset)
        kept = []
        for event in shelf.events[:end]:
            if event.offset in keep:
                kept.append(event)
            elif event.offset in shelf.named:
                shelf.named.discard(event.offset)
                shelf.past_ids.append(PastId(event.draft.id, event.offset, event.draft.time_ms))
        shelf.events[:end] = kept
        while shelf.past_ids and shelf.past_ids[0].time_ms < ids_since_ms:
            shelf.past_ids.popleft()

    def release(self, room: str) -> None:
        """Remember the room among the retired ones."""
        shelf = self._shelves[room]
        if not shelf.top:  # nothing ever happened in it: it may not push out one where something did
            del self._shelves[room]
            return
        data = sum(len(memoryview(event.draft.data)) + _OVERHEAD_BYTES for event in shelf.events)
        self._retired[room] = data + len(shelf.past_ids) * _OVERHEAD_BYTES + len(shelf.state or b"")
        self._bytes += self._retired[room]
        while len(self._retired) > self._retired_rooms or self._bytes > self._retired_bytes:
            forgotten = next(iter(self._retired))
            self._bytes -= self._retired.pop(forgotten)
            del self._shelves[forgotten]
            self._id = secrets.token_hex(6)  # it must not come back under the epoch that it had

    def forget(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None]) -> None:
        """Drop a room's shelf and begin another; `ready` is called before this returns."""
        self._shelves.pop(room, None)
        self._id = secrets.token_hex(6)  # it must not come back under the epoch that it had
        self.open(room, ready)

    def catch_up(self, room: str, then: Callable[[LogUnavailable | None], None]) -> None:
        """Call `then`: nobody else appends."""
        then(None)

    def rooms(self) -> Collection[str]:
        """Return the rooms that are open or remembered."""
        return self._shelves.keys()

    def known(self, room: str) -> bool:
        """Tell whether the room was ever opened and is not forgotten."""
        return room in self._shelves

    def watched(self) -> Collection[str]:
        """Return nothing: it starts empty."""
        return ()
