"""Shelf: what the log knows of one open room. Messages of the stream in, in their order; a record at any time out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

from actors.errors import LogUnavailable
from actors.events import Draft, Event
from actors.mailbox import Target
from actors.record import PastId, RoomRecord
from server.cluster.link import Listening

from .reading import Found, Reading
from .records import Forgotten, Snapshot, Stored

__all__ = ["Opening", "Shelf"]

_MOST_PAST_IDS = 2000
"""Of one room, in its snapshot: beside it the stream itself remembers the ids of its window while it runs."""


class Opening:
    """Somebody waits for a room's record.

    Args:
        ready: Is given it.
        to: Is told from then on what other routers append.
    """

    __slots__ = ("ready", "to")

    def __init__(self, ready: Callable[[RoomRecord | LogUnavailable], None], to: Target | None) -> None:
        self.ready = ready
        self.to = to


class Shelf:
    """One open room.

    Args:
        room: Its name.
        epoch: Of its history, until the stream says otherwise.
    """

    def __init__(self, room: str, epoch: str) -> None:
        self.room = room
        self.to: Target | None = None
        self.openings: list[Opening] = []
        """Who waits for the record: while it is read, or while events are under way that it must have."""
        self.again = False
        """Whether it is to be read from where it is once more, when that is done."""
        self.reading = False
        """Whether the stream is being read, whole or from where a message is missing."""
        self.whole = False
        """Whether all of it was read."""
        self.listening: Listening | None = None
        self.early: list[tuple[int, int, bytes]] = []
        """Live messages that wait until what is before them was read: offset, the one before, and what it says."""
        self.pending: dict[int, None] = {}
        """Numbers of what this router has under way for the room."""
        self.after_top: list[tuple[int, int]] = []
        """Offsets of events that were there already, and the numbers of those who wait until they were told."""
        self.catching_up: list[Callable[[LogUnavailable | None], None]] = []
        """Who is to be told when everything that was stored when they asked was told."""
        self.released = False
        self.dirty = False
        """Whether its snapshot has to be written."""
        self.writing = False
        self.revision = 0
        """Of the last snapshot that is known to be stored; 0: none."""
        self.written_at = 0.0
        """When that was, by the monotonic clock."""
        self.stored_gone = 0
        """Up to where the stream was told to drop events."""
        self.stored_kept: set[int] = set()
        """Offsets of old events that the stream has copies of."""
        self.stored_watched = False
        """Whether the stream says that the room is watched."""
        self.watched = False
        self._begin(epoch, base=0)

    def _begin(self, epoch: str, base: int) -> None:
        self.epoch = epoch
        self.base = self.seen = base
        """The last message of the room that was dealt with, an event or not."""
        self.top = 0
        self.first = 0
        self.events: list[Event] = []
        """Those that are left, oldest first: all stored ones after `gone`, and those before it that are kept."""
        self.named: set[int] = set()
        self.past_ids: deque[PastId] = deque(maxlen=_MOST_PAST_IDS)
        self.gone = 0
        self.last_gone = 0
        self.lost = 0
        self.state: bytes | None = None
        self.state_offset = 0

    def restore(self, reading: Reading, epoch: str) -> None:
        """Take up what was read of the room."""
        snapshot = reading.snapshot
        self._begin(
            snapshot.epoch if snapshot is not None else epoch, base=snapshot.base if snapshot is not None else 0
        )
        self.revision = reading.revision
        if snapshot is not None:
            self._restore(snapshot, reading)
        self.top = self.last_gone
        for found in reading.found:
            self.take(found)
        if snapshot is not None and snapshot.epoch == self.epoch:
            self.top = max(self.top, snapshot.state_offset)
        self.seen = max(self.seen, self.top, self.gone)
        self.whole = True

    def _restore(self, snapshot: Snapshot, reading: Reading) -> None:
        self.first = snapshot.first
        self.gone, self.last_gone, self.lost = snapshot.gone, snapshot.last_gone, snapshot.lost
        self.state, self.state_offset = snapshot.state, snapshot.state_offset
        self.past_ids.extend(snapshot.past_ids)
        self.stored_gone = max(snapshot.gone, snapshot.base)
        self.stored_kept = set(snapshot.kept)
        for prev, kept in reading.kept:
            if isinstance(kept.stored, Stored):
                self._hold(Event(offset=kept.offset, prev=prev, draft=kept.stored.draft(live=False)), kept.stored.named)
        oldest = reading.found[0].offset if reading.found else 0
        if snapshot.oldest and (not oldest or oldest > snapshot.oldest):  # they have grown too old for the stream
            self.gone = self.last_gone = self.lost = oldest - 1 if oldest else snapshot.state_offset

    def take(self, found: Found, *, live: bool = False, draft: Draft | None = None) -> Event | None:
        """Take in the next message; return its event, if it is one.

        Args:
            found: The message.
            live: Whether it was heard of as it was stored.
            draft: What its event was made of, where that is at hand.
        """
        stored = found.stored
        self.seen = found.offset
        if isinstance(stored, Forgotten):
            self.forget(stored.epoch, found.offset)
            return None
        if stored is None:
            return None
        event = Event(offset=found.offset, prev=self.top, draft=draft if draft is not None else stored.draft(live=live))
        self.top = event.offset
        self.first = self.first or event.offset
        if stored.delivery != "ephemeral":
            self._hold(event, stored.named)
        return event

    def forget(self, epoch: str, offset: int) -> None:
        """Begin another history behind a message of the stream."""
        self._begin(epoch, base=offset)
        self.dirty = True
        self.watched = False

    def drop(self, before: int, lost: int, keep: Collection[int], ids_since_ms: int) -> None:
        """Drop events below an offset, but for those that are kept and those that no snapshot covers."""
        before = min(before, self.state_offset + 1)
        if before - 1 > self.gone:
            last = next((event.offset for event in reversed(self.events) if event.offset < before), 0)
            self.gone = before - 1
            self.last_gone = max(self.last_gone, last, self.state_offset if self.state_offset < before else 0)
        self.lost = max(self.lost, min(lost, before - 1))
        self._leave(before, keep)
        while self.past_ids and self.past_ids[0].time_ms < ids_since_ms:
            self.past_ids.popleft()

    def adopt(self, other: Snapshot, revision: int) -> None:
        """Take over what another router has stored of the room, and dropped."""
        self.revision = revision
        if other.state_offset >= self.state_offset:
            self.state, self.state_offset = other.state, other.state_offset
        if other.gone > self.gone:
            self.gone, self.last_gone = other.gone, other.last_gone
            self.lost = max(self.lost, other.lost)
            self._leave(other.gone + 1, other.kept)
            self.stored_gone = max(self.stored_gone, other.gone)
        self.stored_kept |= set(other.kept)

    def _leave(self, before: int, keep: Collection[int]) -> None:
        """Let go of events below an offset; the ids that their publishers gave them stay."""
        left: list[Event] = []
        for event in self.events:
            if event.offset >= before or event.offset in keep:
                left.append(event)
            elif event.offset in self.named:
                self.named.discard(event.offset)
                self.past_ids.append(PastId(event.draft.id, event.offset, event.draft.time_ms))
        self.events = left

    def record(self) -> RoomRecord:
        """Return what is known of the room."""
        return RoomRecord(
            epoch=self.epoch,
            top=self.top,
            events=tuple(self.events),
            gone=self.gone,
            lost=self.lost,
            state=self.state,
            state_offset=self.state_offset,
            past_ids=tuple(self.past_ids),
            first=self.first or 1,
        )

    def snapshot(self) -> Snapshot:
        """Return what is to be stored of it."""
        left = next((event.offset for event in self.events if event.offset > self.gone), 0)
        return Snapshot(
            self.epoch,
            self.first,
            self.state_offset,
            self.state,
            self.base,
            self.gone,
            self.last_gone,
            self.lost,
            left,
            tuple(event.offset for event in self.kept()),
            tuple(self.past_ids),
        )

    def kept(self) -> list[Event]:
        """Return the old events that matter still."""
        return [event for event in self.events if event.offset <= self.gone]

    @property
    def is_watched(self) -> bool:
        """Whether something in the room waits for its time, or an alert came after the last snapshot."""
        return self.watched or any(event.draft.ack for event in self.events if event.offset > self.state_offset)

    @property
    def untouched(self) -> bool:
        """Whether nothing ever happened in the room."""
        return not (self.seen or self.revision or self.pending)

    def _hold(self, event: Event, named: bool) -> None:
        self.events.append(event)
        if named:
            self.named.add(event.offset)
