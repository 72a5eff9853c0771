"""SqliteLog: the event log in a file. The rooms' calls in, on the loop's thread; results out, as messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

from actors.clock import Clock
from actors.errors import ErrorCode, LogUnavailable, PostroomError, Refusal
from actors.histogram import Histogram
from actors.mailbox import Mailbox, Target
from actors.messages import Append, AppendFailed
from actors.record import RoomRecord
from actors.report import Report, unreported

from .batch import Batch, unavailable
from .faults import JournalError
from .journal import Desk, Journal
from .operations import Add, Forget, Open, Operation, Release, Snapshot, Trim
from .place import Place

__all__ = ["SqliteLog"]

_MOST_APPENDS = 50_000
_MOST_BYTES = 64 * 1024 * 1024


class SqliteLog:
    """An event log in an SQLite file. What it says is committed is on the disk: it outlives `kill -9` and a power cut.

    Made, started and used on the event loop. `start` comes before anything else, `stop` after everything else.

    Policy when events come faster than the disk takes them: up to 50,000 events or 64 MiB of data wait; past that an
    append is refused as `busy`.

    Policy while nothing can be written: events are refused as `journal_unavailable`, rooms are opened and released.
    Of each open room the newest snapshot and the newest trim wait for the end of it; its release drops them.

    Args:
        path: The file; it is made, with its folder, where there is none.
        clock: For stamps and probes.
        most_bytes: About how large the file may grow before the oldest of what nobody has open is dropped; 0: no
            bound.
        report: Is told of repairs.
    """

    def __init__(
        self, path: Path, *, clock: Clock, most_bytes: int = 1024 * 1024 * 1024, report: Report = unreported
    ) -> None:
        self._path = path
        self._mailbox = Mailbox(name="journal")
        self._desk = Desk(Place(path), clock, self._mailbox, most_bytes, report)
        self._backlog = self._desk.backlog

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written now; None: it can."""
        return self._backlog.trouble

    @property
    def commits_s(self) -> Histogram:
        """How long commits took."""
        return self._desk.commits_s

    @property
    def waiting(self) -> tuple[int, int]:
        """How many events wait for the disk, and how many bytes of data, those being written counted in."""
        return self._backlog.appends, self._backlog.bytes

    async def start(self, start_child: Callable[[str, Mailbox, Callable[[Mailbox], object]], object]) -> None:
        """Open the file and begin to work.

        Args:
            start_child: Called with a name, a mailbox and a function that brings an actor to life in it: a supervisor's
                child from then on.

        Raises:
            JournalError: The file cannot be used; says why and what to do.
        """
        desk = self._desk
        batch = self._backlog.take(0, probe=True)
        assert batch is not None
        await self._ask(batch)
        assert batch.outcome is not None
        if batch.outcome.begun is None:
            await self._close()
            reason = batch.outcome.trouble or "it cannot be opened; the log says why"
            raise JournalError(f"journal {self._path}: {reason}")
        desk.settle(batch)
        start_child("journal", self._mailbox, lambda box: Journal.start(desk, mailbox=box))

    async def stop(self) -> None:
        """Write what still waits, and close the file; does no harm when it was not started, or twice."""
        desk, backlog = self._desk, self._backlog
        desk.closing = True
        desk.probe_due = backlog.trouble is not None
        while (batch := backlog.under_way or desk.take()) is not None:
            await self._ask(batch)
            desk.settle(batch)
            if backlog.trouble is not None:
                break
        await self._close()

    def open(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None], to: Target | None = None) -> None:
        """Read a room's record, or begin one; `ready` is called when what was asked for before is done."""
        self._put(Open(room, ready))

    def append(self, room: str, append: Append, to: Target) -> None:
        """Commit an event; `to` is told when it is on the disk, or at once that it cannot be kept."""
        epoch = self._backlog.opened.get(room)
        if epoch is None:
            raise PostroomError(f"{room} is not open, or its history was lost: open it again")
        if self._backlog.trouble is not None:
            to.tell(AppendFailed(append, unavailable(self._backlog.trouble)))
        elif self._backlog.appends >= _MOST_APPENDS or self._backlog.bytes >= _MOST_BYTES:
            to.tell(AppendFailed(append, _BUSY))
        else:
            self._put(Add(room, epoch, append, to))

    def snapshot(self, room: str, offset: int, state: bytes, *, watched: bool) -> None:
        """Keep the room's state; ignored where the room is not open."""
        epoch = self._backlog.opened.get(room)
        if epoch is not None:
            self._put(Snapshot(room, epoch, offset, state, watched))

    def trim(self, room: str, before: int, *, lost: int, keep: Collection[int], ids_since_ms: int) -> None:
        """Drop old events; ignored where the room is not open."""
        epoch = self._backlog.opened.get(room)
        if epoch is not None:
            self._put(Trim(room, epoch, before, lost, tuple(keep), ids_since_ms))

    def release(self, room: str) -> None:
        """Forget that the room is open; one in which nothing happened leaves no trace."""
        if self._backlog.opened.pop(room, None) is not None:
            self._put(Release(room))

    def forget(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None]) -> None:
        """Drop a room and begin another; `ready` is called when that is on the disk, or at once while it cannot be."""
        if self._backlog.trouble is not None:
            ready(LogUnavailable(self._backlog.trouble))
        else:
            self._put(Forget(room, ready))

    def catch_up(self, room: str, then: Callable[[LogUnavailable | None], None]) -> None:
        """Call `then`: nobody else appends to a file."""
        then(None)

    def rooms(self) -> Collection[str]:
        """Return the rooms that the journal has a record of."""
        return self._backlog.names

    def known(self, room: str) -> bool:
        """Tell whether the journal has a record of the room, or it is open."""
        return room in self._backlog.names or room in self._backlog.opened

    def watched(self) -> Collection[str]:
        """Return the rooms that have to be opened at the start."""
        return self._backlog.watched

    def _put(self, operation: Operation) -> None:
        self._backlog.put(operation)
        self._desk.wake()

    async def _ask(self, batch: Batch) -> None:
        """Have a batch done, or wait until it is; the loop goes on meanwhile."""
        if batch.outcome is None:
            await asyncio.to_thread(self._desk.writer.ask, batch)

    async def _close(self) -> None:
        if self._desk.writer_lives:
            await asyncio.to_thread(self._desk.writer.stop)
        self._desk.place.leave()


_BUSY = Refusal(
    ErrorCode.BUSY,
    "more events come in than the disk takes; nothing was published, try again more slowly",
    retry_after_ms=100,
)
