"""The chain check of one room, without I/O: attachments, events and markers in, verdicts and gaps out.

The protocol's rule is one line, `event.prev == position`, then `position = event.offset`. This is the only place that
applies it, and the only one that decides that something is missing.
"""

from __future__ import annotations

import enum
from typing import Protocol

from ._positions import Gap, Position, Recovery

__all__ = ["Attachment", "Chain", "Missing", "Verdict"]


class Missing(Protocol):
    """What the router says is gone, both ends included."""

    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


class Attachment(Protocol):
    """The router's answer to a subscription or a resumed room."""

    @property
    def epoch(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def recovery(self) -> Recovery: ...
    @property
    def replay(self) -> int: ...
    @property
    def missing(self) -> Missing | None: ...


class Verdict(enum.Enum):
    """What an event is to the chain."""

    NEXT = enum.auto()
    """The next one: hand it over."""
    DUPLICATE = enum.auto()
    """Not above the position: drop it."""
    BROKEN = enum.auto()
    """Something before it never came."""


class Chain:
    """The position of one room's stream, as received.

    Attributes:
        room: Whose stream.
        position: Up to where everything is accounted for; None until the first event of a replay that was asked for
            by number (its place is not known before it comes).
    """

    def __init__(self, room: str) -> None:
        self.room = room
        self.position: Position | None = None
        self._epoch = ""
        self._between_events = False

    def start_at(self, position: Position) -> None:
        """Stand at a position that was kept from an earlier run, to resume from it."""
        self.position = position
        self._epoch = position.epoch

    def attach(self, answer: Attachment, after: Position | None) -> Gap | None:
        """Start, or go on, where the router attached the room; return what is missing since `after`.

        Args:
            answer: The router's answer.
            after: The position that was asked for; None: none was.
        """
        top = Position(answer.epoch, answer.offset)
        self._epoch = answer.epoch
        self._between_events = False
        if after is None:
            self.position = None if answer.replay else top
            return None
        if answer.recovery == "full":
            self.position = Position(answer.epoch, after.offset)
            return None
        if answer.recovery == "partial" and answer.missing is not None:
            self.position = Position(answer.epoch, answer.missing.last)
            self._between_events = True
            return Gap(
                room=self.room,
                reason="expired",
                last=after,
                next=self.position,
                missing_from=answer.missing.first,
                missing_to=answer.missing.last,
            )
        self.position = top
        if top == after:
            return None
        return Gap(room=self.room, reason="new_epoch", last=after, next=top)

    def event(self, offset: int, prev: int) -> Verdict:
        """Judge an event, and move to it if it is the next one."""
        if self.position is not None:
            at = self.position.offset
            if offset <= at:
                return Verdict.DUPLICATE
            # A marker may end between two events (offsets can be sparse): then `prev` lies before it.
            if prev != at and not (self._between_events and prev < at):
                return Verdict.BROKEN
        self._move(offset)
        self._between_events = False
        return Verdict.NEXT

    def skip(self, last: int) -> bool:
        """Move to the end of a `skipped` marker; return whether it was above the position."""
        if self.position is not None and last <= self.position.offset:
            return False
        self._move(last)
        self._between_events = True
        return True

    def accept_break(self, offset: int, prev: int) -> Gap:
        """Move to an event that the chain does not reach, and return what is missing before it."""
        last = self.position or Position(self._epoch, 0)
        self._move(offset)
        self._between_events = False
        missing = last.offset < prev
        return Gap(
            room=self.room,
            reason="broken_chain",
            last=last,
            next=Position(self._epoch, prev if missing else last.offset),
            missing_from=last.offset + 1 if missing else None,
            missing_to=prev if missing else None,
        )

    def _move(self, offset: int) -> None:
        self.position = Position(self._epoch, offset)
