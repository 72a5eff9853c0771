"""Clearing: a room between its old history and its new one. What comes in meanwhile waits here, in its order."""

from __future__ import annotations

from typing import Any

from pykka._envelope import Envelope  # what a mailbox holds

from .mailbox import Mailbox
from .messages import Forget

__all__ = ["Clearing"]


class Clearing:
    """What waits until the log has forgotten the room.

    Args:
        order: What it was that began this.
    """

    __slots__ = ("held", "order", "over")

    def __init__(self, order: Forget) -> None:
        self.order = order
        self.held: list[Any] = []
        """Messages that belong to the history after this."""
        self.over = False
        """Whether the log has answered."""

    def give_back(self, mailbox: Mailbox) -> None:
        """Put what waited in front of what has come in since."""
        mailbox.put_back([Envelope(message) for message in self.held])

    def break_off(self, mailbox: Mailbox) -> None:
        """Leave it to the actor that follows one that failed: it begins anew, which does no harm."""
        mailbox.put_back([Envelope(message) for message in ([] if self.over else [self.order])])
