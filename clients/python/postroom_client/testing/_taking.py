"""Taking events from a subscription, one by one, and telling of those that were taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .._events import Event
from .._positions import Position

__all__ = ["Events", "came", "shown", "take"]

_MOST_SHOWN = 20
_MOST_CHARS = 200


class Events(Protocol):
    """What the assertions read: a `Subscription`."""

    @property
    def room(self) -> str: ...
    @property
    def kinds(self) -> tuple[str, ...] | None: ...
    @property
    def position(self) -> Position: ...
    async def __anext__(self) -> Event: ...


async def take(subscription: Events, lacking: str, taken: Sequence[Event]) -> Event:
    """Take the next event.

    Args:
        subscription: Where from.
        lacking: What to say is missing when the subscription ends.
        taken: What came before.

    Raises:
        AssertionError: The subscription has ended.
    """
    try:
        return await subscription.__anext__()
    except StopAsyncIteration:
        raise AssertionError(f"{subscription.room}: {lacking}, the subscription has ended; {came(taken)}") from None


def came(events: Sequence[Event]) -> str:
    """Tell what came, the last of it."""
    if not events:
        return "nothing came"
    left_out = len(events) - _MOST_SHOWN
    lines = [f"  .. and {left_out} before"] if left_out > 0 else []
    return "\n".join(["what came:", *lines, *(f"  {shown(event)}" for event in events[-_MOST_SHOWN:])])


def shown(event: Event) -> str:
    """Show an event on one line."""
    text = f"#{event.offset} {event.kind} {event.data}"
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}.."
