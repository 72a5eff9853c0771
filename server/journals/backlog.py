"""Backlog: what rooms have asked of the journal and not been told yet. It outlives the actors that work on it.

All of it takes effect in its order, until nothing can be written. From then on events are refused, and orders to forget
a room; what only reads goes on, and overtakes what is to be written later:

    Snapshot, Trim   the newest of each room waits for the end of the trouble
    Release          what waits of its room goes with it: its events are in the file, and from them its state
    Open             the room's record is the one before the snapshot and the trim, which is as good

Used on the loop's thread only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from actors.errors import ErrorCode, LogUnavailable, Refusal
from actors.events import Event
from actors.messages import AppendFailed, Committed
from actors.record import RoomRecord

from .batch import Batch, Outcome, unavailable
from .operations import Add, Forget, Open, Operation, Release, Result, Snapshot, Trim, hand_over

__all__ = ["Backlog"]

_MOST_IN_BATCH = 2048
_MOST_BATCH_BYTES = 8 * 1024 * 1024


class Backlog:
    """What waits, what is under way, and what the journal holds."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        """Rooms that the journal has a record of."""
        self.watched: set[str] = set()
        self.opened: dict[str, str] = {}
        """Rooms that are open, with their epochs."""
        self.ident: str | None = None
        """Of the journal that is open; None: none was yet."""
        self.trouble: str | None = None
        """Why nothing can be written; None: it can."""
        self.under_way: Batch | None = None
        self.appends = 0
        """Events that wait or are under way."""
        self.bytes = 0
        """Their data, and the states of snapshots."""
        self._waiting: deque[Operation] = deque()
        self._later: dict[tuple[type[Operation], str], Snapshot | Trim] = {}
        """What waits for the end of trouble, by kind and room; it comes before all else then."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._later)

    def put(self, operation: Operation) -> None:
        """Let an operation wait for its turn."""
        self._waiting.append(operation)
        self.bytes += _size(operation)
        if isinstance(operation, Add):
            self.appends += 1

    def take(self, now_ms: int, *, probe: bool = False) -> Batch | None:
        """Make a batch of what waits, and let it be under way; None: there is nothing to do.

        While there is trouble only what needs no writing is taken.
        """
        if self.trouble is not None:
            self._waiting = deque(self._put_off(self._waiting))
        elif self._later:
            # A trim is cut down to what the room's snapshot covers, which has to be there by then.
            later = sorted(self._later.values(), key=lambda each: isinstance(each, Trim))
            self._waiting.extendleft(reversed(later))
            self._later = {}
        taken = self._first()
        if not taken and not probe:
            return None
        self.under_way = Batch(taken, now_ms, probe=probe)
        return self.under_way

    def settle(self, batch: Batch) -> None:
        """Tell everyone concerned what came of a batch; what was told before, by an actor that failed, is not again."""
        outcome = batch.outcome
        if batch is not self.under_way or outcome is None:
            return
        if not batch.told:
            self._learn(outcome)
        while batch.told < len(batch.operations):
            operation, result = batch.operations[batch.told], outcome.results[batch.told]
            batch.told += 1
            if isinstance(operation, Add | Open | Forget):
                if isinstance(result, Refusal) and outcome.trouble is None:
                    self._expel(operation, result)
                self._tell(operation, result)
        self.under_way = None
        done = batch.operations if outcome.trouble is None else self._put_off(batch.operations)
        self.bytes -= sum(map(_size, done))
        if outcome.trouble is not None:
            self.refuse_waiting(outcome.trouble)

    def refuse_waiting(self, reason: str) -> None:
        """Refuse every event that waits, and put off what else is to be written.

        What was told to whoever waited for it, when this fails, is not told again by the next call.
        """
        # Those that are refused take no part in the order of the others.
        self._waiting = deque(sorted(self._put_off(self._waiting), key=lambda each: not isinstance(each, Add | Forget)))
        while self._waiting and isinstance(operation := self._waiting[0], Add | Forget):
            self._waiting.popleft()
            self.bytes -= _size(operation)
            self._tell(operation, unavailable(reason) if isinstance(operation, Add) else LogUnavailable(reason))

    def _put_off(self, operations: Iterable[Operation]) -> list[Operation]:
        """Let snapshots and trims wait for the end of trouble, the newest of each room; return what else there is."""
        others: list[Operation] = []
        for operation in operations:
            if isinstance(operation, Snapshot | Trim):
                self._forget(type(operation), operation.room)
                self._later[type(operation), operation.room] = operation
                continue
            if isinstance(operation, Release):
                self._forget(Snapshot, operation.room)
                self._forget(Trim, operation.room)
            others.append(operation)
        return others

    def _forget(self, kind: type[Operation], room: str) -> None:
        former = self._later.pop((kind, room), None)
        if former is not None:
            self.bytes -= _size(former)

    def _first(self) -> list[Operation]:
        taken: list[Operation] = []
        size = 0
        while self._waiting and len(taken) < _MOST_IN_BATCH and size < _MOST_BATCH_BYTES:
            if isinstance(self._waiting[0], Forget) and taken:
                break
            operation = self._waiting.popleft()
            size += _size(operation)
            taken.append(operation)
            if isinstance(operation, Forget):  # alone: what proves that a batch was committed must not go with it
                break
        return taken

    def _learn(self, outcome: Outcome) -> None:
        begun, report = outcome.begun, outcome.report
        if begun is not None:
            self.ident = begun.ident
            self.names, self.watched = set(begun.names), set(begun.watched)
            if begun.anew:
                self.opened.clear()
        for room in outcome.expelled:
            self.opened.pop(room, None)
        if report is not None:
            self.names -= report.forgotten
            self.names |= report.stored
            for room, watched in report.watched.items():
                (self.watched.add if watched else self.watched.discard)(room)

    def _expel(self, operation: Add | Open | Forget, refusal: Refusal) -> None:
        """Have a room opened again whose history is not the one that it goes on from."""
        if (
            isinstance(operation, Add)
            and refusal.code is ErrorCode.JOURNAL_UNAVAILABLE
            and self.opened.get(operation.room) == operation.epoch
        ):
            del self.opened[operation.room]

    def _tell(self, operation: Add | Open | Forget, result: Result) -> None:
        if isinstance(operation, Open | Forget):
            if isinstance(result, RoomRecord):
                self.opened[operation.room] = result.epoch
            hand_over(operation.room, operation.ready, result)
            return
        self.appends -= 1
        if isinstance(result, Event):
            operation.to.tell(Committed(result, operation.append))
        else:
            operation.to.tell(AppendFailed(operation.append, result))  # type: ignore[arg-type]  # else a Refusal


def _size(operation: Operation) -> int:
    if isinstance(operation, Add):
        return len(memoryview(operation.append.draft.data))
    return len(operation.state) if isinstance(operation, Snapshot) else 0
