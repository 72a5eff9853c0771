"""Journal: the actor between the rooms and the writer. What has come in goes to the writer at once when it is idle.

While the writer is busy the rest waits: under load a transaction holds whatever came in during the one before.
"""

from __future__ import annotations

from typing import NamedTuple

import pykka
import structlog
from pykka import ActorDeadError

from actors.clock import Clock
from actors.histogram import Histogram
from actors.loop import LoopActor, handles
from actors.mailbox import Exit, Mailbox
from actors.report import Report, unreported

from .backlog import Backlog
from .batch import Batch
from .place import Place
from .writer import Writer, WriterEnded, Written

__all__ = ["Desk", "Journal", "Pending", "ProbeDue"]

log = structlog.get_logger("postroom.journal")

_PROBE_S = 0.5
"""How often it is tried whether trouble is over."""
_COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Pending(NamedTuple):
    """Something waits in the backlog."""


class ProbeDue(NamedTuple):
    """It is time to try whether trouble is over."""


class Desk:
    """What a journal works with and leaves to its successor.

    Args:
        place: Where the file lives.
        clock: For the probes.
        mailbox: Where the journal lives.
        most_bytes: See `Retention`.
        report: Is told of repairs.
    """

    def __init__(
        self, place: Place, clock: Clock, mailbox: Mailbox, most_bytes: int, report: Report = unreported
    ) -> None:
        self.place = place
        self._most_bytes = most_bytes
        self.report = report
        self.clock = clock
        self.mailbox = mailbox
        self.backlog = Backlog()
        self.commits_s = Histogram(_COMMIT_S)
        """How long the writer took for each transaction that has events in it, the sync to the disk counted in."""
        self.woken = False
        """Whether the journal knows that something waits."""
        self.probe_due = False
        self.probe_set = False
        """Whether a timer runs."""
        self.closing = False
        self._writer: pykka.ActorRef[Writer] | None = None

    def wake(self) -> None:
        """Let the journal know that something waits."""
        if not self.woken:
            self.woken = True
            self.mailbox.tell(Pending())

    @property
    def writer_lives(self) -> bool:
        """Whether there is a writer to finish what is under way."""
        return self._writer is not None and self._writer.is_alive()

    @property
    def writer(self) -> pykka.ActorRef[Writer]:
        """The writer; a new one where there is none, or the one before is gone."""
        if self._writer is None or not self.writer_lives:
            backlog = self.backlog
            self._writer = Writer.start(
                self.place, self.mailbox, ident=backlog.ident, opened=backlog.opened, most_bytes=self._most_bytes
            )
        return self._writer

    def take(self) -> Batch | None:
        """Make the next batch, if there is anything to do."""
        probe, self.probe_due = self.probe_due, False
        return self.backlog.take(int(self.clock.time() * 1000), probe=probe)

    def settle(self, batch: Batch) -> None:
        """Tell what came of a batch, and note whether there is trouble from now on."""
        backlog, outcome = self.backlog, batch.outcome
        if batch is not backlog.under_way or outcome is None:
            return
        if outcome.trouble is not None:
            if backlog.trouble is None:
                log.error("journal_unavailable", path=str(self.place.path), reason=outcome.trouble)
            backlog.trouble = outcome.trouble
        elif batch.probe and backlog.trouble is not None:
            backlog.trouble = None
            log.info("journal_available", path=str(self.place.path))
        if not batch.told and outcome.report is not None and outcome.report.mark is not None:
            self.commits_s.observe(batch.took_s)
        backlog.settle(batch)


class Journal(LoopActor):
    """Hands what waits to the writer, and tells what came of it.

    Args:
        desk: What it works with, and goes on with after the one before it failed.
        mailbox: Where it lives.
    """

    def __init__(self, desk: Desk, *, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._desk = desk

    def on_restart(self, failure: Exit) -> None:
        """Go on with what was under way: the batch itself knows whether it was done, and what of it was told."""
        desk = self._desk
        desk.woken = False
        desk.report("repaired", incident=failure.incident, actor=self.mailbox.name, noticed="nothing")
        self._take_stock()  # first: what is under way is older than what waits
        if desk.backlog.trouble is not None:
            desk.probe_due = True
            desk.backlog.refuse_waiting(desk.backlog.trouble)

    @handles(Pending)
    def _pending(self, message: Pending) -> None:
        self._desk.woken = False

    @handles(Written)
    def _written(self, message: Written) -> None:
        self._desk.settle(message.batch)

    @handles(WriterEnded)
    def _writer_ended(self, message: WriterEnded) -> None:
        self._take_stock()

    @handles(ProbeDue)
    def _probe_due(self, message: ProbeDue) -> None:
        self._desk.probe_set = False
        self._desk.probe_due = self._desk.backlog.trouble is not None

    def on_batch_end(self) -> None:
        """Give the writer what has come in, if it has nothing to do."""
        desk = self._desk
        if desk.backlog.under_way is not None or desk.closing:
            return
        batch = desk.take()
        if batch is not None:
            self._hand_over(batch)
        elif desk.backlog.trouble is not None and not desk.probe_set:
            desk.probe_set = True
            own = self.mailbox
            desk.clock.call_later(_PROBE_S, lambda: own.tell(ProbeDue()))

    def _take_stock(self) -> None:
        """Settle what was done and not told; give what was not done to a new writer, which finds out how far it got."""
        desk = self._desk
        batch = desk.backlog.under_way
        if batch is None:
            return
        if batch.outcome is not None:
            desk.settle(batch)
        elif not desk.writer_lives and not desk.closing:
            self._hand_over(batch)

    def _hand_over(self, batch: Batch) -> None:
        try:
            self._desk.writer.tell(batch)
        except ActorDeadError:  # it ended just now; WriterEnded follows
            return
