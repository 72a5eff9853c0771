"""Assertions on the order of events: each must follow the one before it, up to a place in the room."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from .._errors import GapError
from .._events import Event, Receipt
from ._taking import Events, came, shown, take

__all__ = ["Broken", "assert_chain", "check_chain"]

_LOOK_S = 0.02
"""How long to wait for an event before looking where the subscription stands: what was left out is no event."""


class Broken(AssertionError):
    """A room's events are not a chain: something is missing, or comes twice, or in another order.

    Attributes:
        room: Whose events.
        after: Offset of the last event that was in order.
        event: The event that does not follow it; None: nothing more came.
    """

    def __init__(self, room: str, after: int, event: Event | None, what: str) -> None:
        super().__init__(f"{room}: {what}")
        self.room = room
        self.after = after
        self.event = event


async def assert_chain(
    subscription: Events,
    up_to: Receipt | int,
    *,
    after: int | None = None,
    within_s: float = 10.0,
    skipped: bool = False,
) -> list[Event]:
    """Wait until a subscription has come to a place in its room; every event up to there must be in order.

    Args:
        subscription: Whose events are taken, from where it stands now.
        up_to: The receipt of the last event that was published to the room, or its offset. Of a subscription with
            `kinds` it must be one of them: of others after it a client is not told.
        after: The offset that the first event must follow. None: where the subscription stands.
        within_s: How long to wait, in seconds.
        skipped: Whether the router may have left events out on purpose (values that gave way to newer ones, kinds that
            were not asked for). What is gone for good is `Broken` all the same, unless the subscription's `on_gap`
            takes it.

    Returns:
        The events.

    Raises:
        Broken: An event is missing, comes twice or in another order; or the last one did not come in time.
        ValueError: The receipt is of another room.
    """
    room, kinds, stands = subscription.room, subscription.kinds, subscription.position
    top, epoch = (up_to, None) if isinstance(up_to, int) else (up_to.offset, up_to.epoch)
    if not isinstance(up_to, int) and up_to.room != room:
        raise ValueError(f"up_to is the receipt of an event in {up_to.room}, and this subscription is to {room}")
    first = position = stands.offset if after is None else after
    events: list[Event] = []
    try:
        async with asyncio.timeout(within_s):
            while position < top or epoch not in (None, stands.epoch):
                event = await _take_or_look(subscription, events)
                before, stands = stands, subscription.position
                if before.epoch not in ("", stands.epoch):  # the subscription's on_gap has taken it
                    _check_left_out(room, position, event, "the room's history began anew", skipped=skipped)
                    position = 0
                if event is not None:
                    _check_next(room, position, event, skipped=skipped)
                    events.append(event)
                elif stands.offset > position:
                    _check_left_out(room, position, None, _missing(position, stands.offset), skipped=skipped)
                position = max(position, stands.offset)
    except GapError as error:
        raise Broken(room, position, None, f"{error.gap}; {came(events)}") from error
    except TimeoutError:
        what = f"came to offset {position} of {top} within {within_s:g} s, from {first}"
        if position >= top:
            what += f", but in epoch {stands.epoch}, and up_to is of epoch {epoch}"
        elif kinds is not None:
            what += f"; it is to {', '.join(kinds)} only, and is not told of others after the last of these: up_to must"
            what += " be of a kind that was asked for"
        raise Broken(room, position, None, f"{what}; {came(events)}") from None
    return events


def check_chain(events: Iterable[Event], *, after: int = 0, skipped: bool = False) -> int:
    """Check events of one room that have been collected: each must follow the one before it.

    Args:
        events: As they came.
        after: The offset that the first one must follow. 0: it is the room's first one.
        skipped: As for `assert_chain`.

    Returns:
        The offset of the last one.

    Raises:
        Broken: An event is missing, comes twice or in another order.
    """
    position = after
    for event in events:
        _check_next(event.room, position, event, skipped=skipped)
        position = event.offset
    return position


async def _take_or_look(subscription: Events, events: list[Event]) -> Event | None:
    """Take the next event; None: none has come, but the subscription may have moved on over what was left out."""
    try:
        async with asyncio.timeout(_LOOK_S):
            return await take(subscription, "no event", events)
    except TimeoutError:
        return None


def _check_next(room: str, position: int, event: Event, *, skipped: bool) -> None:
    if event.offset <= position:
        raise Broken(room, position, event, f"{shown(event)} came when it had come to offset {position} already")
    if event.prev > position:
        what = f"{_missing(position, event.prev)}: after offset {position} came {shown(event)}"
        _check_left_out(room, position, event, what, skipped=skipped)


def _check_left_out(room: str, position: int, event: Event | None, what: str, *, skipped: bool) -> None:
    if not skipped:
        raise Broken(room, position, event, f"{what}; where events may be left out on purpose, say skipped=True")


def _missing(position: int, last: int) -> str:
    return f"offset {last} did not come" if last == position + 1 else f"offsets {position + 1} to {last} did not come"
