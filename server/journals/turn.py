"""Turn: one transaction of a journal while it is gathered, and the report of what it has done."""

from __future__ import annotations

import msgspec

from .operations import Result
from .retention import Trimmed
from .rows import EventRow, RoomRow

__all__ = ["Report", "Turn"]


class Report(msgspec.Struct):
    """What a transaction has done, for those who keep count."""

    results: list[Result] = msgspec.field(default_factory=list)
    """One for each operation."""
    mark: tuple[str, str, int] | None = None
    """Room, epoch and offset of the first event in it; None: it has none."""
    stored: set[str] = set()
    """Rooms that were written for the first time."""
    forgotten: set[str] = set()
    """Rooms that are not there any more."""
    watched: dict[str, bool] = {}
    damaged: list[tuple[str, str, str]] = []
    """Rooms that were set aside: name, name from now on, reason."""
    unreadable: bool = False
    """Whether a room could not be read, for a reason from outside."""
    dropped: list[str] = []
    """Of the rooms that were set aside those that had to make space, by the names that they had by then."""
    trimmed: Trimmed | None = None
    """What was dropped because the journal was too large; None while it is not, or not all of it."""


class Turn:
    """What a transaction has gathered and not written yet, and what it changes in memory once it is committed."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.report = Report()
        self.rooms: dict[str, RoomRow | None] = {}
        """Rooms as they will be; None: released."""
        self.dirty: dict[str, RoomRow] = {}
        self.events: list[EventRow] = []
        self.states: dict[int, tuple[int, int, str | None, int, bytes]] = {}
        self.trims: dict[int, tuple[int, int, int, tuple[int, ...]]] = {}
        self.before: dict[str, RoomRow] = {}
        """Rooms that got events, as they were."""
        self.changed: dict[str, RoomRow] = {}
        """The same rooms, as they will be."""
        self.epochs: str | None = None
        self.bytes = 0
