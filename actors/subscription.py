"""Subscription: one connection in one room, and how far it has got. It outlives both actors.

A field has one writer at a time; for the position that is the room while the connection's line is open.
"""

from __future__ import annotations

from .line import Line
from .mailbox import Mailbox

__all__ = ["Subscription"]


class _Position:
    """What a fan-out touches of a subscription, in one place of the memory: slots stand in the order of the classes."""

    __slots__ = ("cursor", "direct", "line", "told")

    cursor: int
    """Offset of the last event that went into the outbox or was filtered. The connection writes it, and the room where
    it sends by the line."""
    told: int
    """The position that the client knows of; behind `cursor` by what was filtered. Written as `cursor` is."""
    line: Line | None
    """The connection's line; None: it has none."""
    direct: bool
    """Whether live events may go by the line. The connection ends it when it leaves."""


class Subscription(_Position):
    """One connection in one room."""

    __slots__ = (
        "by_owner",
        "conflate_to",
        "connection",
        "epoch",
        "kinds",
        "left",
        "mailbox",
        "own",
        "presence",
        "reattaching",
        "room",
        "room_mailbox",
        "user",
    )

    def __init__(
        self,
        *,
        room: str,
        room_mailbox: Mailbox,
        connection: str,
        mailbox: Mailbox,
        user: str,
        kinds: frozenset[str] | None,
        cursor: int,
        by_owner: bool,
        epoch: str,
        conflate_to: int,
        presence: bool = False,
    ) -> None:
        self.room = room
        self.room_mailbox = room_mailbox
        self.connection = connection
        self.mailbox = mailbox
        self.user = user
        self.kinds = kinds
        """Only these kinds are wanted; None: all."""
        self.by_owner = by_owner
        """Whether only the ownership of the session allows it. The room writes it."""
        self.epoch = epoch
        """The room's epoch: what the offsets here mean."""
        self.conflate_to = conflate_to
        """Up to this offset the client catches up: old values give way to newer ones among these."""
        self.presence = presence
        """Whether it is told who comes into the room and who leaves it."""
        self.line = mailbox.line
        self.direct = self.line is not None and kinds is None
        self.cursor = self.told = cursor
        self.reattaching = False
        """Whether the room was asked to go on after the cursor. The connection writes it."""
        self.left = False
        """Whether the client is out of the room: what is held for it is not sent. The connection writes it."""
        self.own = False
        """Whether it was joined by itself and does not count against the limit. The connection writes it."""

    def leave(self) -> None:
        """The client is out of the room from now on."""
        self.left = True
        self.direct = False
