"""Outbox: what waits for one client, in order and within a bound; while the client lags, old values give way to new.

Frames and held events in, one write of whole frames out.
"""

from __future__ import annotations

from collections.abc import Callable

from .codec import Codec
from .held import Held, HeldBatch
from .meters import Meters
from .subscription import Subscription

__all__ = ["Outbox"]

_UNLIMITED = 1 << 62
_MARKERS = 256


class Outbox:
    """What waits because the client's socket takes no more.

    When it is full the client is closed with 4002 and resumes from the room's history: it costs its bound and no more.

    Args:
        limit: Bytes that may wait, those in the socket's own write buffer counted in.
        codec: Encodes what is held; the connection's.
        meters: Count what is written; None: nobody looks at them.
    """

    __slots__ = (
        "_entries",
        "_events",
        "_latest",
        "_live",
        "_live_at",
        "_markers",
        "codec",
        "held",
        "limit",
        "meters",
        "size",
    )

    def __init__(self, limit: int, codec: Codec, meters: Meters | None = None) -> None:
        self.limit = limit
        self.meters = meters if meters is not None else Meters()
        self.size = 0
        """Bytes that wait here; of held events about as many as their frames will have."""
        self.held = 0
        """How many entries are not frames yet: what comes after them must be held, too."""
        self.codec = codec
        self._entries: list[bytes | Held | HeldBatch] = []
        self._events = 0
        """How many events are among the frames that wait."""
        self._live = 0
        """How many of these came straight from their publishers."""
        self._live_at = 0.0
        """When the first of those was handed in."""
        self._markers = 0
        self._latest: dict[str, dict[tuple[str, str | None], Held]] | None = None
        """While the client lags: the newest held value of each room, kind and key. None: it keeps up."""

    @property
    def conflating(self) -> bool:
        """Whether the client lags, and values give way to newer ones."""
        return self._latest is not None

    @property
    def full(self) -> bool:
        """Whether as much waits as may, whatever the socket could take."""
        return self.size > self.limit

    def push(self, frames: bytes, events: int = 0, at: float = 0.0) -> None:
        """Put whole frames at the end.

        Args:
            frames: What the client is to read.
            events: How many events are in them.
            at: When the first of these was handed in; 0: they are old ones.
        """
        self._entries.append(frames)
        self.size += len(frames)
        if events:
            self._framed(events, at)

    def hold(self, held: Held) -> None:
        """Put an event at the end that may give way to a newer one while the client lags."""
        self._entries.append(held)
        self.held += 1
        self.size += held.size
        if held.event is None:
            self._markers += 1
        elif self._latest is not None:
            self._supersede(held, self._latest)
        if self._markers > _MARKERS and self._markers * 2 > len(self._entries):
            self._merge_markers()

    def hold_batch(self, held: HeldBatch) -> None:
        """Put live events at the end, while `conflating` is false."""
        self._entries.append(held)
        self.held += 1
        self.size += held.size

    def conflate(self) -> None:
        """The client lags: from now on, until nothing waits, values give way to newer ones, beginning with these."""
        if self._latest is None:
            entries, self._entries = self._entries, []
            self.size = self.held = self._markers = 0
            self._latest = {}
            for entry in entries:
                if isinstance(entry, bytes):
                    self.push(entry)
                    continue
                for held in entry.expand() if isinstance(entry, HeldBatch) else (entry,):
                    self.hold(held)

    def flush(self, write: Callable[[bytes], None], most: int = _UNLIMITED) -> None:
        """Hand what waits to `write` in one piece, about the first `most` bytes of it, and keep it when that fails."""
        if self._markers:
            self._merge_markers()
        entries = self._entries
        count = len(entries) if not self.held and self.size <= most else self._encode(most)
        frames = entries[0] if count == 1 else b"".join(entries[:count])  # type: ignore[arg-type]  # encoded by now
        if frames:
            write(frames)  # type: ignore[arg-type]  # encoded by now
        if self._events:  # those that stay behind in a piece that is not written yet are few, and counted with these
            self.meters.delivered(self._events, self._live, self._live_at)
            self._events = self._live = 0
        if count == len(entries):
            self.clear()
        else:
            self.size -= len(frames)  # type: ignore[arg-type]  # encoded by now
            del entries[:count]

    def clear(self) -> None:
        """Drop everything: the client will not get it on this connection."""
        self._entries = []
        self.size = self.held = self._markers = self._events = self._live = 0
        self._latest = None

    def over(self, buffered: int) -> bool:
        """Tell whether more waits than may, with `buffered` bytes in the socket's write buffer."""
        return self.size + buffered > self.limit

    def _encode(self, most: int) -> int:
        """Make frames of the first entries, `most` bytes or a little more; return how many entries these are."""
        entries = self._entries
        total = place = 0
        while place < len(entries) and total < most:
            entry = entries[place]
            if isinstance(entry, HeldBatch) and entry.size > most - total:
                self.held -= 1
                self.size -= entry.size
                apart = entry.expand()
                entries[place : place + 1] = apart
                self.held += len(apart)
                self.size += sum(held.size for held in apart)
                continue
            if not isinstance(entry, bytes):
                self._let_go(entry)
                self.size -= entry.size
                events, at = entry.events, entry.at
                entry = entries[place] = entry.frames(self.codec, self.meters)
                if events and entry:
                    self._framed(events, at)
                self.size += len(entry)
                self.held -= 1
            total += len(entry)
            place += 1
        return place

    def _framed(self, events: int, at: float) -> None:
        self._events += events
        if at:
            self._live_at = at if not self._live else min(at, self._live_at)
            self._live += events

    def _let_go(self, entry: Held | HeldBatch) -> None:
        """Forget a value that leaves now: nothing can take its place, and there may be any number of keys."""
        if self._latest is None or not isinstance(entry, Held) or entry.event is None:
            return
        values = self._latest.get(entry.subscription.room, {})
        key = entry.event.draft.kind, entry.event.draft.key
        if values.get(key) is entry:
            del values[key]

    def _supersede(self, held: Held, latest: dict[str, dict[tuple[str, str | None], Held]]) -> None:
        event, room = held.event, held.subscription.room
        if event is None:
            return
        draft = event.draft
        if draft.kind == "session":  # what came before it may not seem to come after it
            latest.pop(room, None)
        elif draft.delivery == "ephemeral":
            self._give_way(held)
        elif draft.delivery == "latest":
            values = latest.setdefault(room, {})
            older = values.get((draft.kind, draft.key))
            values[draft.kind, draft.key] = held
            if older is not None and older.event is not None and older.subscription is held.subscription:
                self._give_way(older)

    def _give_way(self, held: Held) -> None:
        self._markers += 1
        self.meters.conflated += 1
        self.size -= held.size
        held.give_way()
        self.size += held.size

    def _merge_markers(self) -> None:
        """Let markers that stand before an event of their room be part of what is told with it."""
        merged: list[bytes | Held | HeldBatch] = []
        open_markers: dict[Subscription, Held] = {}
        for entry in self._entries:
            before = None if isinstance(entry, bytes) else open_markers.pop(entry.subscription, None)
            if before is not None:
                if isinstance(entry, Held):
                    entry.take_reason(before.reason)
                    self.size -= before.size
                else:
                    merged.append(before)
            if isinstance(entry, Held) and entry.event is None:
                open_markers[entry.subscription] = entry
            else:
                merged.append(entry)
        # Left over: those after which nothing of their room waits.
        merged.extend(open_markers.values())
        self._entries = merged
        self._markers = sum(isinstance(entry, Held) and entry.event is None for entry in merged)
        self.held = sum(not isinstance(entry, bytes) for entry in merged)
