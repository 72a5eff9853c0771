"""Delivery: a room's batch in, one client's frames into its outbox and its cursor moved, in one step."""

from __future__ import annotations

from .batch import Batch
from .codec import Codec
from .held import Held, HeldBatch, marker
from .outbox import Outbox
from .subscription import Subscription

__all__ = ["deliver", "expire"]

_FILTERED_AT_MOST = 256
"""A client with a filter learns its position after so many events that were not for it, at the latest."""


def deliver(subscription: Subscription, batch: Batch, codec: Codec, outbox: Outbox, *, hold: bool = False) -> bool:
    """Put what the client has not got yet of `batch` into the outbox.

    Args:
        subscription: The client's place in the room.
        batch: Live events, or a page of old ones.
        codec: How the client speaks.
        outbox: Where it goes.
        hold: Whether events are held as they are, so that they can give way to newer ones.

    Returns:
        False where events before the batch are missing, and nothing says why: then nothing was done.
    """
    cursor = subscription.cursor
    if batch.prev == cursor and subscription.kinds is None and not outbox.conflating:
        if hold:
            outbox.hold_batch(HeldBatch(subscription, batch, codec))
            subscription.cursor = batch.top
        else:
            outbox.push(batch.frames(codec), len(batch), batch.at)
            batch.count_markers(outbox.meters)
            subscription.cursor = subscription.told = batch.top
        return True
    if batch.prev > cursor:
        reason = batch.gaps.get(batch.events[0].offset)
        if reason is None:
            return False
        _skip(subscription, batch.prev, reason, codec, outbox, hold=hold)
        return deliver(subscription, batch, codec, outbox, hold=hold)
    for event in batch.events:
        if event.offset <= subscription.cursor:
            continue
        if event.prev > subscription.cursor:
            _skip(subscription, event.prev, batch.gaps.get(event.offset, "expired"), codec, outbox, hold=hold)
        if subscription.kinds is None or event.draft.kind in subscription.kinds:
            held = Held(subscription, event, event.prev, "filtered", batch.at)
            if hold:
                outbox.hold(held)
            else:
                outbox.push(held.frames(codec, outbox.meters), 1, batch.at)
        subscription.cursor = event.offset
    if subscription.cursor - subscription.told > _FILTERED_AT_MOST and not hold:
        outbox.push(marker(subscription, subscription.cursor, "filtered", codec, outbox.meters))
    return True


def expire(subscription: Subscription, to: int, codec: Codec, outbox: Outbox, *, hold: bool = False) -> None:
    """Tell the client that the events up to `to` left the history before it could get them."""
    if to > subscription.cursor:
        _skip(subscription, to, "expired", codec, outbox, hold=hold)


def _skip(subscription: Subscription, to: int, reason: str, codec: Codec, outbox: Outbox, *, hold: bool) -> None:
    # What was filtered and not told yet is part of the same run: one marker keeps the chain whole.
    if hold:
        outbox.hold(Held(subscription, None, to, reason))
    else:
        outbox.push(marker(subscription, to, reason, codec, outbox.meters))
    subscription.cursor = to
