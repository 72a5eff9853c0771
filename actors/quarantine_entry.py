"""Entry: a message in quarantine, what is known of it, and what its publisher is told."""

from __future__ import annotations

from typing import Any

from .errors import ErrorCode, Refusal
from .events import decode_data
from .poison import Poison

__all__ = ["Entry"]

_KEPT_BYTES = 16 * 1024
"""Data of an event that is reported with it; one with more is kept as long as the process lives."""


class Entry:
    """A message in quarantine.

    Attributes:
        id: Names it for operators.
        at_ms: Since when it has been here, as Unix time in milliseconds.
        actor: Who failed on it.
        poison: The message.
        exception_type: What it made the actor raise last.
        error: The exception's words.
        traceback_hash: Names the place where that was raised, as in the log.
        deaths: How often an actor failed on it.
        retries: How often it was handed in again.
        trying: Whether it is handed in, and its answer has not come.
    """

    __slots__ = (
        "actor",
        "at_ms",
        "deaths",
        "error",
        "exception_type",
        "id",
        "poison",
        "retries",
        "traceback_hash",
        "trying",
    )

    def __init__(self, id: str, actor: str, poison: Poison) -> None:
        self.id = id
        self.at_ms = 0
        self.actor = actor
        self.poison = poison
        self.exception_type = ""
        self.error = ""
        self.traceback_hash = ""
        self.deaths = 0
        self.retries = 0
        self.trying = False

    @property
    def size(self) -> int:
        """How many bytes of data it holds."""
        event = self.poison.event
        return len(memoryview(event.data)) if event is not None else 0

    def refusal(self) -> Refusal:
        """Return what its publisher is told, the first time and again."""
        return Refusal(
            ErrorCode.INVALID_EVENT,
            f"this event made {self.actor} fail {self.deaths} times and is in quarantine as {self.id}; "
            "an operator can retry or drop it",
        )

    def names(self) -> list[tuple[str, str]]:
        """Return by which rooms and ids its event comes again; none where its publisher gave it no id."""
        event = self.poison.event
        if event is None or event.event_id is None or not event.named:
            return []
        return [(room, event.event_id) for room in self.poison.rooms]

    def kept(self) -> dict[str, Any] | None:
        """Return the event as plain values, to rebuild it from; None where it is too large for that, or no event."""
        event = self.poison.event
        if event is None or self.size > _KEPT_BYTES:
            return None
        return {
            "kind": event.kind,
            "data": decode_data(event.data),
            "event_id": event.event_id,
            "key": event.key,
            "delivery": event.delivery,
            "ack": event.ack,
            "named": event.named,
        }
