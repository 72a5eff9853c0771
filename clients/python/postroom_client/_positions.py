"""Where a stream stands and what is missing from it: the records that the chain check speaks in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

__all__ = ["Gap", "GapReason", "OnGap", "OnSkipped", "Position", "Recovery", "Skipped"]

Recovery = Literal["fresh", "full", "partial", "none"]
"""How the router attached a subscription.

`fresh`: no position was given. `full`: every event after it follows. `partial`: some are gone, the rest follow.
`none`: the router does not know the position's epoch, nothing is replayed.
"""

GapReason = Literal["expired", "new_epoch", "broken_chain"]
"""Why events are missing.

`expired`: the room's history does not reach back so far. `new_epoch`: the room's history began anew, old offsets mean
nothing. `broken_chain`: the router left events out without a word, twice (a bug on its side).
"""


class Position(msgspec.Struct, frozen=True):
    """A place in a room's history; give it as `after` to go on from there."""

    epoch: str
    """Names the history. When it changes, old offsets mean nothing."""
    offset: int
    """Offset of the last event that counts as seen; 0: none."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Events that this subscription will never get."""

    room: str
    reason: GapReason
    last: Position
    """The last position before the gap."""
    next: Position
    """The position right after it: the stream goes on with the next event after this one."""
    missing_from: int | None = None
    """First missing offset; None where the epoch changed, for nobody knows what was missed."""
    missing_to: int | None = None
    """Last missing offset, itself missing too; None likewise."""

    def __str__(self) -> str:
        if self.missing_from is None:
            what = f"position {self.last.epoch}:{self.last.offset} is unknown to the router"
        else:
            what = f"events {self.missing_from} to {self.missing_to} are missing"
        return f"{self.room}: {what} ({self.reason}); goes on after {self.next.epoch}:{self.next.offset}"


class Skipped(msgspec.Struct, frozen=True, tag="skipped", tag_field="type", kw_only=True):
    """Offsets that will not come, on purpose: the router said so and why. Not a gap."""

    room: str
    first: int = msgspec.field(name="from")
    """First skipped offset."""
    last: int = msgspec.field(name="to")
    """Last skipped offset: the position is now this one."""
    reason: str
    """`conflated`: a newer value took its place while the client lagged. `filtered`: not one of the kinds asked for.
    `expired`: its time was over."""


OnGap = Literal["raise"] | Callable[[Gap], None]
"""What a gap does: `raise` a `GapError` from the iterator, or call this function in its place in the stream."""

OnSkipped = Callable[[Skipped], None]
"""Called in the stream's order for every `Skipped` marker."""
