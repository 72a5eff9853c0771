"""What a log knows of a room."""

from __future__ import annotations

import msgspec

from .events import Event

__all__ = ["PastId", "RoomRecord"]


class PastId(msgspec.Struct, frozen=True):
    """The name of an event that has left the history, kept so that a late retry is not taken for a new event."""

    event_id: str
    offset: int
    time_ms: int


class RoomRecord(msgspec.Struct, frozen=True):
    """What a log knows of a room: enough to go on where it stopped."""

    epoch: str
    """Names the room's history. A room in which nothing happened yet has one, too, and keeps it over a restart."""
    top: int
    """Offset of the last committed event; 0: none yet."""
    events: tuple[Event, ...]
    """The retained events, oldest first: all that come after `gone`, and those before it that a trim kept."""
    gone: int
    """Up to this offset events may have been trimmed; after it only ephemeral ones are missing. 0: none was trimmed."""
    lost: int
    """Up to this offset an event may have been trimmed that `trim` was told matters; never above `gone`."""
    state: bytes | None
    """The last snapshot of the room's state; None: there is none, fold from the first event."""
    state_offset: int
    """The offset that the snapshot stands at. Every event after it is in `events`."""
    past_ids: tuple[PastId, ...]
    """Ids that publishers gave to trimmed events, oldest first, as far as `trim` was told to keep them."""
    first: int = 1
    """Offset of the first event that is known of: who was before it, but for 0, may have missed others."""
