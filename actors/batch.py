"""Batch: a run of one room's events, shared by all who get it and encoded once for each codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from .events import Event
from .meters import Meters
from .replies import Skipped

if TYPE_CHECKING:
    from .codec import Codec

__all__ = ["ENVELOPE_BYTES", "Batch"]

ENVELOPE_BYTES = 200
"""Of an event's frame beside its data, about."""
_NO_GAPS: Mapping[int, str] = MappingProxyType({})


class Batch:
    """Events in their order. Immutable but for the cache of their frames.

    Args:
        room: The room's name.
        events: One event at least.
        gaps: Offset of each event that does not follow the one before it, or what the batch was asked to come after,
            to why those between are not here: `conflated` or `expired`. Empty: none was left out.
        at: When the first of them was handed in, by the monotonic clock; 0: they are old ones.
    """

    __slots__ = ("_frames", "at", "events", "gaps", "prev", "room", "top", "traced")

    def __init__(
        self, room: str, events: Sequence[Event], gaps: Mapping[int, str] = _NO_GAPS, *, at: float = 0.0
    ) -> None:
        self.room = room
        self.at = at
        self.events = tuple(events)
        self.gaps = gaps
        self.prev = events[0].prev
        """Offset of the event before the first one."""
        self.top = events[-1].offset
        self.traced = tuple([event for event in self.events if event.draft.traceparent is not None])
        """Those that belong to a trace."""
        self._frames: dict[Codec, bytes] = {}

    def __len__(self) -> int:
        return len(self.events)

    @property
    def size(self) -> int:
        """About how many bytes its frames have."""
        return sum(len(memoryview(event.draft.data)) + ENVELOPE_BYTES for event in self.events)

    def frames(self, codec: Codec) -> bytes:
        """Return the frames of all events and of the markers between them, ready to be written."""
        frames = self._frames.get(codec)
        if frames is None:
            parts: list[bytes] = []
            position = self.prev
            for event in self.events:
                if event.prev != position:
                    reason = self.gaps.get(event.offset, "expired")
                    skipped = Skipped(room=self.room, from_=position + 1, to=event.prev, reason=reason)
                    parts.append(codec.encode(skipped))
                parts.append(codec.encode_event(self.room, event))
                position = event.offset
            frames = self._frames[codec] = b"".join(parts)
        return frames

    def count_markers(self, meters: Meters) -> None:
        """Count the markers that are among the frames, for a client that gets them."""
        for reason in self.gaps.values():
            meters.skipped[reason] += 1
