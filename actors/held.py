"""Held: what waits for one client as it is, not as frames, so that values in it can still give way to newer ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .batch import ENVELOPE_BYTES, Batch
from .events import Event
from .meters import Meters
from .replies import Skipped
from .subscription import Subscription

if TYPE_CHECKING:
    from .codec import Codec

__all__ = ["Held", "HeldBatch", "marker"]

_MARKER_BYTES = 1  # most become part of another one; not 0, for an outbox that holds one is not empty
_GRAVITY = ("filtered", "conflated", "expired")
"""Why offsets do not come, the least loss first: a marker over several of them names the greatest."""


def marker(subscription: Subscription, to: int, reason: str, codec: Codec, meters: Meters) -> bytes:
    """Return the frame that moves the client's position to `to`, and count it; empty where it is there already."""
    if to <= subscription.told:
        return b""
    frame = codec.encode(Skipped(room=subscription.room, from_=subscription.told + 1, to=to, reason=reason))
    subscription.told = to
    meters.skipped[reason] += 1
    return frame


class Held:
    """An event, and up to where the offsets before it will not come; or only that.

    Args:
        subscription: Whose it is.
        event: The event; None: only a marker.
        to: The offset up to which nothing comes before the event.
        reason: Why, where it is not told yet.
        at: When the event was handed in; 0: it is an old one.
    """

    __slots__ = ("at", "event", "reason", "size", "subscription", "to")

    def __init__(self, subscription: Subscription, event: Event | None, to: int, reason: str, at: float = 0.0) -> None:
        self.subscription = subscription
        self.event = event
        self.to = to
        self.reason = reason
        self.at = at
        self.size = _MARKER_BYTES if event is None else len(memoryview(event.draft.data)) + ENVELOPE_BYTES
        """About how many bytes it will be on the wire."""

    @property
    def events(self) -> int:
        """How many events it is: one or none."""
        return int(self.event is not None)

    def frames(self, codec: Codec, meters: Meters) -> bytes:
        """Encode it and move the client's position; nothing for a client that has left the room."""
        subscription, event = self.subscription, self.event
        if subscription.left:
            return b""
        frame = b"" if event is None else codec.encode_event(subscription.room, event)
        frames = marker(subscription, self.to, self.reason, codec, meters) + frame
        if event is not None:
            subscription.told = event.offset
            self.event = None  # on its way: nothing can take its place any more
        return frames

    def give_way(self) -> None:
        """Become a marker: the event will not come."""
        assert self.event is not None
        self.to, self.event, self.size = self.event.offset, None, _MARKER_BYTES
        self.take_reason("conflated")

    def take_reason(self, reason: str) -> None:
        """Stand for offsets before this one, too, which do not come for this reason."""
        self.reason = max(self.reason, reason, key=_GRAVITY.index)


class HeldBatch:
    """Live events that follow each other: as cheap as their frames as long as none gives way.

    Args:
        subscription: Whose they are; it wants every kind.
        batch: The events, without a gap between them and what was held before.
        codec: How the client speaks.
    """

    __slots__ = ("_batch", "at", "size", "subscription")

    def __init__(self, subscription: Subscription, batch: Batch, codec: Codec) -> None:
        self.subscription = subscription
        self._batch = batch
        self.at = batch.at
        """When the first of them was handed in."""
        self.size = len(batch.frames(codec))
        """Bytes on the wire."""

    @property
    def events(self) -> int:
        """How many they are."""
        return len(self._batch)

    def frames(self, codec: Codec, meters: Meters) -> bytes:
        """Return the frames, which all clients share, and move the client's position."""
        subscription, batch = self.subscription, self._batch
        if subscription.left:
            return b""
        frames = batch.frames(codec)
        subscription.told = batch.top
        batch.count_markers(meters)
        return frames

    def expand(self) -> list[Held]:
        """Return the events one by one."""
        gaps = self._batch.gaps
        return [
            Held(self.subscription, event, event.prev, gaps.get(event.offset, "filtered"), self.at)
            for event in self._batch.events
        ]
