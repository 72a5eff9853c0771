"""Assertions on what a subscription brings: they wait, with a bound, and when they fail they say what came instead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from .._errors import GapError
from .._events import Event, Receipt
from .._positions import Position

__all__ = ["Broken", "Events", "assert_chain", "assert_event", "assert_none", "check_chain"]

_MOST_SHOWN = 20
_MOST_CHARS = 200


class Events(Protocol):
    """What the assertions read: a `Subscription`."""

    @property
    def room(self) -> str: ...
    @property
    def position(self) -> Position: ...
    async def __anext__(self) -> Event: ...


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


async def assert_event(
    subscription: Events, kind: str | None = None, *, within_s: float = 5.0, **matching: object
) -> Event:
    """Wait for an event, and return it; events before it that do not match are taken and passed over.

    Args:
        subscription: Where it must come.
        kind: Its kind. None: any.
        within_s: How long to wait, in seconds.
        matching: What its data must have: each name with its value, or with a function that says whether the value is
            right. `event_id` is the id of the event itself.

    Raises:
        AssertionError: It did not come in time; says what came instead.
        GapError: Events of the room are gone.
    """
    passed: list[Event] = []
    try:
        async with asyncio.timeout(within_s):
            while True:
                event = await _next(subscription, kind, matching, passed)
                if _matches(event, kind, matching):
                    return event
                passed.append(event)
    except TimeoutError:
        raise AssertionError(
            f"{subscription.room}: no {_wanted(kind, matching)} within {within_s:g} s; {_came(passed)}"
        ) from None


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
        up_to: The receipt of the last event that was published, or its offset.
        after: The offset that the first event must follow. None: where the subscription stands.
        within_s: How long to wait, in seconds.
        skipped: Whether the router may have left events out on purpose (values that gave way to newer ones, kinds that
            were not asked for). What is gone for good is `Broken` all the same, unless the subscription's `on_gap`
            takes it.

    Returns:
        The events.

    Raises:
        Broken: An event is missing, comes twice or in another order; or the last one did not come in time.
    """
    top = up_to if isinstance(up_to, int) else up_to.offset
    room = subscription.room
    first = position = subscription.position.offset if after is None else after
    events: list[Event] = []
    try:
        async with asyncio.timeout(within_s):
            while position < top:
                event = await _next(subscription, None, {}, events)
                _check_next(room, position, event, skipped=skipped)
                events.append(event)
                position = event.offset
    except GapError as error:
        raise Broken(room, position, None, f"{error.gap}; {_came(events)}") from error
    except TimeoutError:
        what = f"came to offset {position} of {top} within {within_s:g} s, from {first}; {_came(events)}"
        raise Broken(room, position, None, what) from None
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


async def assert_none(
    subscription: Events, marker: Receipt, kind: str | None, *, within_s: float, matching: Mapping[str, object]
) -> None:
    """Take everything up to a marker; nothing of it may match."""
    passed: list[Event] = []
    try:
        async with asyncio.timeout(within_s):
            while (event := await _take(subscription)).offset < marker.offset:
                if _matches(event, kind, matching):
                    raise AssertionError(f"{subscription.room}: {_shown(event)} came, and should not have")
                passed.append(event)
    except TimeoutError:
        raise AssertionError(
            f"{subscription.room}: the marker at offset {marker.offset} did not come within {within_s:g} s, so it is "
            f"not known what does not come; {_came(passed)}"
        ) from None


def _check_next(room: str, position: int, event: Event, *, skipped: bool) -> None:
    offset, prev = event.offset, event.prev
    if offset <= position:
        raise Broken(room, position, event, f"{_shown(event)} came when it had come to offset {position} already")
    if prev > position and not skipped:
        missing = f"offset {prev}" if prev == position + 1 else f"offsets {position + 1} to {prev}"
        raise Broken(room, position, event, f"{missing} did not come: after offset {position} came {_shown(event)}")


async def _next(subscription: Events, kind: str | None, matching: Mapping[str, object], passed: list[Event]) -> Event:
    try:
        return await _take(subscription)
    except StopAsyncIteration:
        raise AssertionError(
            f"{subscription.room}: no {_wanted(kind, matching)}, the subscription has ended; {_came(passed)}"
        ) from None


async def _take(subscription: Events) -> Event:
    return await subscription.__anext__()


def _matches(event: Event, kind: str | None, matching: Mapping[str, object]) -> bool:
    values = {**event.data, "event_id": event.id}
    return (kind is None or event.kind == kind) and all(
        name in values and (wanted(values[name]) if callable(wanted) else values[name] == wanted)
        for name, wanted in matching.items()
    )


def _wanted(kind: str | None, matching: Mapping[str, object]) -> str:
    with_ = ", ".join(
        f"{name}={getattr(value, '__name__', value) if callable(value) else repr(value)}"
        for name, value in matching.items()
    )
    return f"{kind or 'event'}{f' with {with_}' if with_ else ''}"


def _came(events: list[Event]) -> str:
    if not events:
        return "nothing came"
    left_out = len(events) - _MOST_SHOWN
    lines = [f"  .. and {left_out} before"] if left_out > 0 else []
    return "\n".join(["what came:", *lines, *(f"  {_shown(event)}" for event in events[-_MOST_SHOWN:])])


def _shown(event: Event) -> str:
    text = f"#{event.offset} {event.kind} {event.data}"
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}.."
