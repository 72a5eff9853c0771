"""Delivery: a room's batch in, one client's frames into its outbox and its cursor moved, in one step."""

from __future__ import annotations

from .batch import Batch
from .codec import Codec
from .ledger import Subscription
from .outbox import Outbox
from .replies import Skipped

__all__ = ["deliver", "expire"]

_FILTERED_AT_MOST = 256
"""A client with a filter learns its position after so many events that were not for it, at the latest."""


def deliver(subscription: Subscription, batch: Batch, codec: Codec, outbox: Outbox) -> bool:
    """Put what the client has not got yet of `batch` into the outbox.

    Returns:
        False where events before the batch are missing: then nothing was done.
    """
    cursor = subscription.cursor
    if batch.prev == cursor and subscription.kinds is None:
        outbox.push(batch.frames(codec))
        subscription.cursor = subscription.told = batch.top
        return True
    if batch.prev > cursor:
        return False
    for event in batch.events:
        if event.offset <= cursor:
            continue
        if subscription.kinds is None or event.draft.kind in subscription.kinds:
            _tell_skipped(subscription, event.prev, "filtered", codec, outbox)
            outbox.push(codec.encode_event(batch.room, event))
            subscription.told = event.offset
        subscription.cursor = event.offset
    if subscription.cursor - subscription.told > _FILTERED_AT_MOST:
        _tell_skipped(subscription, subscription.cursor, "filtered", codec, outbox)
    return True


def expire(subscription: Subscription, to: int, codec: Codec, outbox: Outbox) -> None:
    """Tell the client that the events up to `to` left the history before it could get them."""
    if to > subscription.cursor:
        # What was filtered and not told yet is part of the same run: one marker keeps the chain whole.
        _tell_skipped(subscription, to, "expired", codec, outbox)
        subscription.cursor = to


def _tell_skipped(subscription: Subscription, to: int, reason: str, codec: Codec, outbox: Outbox) -> None:
    if to > subscription.told:
        skipped = Skipped(room=subscription.room, from_=subscription.told + 1, to=to, reason=reason)
        outbox.push(codec.encode(skipped))
        subscription.told = to
