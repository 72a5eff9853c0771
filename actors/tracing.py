"""Tracing: what became of an event that belongs to a trace, as log lines at debug level and as spans.

Where no trace was named nothing here is called.
"""

from __future__ import annotations

from typing import Literal, Protocol

import structlog

from .batch import Batch
from .clock import Clock
from .events import Draft, Event
from .subscription import Subscription

__all__ = ["Spans", "Step", "Tracing", "log_delivery"]

log = structlog.get_logger("postroom.trace")

Step = Literal["publish", "commit", "deliver"]


class Spans(Protocol):
    """Takes spans to where traces are kept; called on the loop's thread, never blocks, never raises."""

    def record(self, step: Step, room: str, draft: Draft, began: float, ended: float, **facts: str | int) -> None:
        """Take a step on an event's way: a child of its `traceparent`, from and to a Unix time in seconds."""


class Tracing:
    """Notes each step of events that belong to a trace.

    Args:
        clock: Says when it was.
        spans: Takes the spans; None: nobody wants them.
    """

    def __init__(self, clock: Clock, spans: Spans | None = None) -> None:
        self._clock = clock
        self._spans = spans

    def now(self) -> float:
        """Return when a step begins, for the call that ends it."""
        return self._clock.time()

    def taken(self, draft: Draft, rooms: tuple[str, ...], at: float) -> None:
        """The source has handed an event to its rooms.

        Args:
            draft: The event.
            rooms: Where it goes.
            at: When it came in, as the clock's `monotonic` tells it; 0: just now.
        """
        log.debug("event_taken", rooms=rooms, event_id=draft.id, kind=draft.kind, traceparent=draft.traceparent)
        if self._spans is not None:
            now = self.now()
            began = now - (self._clock.monotonic() - at) if at else now
            for room in rooms:
                self._spans.record("publish", room, draft, began, now)

    def committed(self, room: str, event: Event) -> None:
        """The event is safe; the step began when the source stamped it."""
        draft = event.draft
        log.debug(
            "event_committed",
            room=room,
            offset=event.offset,
            event_id=draft.id,
            kind=draft.kind,
            traceparent=draft.traceparent,
        )
        if self._spans is not None:
            self._spans.record("commit", room, draft, draft.time_ms / 1000, self.now(), offset=event.offset)

    def sent(self, batch: Batch, began: float, *, by_line: int, by_mail: int) -> None:
        """A room has handed live events out.

        Args:
            batch: The events.
            began: What `now` said when it began to.
            by_line: How many subscribers they were written to.
            by_mail: How many connections are to write them, because something waits there or not all is wanted.
        """
        for event in batch.traced:
            draft = event.draft
            log.debug(
                "event_sent",
                room=batch.room,
                offset=event.offset,
                event_id=draft.id,
                traceparent=draft.traceparent,
                by_line=by_line,
                by_mail=by_mail,
            )
            if self._spans is not None:
                self._spans.record(
                    "deliver",
                    batch.room,
                    draft,
                    began,
                    self.now(),
                    offset=event.offset,
                    subscribers=by_line + by_mail,
                )


def log_delivery(subscription: Subscription, batch: Batch, after: int, *, held: bool) -> None:
    """Log that a connection has put events into its outbox, old ones or live ones.

    Args:
        subscription: Its place in the room.
        batch: The events.
        after: Its position before; it had what came up to there.
        held: Whether they wait there, because the client does not read fast enough.
    """
    for event in batch.traced:
        if event.offset > after and (subscription.kinds is None or event.draft.kind in subscription.kinds):
            log.debug(
                "event_delivered",
                connection=subscription.connection,
                user=subscription.user,
                room=batch.room,
                offset=event.offset,
                event_id=event.draft.id,
                traceparent=event.draft.traceparent,
                held=held,
            )
