"""Batch: operations on their way to the writer, and back with what came of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from actors.errors import ErrorCode, LogUnavailable, Refusal

from .operations import Add, Forget, Open, Operation, Result
from .turn import Report

__all__ = ["Batch", "Begun", "Outcome", "in_doubt", "refused", "unavailable"]


class Begun(msgspec.Struct, frozen=True):
    """A journal's file was opened, and holds this."""

    ident: str
    names: frozenset[str]
    watched: frozenset[str]
    anew: bool
    """Whether it is another journal than before, or a copy of it: every room that is open has to be opened again."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a batch."""

    results: Sequence[Result]
    """One for each operation."""
    report: Report | None = None
    trouble: str | None = None
    """Why nothing can be written; None: all is well. What has an event for its result was written even so."""
    begun: Begun | None = None
    expelled: frozenset[str] = frozenset()
    """Rooms that have to be opened again, because what is in them is not what they were told."""


class Batch:
    """Operations that are done together. It goes from the journal to the writer and back; whoever has it writes it."""

    __slots__ = ("now_ms", "operations", "outcome", "planned", "probe", "told", "took_s")

    def __init__(self, operations: Sequence[Operation], now_ms: int, *, probe: bool = False) -> None:
        self.operations = operations
        self.now_ms = now_ms
        self.probe = probe
        """Whether to find out first if the file can be written."""
        self.planned: Report | None = None
        """What is true if the commit that was under way succeeded; set before the commit."""
        self.outcome: Outcome | None = None
        """None: it is under way."""
        self.told = 0
        """How many of the results their receivers know of."""
        self.took_s = 0.0
        """How long the writer worked on it."""


def unavailable(reason: str) -> Refusal:
    """Refuse an event because the journal cannot keep it now."""
    return Refusal(
        ErrorCode.JOURNAL_UNAVAILABLE,
        f"events cannot be kept now; the journal is unavailable: {reason}; nothing was published, try again",
        retry_after_ms=1000,
    )


def in_doubt(reason: str) -> Refusal:
    """Refuse an event that was written and not synced: if the router ends now, the next one may find it."""
    return Refusal(
        ErrorCode.INTERNAL,
        f"the event could not be made safe; the journal is unavailable: {reason}; it may be kept all the same, "
        "try again with the same event_id",
        retry_after_ms=1000,
    )


def refused(operations: Sequence[Operation], refusal: Refusal, reason: str) -> list[Result]:
    """Return the results of operations of which none was done."""
    results: list[Result] = []
    for operation in operations:
        if isinstance(operation, Add):
            results.append(refusal)
        else:
            results.append(LogUnavailable(reason) if isinstance(operation, Open | Forget) else None)
    return results
