"""Writer: the thread that a journal's file belongs to. Batches in, each in one transaction; told when it is safe."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pykka
import structlog
from pykka import ActorDeadError

from actors.errors import ErrorCode, Refusal
from actors.mailbox import Target

from . import life
from .batch import Batch, Begun, Outcome, in_doubt, refused, unavailable
from .faults import DamagedError, JournalError, is_damage, is_in_doubt, is_trouble, reason_of
from .operations import Open, Release, Result
from .place import Place
from .store import Store, connect
from .turn import Report

__all__ = ["Writer", "WriterEnded", "Written"]

log = structlog.get_logger("postroom.journal")

_ATTEMPTS = 3


class Written(NamedTuple):
    """A batch has its outcome."""

    batch: Batch


class WriterEnded(NamedTuple):
    """The writer has closed the file and is gone."""


class Writer(pykka.ThreadingActor):
    """Writes a journal, a batch at a time. Whatever goes wrong becomes a batch's outcome.

    Told a batch it tells `Written`; asked, it answers with the batch as well. It closes the file when it stops.

    Args:
        place: Where the file lives; this actor's alone while it lives.
        report_to: Who is told `Written` and `WriterEnded`.
        ident: The journal that was open before; None: none was.
        opened: The rooms that are open, with their epochs.
        most_bytes: See `Retention`.
    """

    use_daemon_thread = True  # it may wait for a disk when the process wants to end

    def __init__(
        self, place: Place, report_to: Target, *, ident: str | None, opened: Mapping[str, str], most_bytes: int
    ) -> None:
        super().__init__()
        self._place = place
        self._report_to = report_to
        self._ident = ident
        self._opened = dict(opened)
        self._most_bytes = most_bytes
        self._connection: sqlite3.Connection | None = None
        self._store: Store | None = None
        self._begun: Begun | None = None
        """What was opened and nobody was told of."""

    def on_receive(self, batch: Batch) -> Batch:
        """Do a batch."""
        if batch.outcome is not None:  # who waits for it asks for what was told already
            return batch
        began = time.perf_counter()
        try:
            outcome = self._do(batch)
            batch.took_s = time.perf_counter() - began  # before the outcome: then the loop may read both
            batch.outcome = outcome
        except BaseException as error:  # pykka would stop every actor in the process, or lose what waits for this one
            batch.outcome = self._broken(batch, error)
        self._tell(Written(batch))
        try:
            self._note(batch.outcome)
            if self._store is not None:
                self._store.checkpoint()
        except BaseException as error:  # what was committed is safe where it is, and the next commit meets the cause
            log.warning("journal_checkpoint_failed", path=str(self._place.path), reason=reason_of(error))
        return batch

    def on_stop(self) -> None:
        """Close the file."""
        try:
            if self._store is not None:
                self._look()
            if self._store is not None:
                life.end(self._store, self._place.lock)
                self._store.close()
                log.info("journal_closed", path=str(self._place.path))
        except BaseException as error:
            log.error("journal_left_open", path=str(self._place.path), reason=reason_of(error))
        self._drop()
        self._tell(WriterEnded())

    def on_failure(self, *_exc_info: Any) -> None:
        """Close the file, so that a successor can open it."""
        self._drop()
        self._tell(WriterEnded())

    def _tell(self, message: Any) -> None:
        with contextlib.suppress(ActorDeadError):  # the loop is closed
            self._report_to.tell(message)

    def _do(self, batch: Batch) -> Outcome:
        error: BaseException | None = None
        for _ in range(_ATTEMPTS):
            try:
                return self._attempt(batch)
            except BaseException as raised:
                error = raised
                if is_damage(raised):
                    try:
                        self._set_aside(reason_of(raised))
                    except OSError as second:
                        return self._trouble(batch, f"it is damaged and cannot be set aside: {reason_of(second)}")
                elif is_trouble(raised):
                    refuse = in_doubt if is_in_doubt(raised) else unavailable
                    return self._trouble(batch, reason_of(raised), refuse)
                else:
                    # A bug, or what nobody thought of: begin with a clean slate, and look what was committed.
                    self._drop()
        assert error is not None
        return self._broken(batch, error)

    def _attempt(self, batch: Batch) -> Outcome:
        store = self._store or self._open()
        planned = batch.planned
        if planned is not None and store.holds(planned.mark):
            self._read(batch, planned.results)  # this store has not opened them
            return self._done(planned)
        batch.planned = None
        if batch.probe:
            self._look()
            self._opened_store().probe()

        def plan(report: Report) -> None:
            batch.planned = report
            if report.forgotten:
                # What the lock has a mark of may be gone with this commit, and would be missed after a power cut.
                self._place.lock.keep(self._place.lock.tokens, None)

        store = self._opened_store()
        self._keep_lock()
        report = store.run(batch.operations, batch.now_ms, plan)
        try:
            self._look()
        except BaseException as error:
            if is_damage(error) or not is_trouble(error):
                raise
            return self._undo(store, batch, reason_of(error))
        if report.unreadable:
            return self._suspect(report)
        return self._done(report)

    def _suspect(self, report: Report) -> Outcome:
        """Find out whether it is more than a room that cannot be read: one bad place must not stop all the others."""
        try:
            self._opened_store().probe()
        except BaseException as error:
            if is_damage(error) or not is_trouble(error):
                raise
            self._log(report)
            return self._outcome(results=report.results, report=report, trouble=reason_of(error))
        return self._done(report)

    def _done(self, report: Report) -> Outcome:
        self._log(report)
        return self._outcome(results=report.results, report=report)

    def _outcome(self, **fields: Any) -> Outcome:
        begun, self._begun = self._begun, None
        return Outcome(begun=begun, **fields)

    def _trouble(self, batch: Batch, reason: str, refuse: Callable[[str], Refusal] = unavailable) -> Outcome:
        """Nothing can be written: refuse the events, and read what is asked for as far as that goes."""
        batch.planned = None
        results = refused(batch.operations, refuse(reason), reason)
        report = None
        with contextlib.suppress(sqlite3.Error):  # then it is as if it had not been tried
            report = self._read(batch, results)
        return self._outcome(results=results, report=report, trouble=reason)

    def _read(self, batch: Batch, results: list[Result]) -> Report | None:
        """Do those operations of a batch that only read, and fill in their results."""
        reading = [number for number, each in enumerate(batch.operations) if isinstance(each, Open | Release)]
        if not reading or self._store is None:
            return None
        report = self._store.run([batch.operations[number] for number in reading], batch.now_ms, _nothing)
        for number, result in zip(reading, report.results, strict=True):
            results[number] = result
        self._log(report)
        return report

    def _undo(self, store: Store, batch: Batch, reason: str) -> Outcome:
        """Take back what was committed into a file that is no more."""
        expelled: frozenset[str] = frozenset()
        try:
            store.undo()
        except sqlite3.Error:  # or it was closed meanwhile
            expelled = frozenset(each.room for each in batch.operations)
        outcome = self._trouble(batch, reason)
        return Outcome(
            results=outcome.results, report=outcome.report, trouble=reason, begun=outcome.begun, expelled=expelled
        )

    def _broken(self, batch: Batch, error: BaseException) -> Outcome:
        batch.planned = None
        text = "".join(traceback.format_exception(error))
        log.error("journal_batch_failed", path=str(self._place.path), error=str(error), traceback=text)
        self._drop()
        message = "the journal failed on a batch of events; nothing was published, try again"
        results: list[Result] = refused(batch.operations, Refusal(ErrorCode.INTERNAL, message), message)
        return self._outcome(results=results)

    def _note(self, outcome: Outcome) -> None:
        """Let the lock have a mark of what was committed last. After everyone was told: it need not wait for that."""
        report = outcome.report
        if report is None:
            return
        if report.mark is not None and report.mark[0] not in report.forgotten:
            self._place.lock.note(report.mark[1:])

    # --- the file

    def _opened_store(self) -> Store:
        return self._store or self._open()

    def _open(self) -> Store:
        self._place.prepare()
        found = self._place.find()
        if found == "garbage":
            raise DamagedError("its first bytes are not those of a database")
        if found == "nothing":
            self._place.create()
        self._connection = connect(self._place.path)
        try:
            store = Store(self._connection, self._opened, most_bytes=self._most_bytes)
            store.probe()
            copy = life.begin(store, self._place.lock)
            self._place.remember()
        except BaseException as error:
            if not is_damage(error):
                self._drop()
            raise
        anew = copy is not None or (self._ident is not None and self._ident != store.ident)
        if anew:
            store.forget_opened()
        self._ident = store.ident
        self._store = store
        self._begun = Begun(store.ident, frozenset(store.names), frozenset(store.watched), anew)
        self._log(Report(damaged=store.damaged))
        if copy is not None:
            log.warning("journal_epochs_renewed", path=str(self._place.path), rooms=len(store.names), reason=copy)
        log.info("journal_opened", path=str(self._place.path), rooms=len(store.names), created=found == "nothing")
        return store

    def _keep_lock(self) -> None:
        """See that the lock is still this router's: its file may have been deleted, and another router let in by that.

        Raises:
            JournalError: Another router has it. What that one writes is not known here: rooms have to be opened again.
        """
        try:
            with contextlib.suppress(OSError):  # it is tried again with the next batch
                self._place.lock.take()
        except JournalError:
            self._drop()
            self._opened = {}
            self._ident = ""
            raise

    def _look(self) -> None:
        """See whether the file is where it was, and put it back where it was deleted."""
        if not self._place.taken_away():
            return
        store = self._opened_store()
        copy = self._place.spare()
        target = connect(copy)
        try:
            store.back_up(target)
        finally:
            target.close()
        self._place.put_back(copy)
        # From here on all is safe. Only now may the old file be closed: SQLite removes what lies beside it by name.
        self._opened = store.opened()
        self._drop()
        self._place.clear_companions()
        log.warning("journal_restored", path=str(self._place.path))
        with contextlib.suppress(sqlite3.Error, OSError, JournalError):
            self._open()  # where it fails the next batch tries again, and meets the same

    def _set_aside(self, reason: str) -> None:
        # Renamed before it is closed: closing writes into it, and removes what lies beside it by name.
        aside = self._place.set_aside()
        self._drop()
        self._opened = {}
        log.critical("journal_set_aside", path=str(self._place.path), aside=str(aside), reason=reason)

    def _drop(self) -> None:
        if self._store is not None:
            self._opened = self._store.opened()
        connection, self._connection, self._store = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _log(self, report: Report) -> None:
        path = str(self._place.path)
        for room, aside, reason in report.damaged:
            log.error("journal_room_damaged", path=path, room=room, aside=aside, reason=reason)
        for aside in report.dropped:
            log.warning("journal_damaged_room_dropped", path=path, aside=aside)
        trimmed = report.trimmed
        if trimmed is not None:
            log.warning(
                "journal_trimmed",
                path=path,
                rooms_trimmed=trimmed.rooms_trimmed,
                rooms_forgotten=trimmed.rooms_forgotten,
                used_bytes=trimmed.used_bytes,
                enough=trimmed.enough,
            )


def _nothing(report: Report) -> None:
    """Plan nothing: what is only read needs no plan."""
