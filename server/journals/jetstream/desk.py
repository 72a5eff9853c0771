"""Desk: what the cluster's log works with and leaves to its successor: open rooms, and what is under way."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from actors.clock import Clock
from actors.errors import LogUnavailable
from actors.histogram import Histogram
from actors.log import epoch_of
from actors.mailbox import Mailbox, Target
from actors.messages import Append
from actors.record import RoomRecord
from actors.report import Report
from server.cluster.link import Link

from .layout import Layout
from .records import Forgotten, Stored
from .shelf import Shelf
from .streams import Terms

__all__ = ["Desk", "Pending"]

log = structlog.get_logger("postroom.journal")

_MOST_READ = 16
_REFUSED_S = 10.0
"""So long a refusal counts."""

_COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Pending:
    """A message that the stream has not been seen to hold yet.

    Args:
        number: What it is called.
        shelf: Its room.
        payload: What it says.
        message_id: By which the stream knows it if it comes twice.
        began: When it was handed in, by the monotonic clock.
        append: The event; None: it says that the room is forgotten.
        to: Who is told what becomes of the event.
        ready: Who is told that the room is forgotten.
    """

    __slots__ = (
        "acknowledged_at",
        "append",
        "began",
        "message_id",
        "number",
        "payload",
        "ready",
        "sent",
        "sent_at",
        "shelf",
        "to",
    )

    def __init__(
        self,
        number: int,
        shelf: Shelf,
        payload: bytes,
        message_id: str,
        began: float,
        *,
        append: Append | None = None,
        to: Target | None = None,
        ready: Callable[[RoomRecord | LogUnavailable], None] | None = None,
    ) -> None:
        self.number = number
        self.shelf = shelf
        self.payload = payload
        self.message_id = message_id
        self.began = self.sent_at = began
        self.sent = 0
        """How often."""
        self.acknowledged_at = 0.0
        """When the stream said that it has it; 0: it has not."""
        self.append = append
        self.to = to
        self.ready = ready


class Desk:
    """What outlives the actor.

    Args:
        link: The connection to NATS.
        layout: Where things are.
        clock: For time-outs.
        mailbox: Where the actor lives.
        report: Is told of repairs.
        terms: On what terms the streams are made.
    """

    def __init__(
        self, link: Link, layout: Layout, clock: Clock, mailbox: Mailbox, report: Report, terms: Terms
    ) -> None:
        self.terms = terms
        self.link = link
        self.layout = layout
        self.clock = clock
        self.mailbox = mailbox
        self.report = report
        self.ident = ""
        """The log's own id."""
        self.life = secrets.token_hex(6)
        """Sets what this router stores apart from what others do."""
        self.shelves: dict[str, Shelf] = {}
        self.pending: dict[int, Pending] = {}
        """What is under way, by number, in the order in which it was handed in."""
        self.bytes = 0
        """Of what is under way."""
        self.number = 0
        self.inbox = ""
        """Where the stream's acknowledgements go."""
        self._silence: str | None = None
        self.verified = True
        """Whether the log is known to be the one that it was, since there is this connection."""
        self.verifying = False
        self.highest = 0
        """The highest offset that this router knows to have been given."""
        self.back_since: float | None = None
        """Since when the stream is known to have gone back behind that; None: it has not."""
        self._refused: str | None = None
        self._refused_at = 0.0
        self.watched: set[str] = set()
        self.ticking = False
        self.closing = False
        self.commits_s = Histogram(_COMMIT_S)
        """How long it took from handing an event in to hearing of it, stored."""
        self.reading_slots = asyncio.Semaphore(_MOST_READ)
        """For those who read rooms: all of them may have to be, when NATS comes back."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def trouble(self) -> str | None:
        """Why nothing can be stored now; None: it can."""
        return self.link.trouble or self.silence or (None if self.verified else "JetStream is being looked at")

    @property
    def silence(self) -> str | None:
        """Why nothing can be stored although there is a connection; None: it can."""
        return self._silence

    @silence.setter
    def silence(self, reason: str | None) -> None:
        if (reason is None) is not (self._silence is None):
            if reason is None:
                log.info("cluster_available", stream=self.layout.events)
            else:
                log.error("cluster_unavailable", stream=self.layout.events, reason=reason)
        self._silence = reason

    @property
    def refused(self) -> str | None:
        """Why JetStream did not take an event a moment ago, for want of space most likely; None: it took the last ones.

        What comes in is tried all the same: nobody tells when there is space again.
        """
        if self._refused is not None and self.clock.monotonic() - self._refused_at > _REFUSED_S:
            self.took()
        return self._refused

    def refuse(self, reason: str) -> None:
        """Note that it did not take an event."""
        if self._refused is None:
            log.error("cluster_unavailable", stream=self.layout.events, reason=reason)
        self._refused, self._refused_at = reason, self.clock.monotonic()

    def took(self) -> None:
        """Note that it takes events, as far as one can tell."""
        if self._refused is not None:
            log.info("cluster_available", stream=self.layout.events)
            self._refused = None

    def epoch(self, room: str) -> str:
        """Return the epoch of a room in which nothing happened yet."""
        return epoch_of(self.ident, room)

    def send(self, pending: Pending, *, at: float) -> None:
        """Have the stream store a message, or say that it does already."""
        pending.sent_at = at
        pending.sent += 1
        self.link.send(
            self.layout.event(pending.shelf.room),
            pending.payload,
            reply=f"{self.inbox}.{pending.number}",
            headers={"Nats-Msg-Id": pending.message_id},
        )

    def under_way(self, stored: Stored | Forgotten | None) -> Pending | None:
        """Return what is under way of which the stream holds this; None: it is of another router, or was dealt with."""
        return self.pending.get(stored.number) if stored is not None and stored.by == self.life else None

    def settle(self, pending: Pending) -> None:
        """Count a message as dealt with."""
        if self.pending.pop(pending.number, None) is not None:
            self.bytes -= len(pending.payload)
            pending.shelf.pending.pop(pending.number, None)

    def spawn(self, work: Awaitable[None], failed: Callable[[BaseException], object]) -> None:
        """Do something that takes time; an error that it does not expect itself goes to `failed`."""

        async def run() -> None:
            try:
                await work
            except Exception as error:
                failed(error)

        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def rest(self) -> None:
        """Wait until nothing that takes time is being done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Break off what is being done."""
        for task in self._tasks:
            task.cancel()
