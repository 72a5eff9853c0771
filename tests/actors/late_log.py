"""An event log that commits when the test says so, and loses what it has not committed when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Collection

from actors.errors import ErrorCode, LogUnavailable, PostroomError, Refusal
from actors.events import Event
from actors.log import MemoryLog
from actors.mailbox import Target
from actors.messages import Append, AppendFailed, Committed
from actors.record import RoomRecord

__all__ = ["LateLog"]

Step = Callable[[], None]


class _Keeper:
    """Stands between the log and the room: what is committed is written down for the test, then told."""

    def __init__(self, to: Target, keep: Callable[[Event], None], silent: Callable[[], bool]) -> None:
        self._to = to
        self._keep = keep
        self._silent = silent

    def tell(self, message: Committed) -> None:
        self._keep(message.event)
        if not self._silent():
            self._to.tell(message)


class LateLog:
    """`actors.log.EventLog` on a log in memory, where every call waits for the ones before it, and for the test.

    Args:
        late: Whether calls wait for `commit`; else they take effect at once.
    """

    def __init__(self, *, late: bool = False) -> None:
        self.late = late
        self.committed: dict[str, dict[int, Event]] = {}
        """Every event that was ever committed, by room and offset."""
        self.lost: dict[str, int] = {}
        """Up to which offset events that matter were trimmed, by room."""
        self._inner = MemoryLog()
        self._steps: list[tuple[Step, Step]] = []
        """What each call does, and what it does when the commit fails."""
        self._opened: set[str] = set()
        self._silent = False
        """Whether nobody is told of what is carried out."""
        self._watched: dict[str, None] = {}
        """In the order in which they came to be."""
        self._alerts: dict[str, int] = {}
        """Offset of the last alert to acknowledge, by room."""

    # --- what the test does

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._steps)

    def commit(self, count: int | None = None) -> None:
        """Carry out the first `count` calls that wait; None: all, also those that this makes."""
        if count is None:
            while self._steps:
                self.commit(len(self._steps))
            return
        steps, self._steps = self._steps[:count], self._steps[count:]
        for do, _ in steps:
            do()

    def commit_last(self) -> None:
        """Carry out the last call that waits before the others: rooms do not wait for each other."""
        do, _ = self._steps.pop()
        do()

    def fail(self) -> None:
        """Refuse all that wait: the transaction that they were in was rolled back."""
        steps, self._steps = self._steps, []
        for _, refuse in steps:
            refuse()

    def lose(self, written: int = 0) -> None:
        """Forget all that wait, as the end of the process does; the first `written` were carried out, and nobody knows.

        So a transaction that reached the disk looks from which nobody has come back.
        """
        steps, self._steps = self._steps[:written], []
        self._silent = True
        for do, _ in steps:
            do()
        self._silent = False

    # --- the log

    def open(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None], to: Target | None = None) -> None:
        self._opened.add(room)
        self._take(lambda: None if self._silent else self._inner.open(room, ready, to))

    def catch_up(self, room: str, then: Callable[[LogUnavailable | None], None]) -> None:
        self._take(lambda: None if self._silent else self._inner.catch_up(room, then))

    def append(self, room: str, append: Append, to: Target) -> None:
        if room not in self._opened:
            raise PostroomError(f"{room} is not open")

        def keep(event: Event) -> None:
            self.committed.setdefault(room, {})[event.offset] = event
            if event.draft.ack:
                self._watched[room] = None
                self._alerts[room] = event.offset

        keeper = _Keeper(to, keep, lambda: self._silent)
        refusal = Refusal(ErrorCode.JOURNAL_UNAVAILABLE, "the disk is full")
        self._take(lambda: self._inner.append(room, append, keeper), lambda: to.tell(AppendFailed(append, refusal)))

    def snapshot(self, room: str, offset: int, state: bytes, *, watched: bool) -> None:
        def do() -> None:
            self._inner.snapshot(room, offset, state, watched=watched)
            if watched or self._alerts.get(room, 0) > offset:  # it may not know of an alert that was under way
                self._watched[room] = None
            else:
                self._watched.pop(room, None)

        self._take(do, _nothing)

    def trim(self, room: str, before: int, *, lost: int, keep: Collection[int], ids_since_ms: int) -> None:
        def do() -> None:
            self._inner.trim(room, before, lost=lost, keep=keep, ids_since_ms=ids_since_ms)

        self.lost[room] = max(self.lost.get(room, 0), lost)
        self._take(do, _nothing)

    def release(self, room: str) -> None:
        self._opened.discard(room)
        self._take(lambda: self._inner.release(room))

    def forget(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None]) -> None:
        def do() -> None:
            for kept in (self.committed, self.lost, self._watched, self._alerts):
                kept.pop(room, None)
            self._inner.forget(room, _unheard if self._silent else ready)

        self._take(do, lambda: ready(LogUnavailable("the disk is full")))

    def rooms(self) -> Collection[str]:
        return self._inner.rooms()

    def known(self, room: str) -> bool:
        return room in self._opened or self._inner.known(room)

    def watched(self) -> Collection[str]:
        return self._watched.keys()

    def _take(self, do: Step, refuse: Step | None = None) -> None:
        if self.late or self._steps:
            self._steps.append((do, refuse if refuse is not None else do))
        else:
            do()


def _unheard(_outcome: RoomRecord | LogUnavailable) -> None:
    """Stand for who has gone with the process."""


def _nothing() -> None:
    """A snapshot or a trim that was rolled back: the next one makes up for it."""
