"""Batch: a run of one room's events, shared by all who get it and encoded once for each codec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .events import Event

if TYPE_CHECKING:
    from .codec import Codec

__all__ = ["Batch"]


class Batch:
    """Events that follow each other. Immutable but for the cache of their frames.

    Args:
        room: The room's name.
        events: One event at least, in order, none left out between them.
    """

    __slots__ = ("_frames", "events", "prev", "room", "top")

    def __init__(self, room: str, events: Sequence[Event]) -> None:
        self.room = room
        self.events = tuple(events)
        self.prev = events[0].prev
        """Offset of the event before the first one."""
        self.top = events[-1].offset
        self._frames: dict[Codec, bytes] = {}

    def __len__(self) -> int:
        return len(self.events)

    def frames(self, codec: Codec) -> bytes:
        """Return the frames of all events, one after the other, ready to be written."""
        frames = self._frames.get(codec)
        if frames is None:
            frames = b"".join([codec.encode_event(self.room, event) for event in self.events])
            self._frames[codec] = frames
        return frames
