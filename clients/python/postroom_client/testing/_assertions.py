"""Assertions on single events: they wait, with a bound, and when they fail they say what came instead."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from .._events import Event, Receipt
from ._taking import Events, came, shown, take

__all__ = ["assert_event", "assert_none"]


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
    lacking = f"no {_wanted(kind, matching)}"
    try:
        async with asyncio.timeout(within_s):
            while True:
                event = await take(subscription, lacking, passed)
                if _matches(event, kind, matching):
                    return event
                passed.append(event)
    except TimeoutError:
        raise AssertionError(f"{subscription.room}: {lacking} within {within_s:g} s; {came(passed)}") from None


async def assert_none(
    subscription: Events, marker: Receipt, kind: str | None, *, within_s: float, matching: Mapping[str, object]
) -> None:
    """Take everything up to a marker; nothing of it may match."""
    passed: list[Event] = []
    lacking = f"the marker at offset {marker.offset} did not come"
    try:
        async with asyncio.timeout(within_s):
            while (event := await take(subscription, lacking, passed)).offset < marker.offset:
                if _matches(event, kind, matching):
                    raise AssertionError(f"{subscription.room}: {shown(event)} came, and should not have")
                passed.append(event)
    except TimeoutError:
        raise AssertionError(
            f"{subscription.room}: {lacking} within {within_s:g} s, so it is not known what does not come; "
            f"{came(passed)}"
        ) from None


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
