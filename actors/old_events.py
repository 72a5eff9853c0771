"""Old events for an answer: what a room has told of its history in, as much of it as the answer may hold out."""

from __future__ import annotations

from .messages import Joined
from .replies import OldEvents, Skipped

__all__ = ["ANSWER_BYTES", "old_events"]

ANSWER_BYTES = 256 * 1024
"""How much an answer holds of old events at most, about; where it is more, it follows in pages as ever."""


def old_events(joined: Joined, most_bytes: int = ANSWER_BYTES) -> tuple[OldEvents, int]:
    """Return the old events of a room that was joined, without the gaps between them, and how many bytes they are.

    Nothing is changed: the subscription moves when the answer is on its way (`Streams.begin`). Where the first page is
    larger than `most_bytes` none of it is taken.
    """
    subscription, page = joined.subscription, joined.page
    position = subscription.cursor
    if page is None or page.size > most_bytes:
        return OldEvents((), (), position), 0
    events, skipped = [], []
    for event in page.events:
        if event.prev > position:
            reason = page.gaps.get(event.offset, "expired")
            skipped.append(Skipped(room=page.room, from_=position + 1, to=event.prev, reason=reason))
        position = event.offset
        if subscription.kinds is None or event.draft.kind in subscription.kinds:
            events.append(event)
    return OldEvents(tuple(events), tuple(skipped), page.top), page.size
