"""Rooms, as far as others know them: how much each holds, and who finds them."""

from __future__ import annotations

from typing import Protocol

import msgspec

from .mailbox import Mailbox

__all__ = ["Directory", "RoomLimits"]


class RoomLimits(msgspec.Struct, frozen=True):
    """How much a room holds."""

    history_events: int = 1000
    """Events at most."""
    history_s: float = 600.0
    """Seconds at most."""
    idle_s: float = 60.0
    """Seconds without subscribers and events after which a room retires."""
    dedupe_s: float = 600.0
    """Seconds for which the id of an event is remembered."""
    escalate_after_s: float = 300.0
    """Seconds after which an alert that nobody acknowledged goes to the admins; 0: never."""


class Directory(Protocol):
    """Whoever knows which rooms are open."""

    def room(self, name: str) -> Mailbox:
        """Return the mailbox of another room."""

    def retire(self, room: str, mailbox: Mailbox) -> bool:
        """Take the room off the list, unless there is mail for it."""
