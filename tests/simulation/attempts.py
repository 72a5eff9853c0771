"""Attempts: every event that anybody tried to publish, and what they were told of it."""

from __future__ import annotations

from typing import Any

from actors.messages import Published, Receipt, Refused

from ..checker.records import Attempt as Record
from ..checker.records import Receipt as ReceiptRecord

__all__ = ["IN_PROCESS", "Attempt", "Attempts"]

IN_PROCESS = "service"
"""The publisher that sits in the router's own process; the others speak over the wire."""


class Attempt:
    """One event of one publisher, tried once. Takes the answer where a mailbox would.

    Args:
        service: Who publishes.
        room: Where to.
        event_id: Its name; None: the router names it.
        number: Its number among all that were ever published.
        life: Of the router that it was handed to.
    """

    def __init__(self, service: str, room: str, event_id: str | None, number: int, life: int) -> None:
        self.service = service
        self.room = room
        self.event_id = event_id
        self.number = number
        self.life = life
        self.event: dict[str, object] = {}
        """What is published."""
        self.receipts: list[Receipt] = []
        self.codes: list[str] = []

    @property
    def in_process(self) -> bool:
        """Whether it was handed in without a wire between."""
        return self.service == IN_PROCESS

    @property
    def answered(self) -> bool:
        """Whether its publisher knows what became of it."""
        return bool(self.receipts or self.codes)

    def tell(self, message: Published | Refused) -> None:
        """Take an answer from the router's inside."""
        if isinstance(message, Published):
            self.receipts.append(message.receipt)
        else:
            self.codes.append(message.refusal.code)

    def hear(self, message: dict[str, Any]) -> None:
        """Take an answer from the wire."""
        if message["type"] == "error":
            self.codes.append(message["code"])
        else:
            names = ("room", "epoch", "offset", "event_id", "duplicate")
            self.receipts.append(Receipt(*(message[name] for name in names)))

    def records(self, event_id: str) -> list[Record]:
        """Write it down for the checker."""
        about = {"service": self.service, "room": self.room, "event_id": event_id, "number": self.number}
        found = [
            Record(**about, outcome="acknowledged", receipt=ReceiptRecord(**receipt._asdict()))
            for receipt in self.receipts
        ]
        found += [Record(**about, outcome="refused", code=code) for code in self.codes]
        return found or [Record(**about, outcome="unknown")]


class Attempts:
    """All of them, in their order."""

    def __init__(self) -> None:
        self.made: list[Attempt] = []

    def make(self, service: str, room: str, *, named: bool, life: int) -> Attempt:
        """Begin a new event."""
        number = len(self.made) + 1
        attempt = Attempt(service, room, f"{service}-{number}" if named else None, number, life)
        self.made.append(attempt)
        return attempt

    def again(self, attempt: Attempt, life: int) -> Attempt:
        """Try the same event once more."""
        again = Attempt(attempt.service, attempt.room, attempt.event_id, attempt.number, life)
        self.made.append(again)
        return again
