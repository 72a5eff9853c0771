"""What a careful client does with a room's messages: it checks the chain and keeps what came."""

from __future__ import annotations

import asyncio
from typing import Any

from server.app import Router

from ..native_client import WAIT_S, Message, NativeClient
from .services import publish

__all__ = ["Stream", "fill"]


async def fill(router: Router, room: str, first: int, last: int) -> None:
    """Publish events with `n` from `first` to `last`."""
    await asyncio.gather(*(publish(router, room, "app.step", {"n": n}) for n in range(first, last + 1)))


class Stream:
    """One room as one client sees it: every message of the room is checked against the position as it comes.

    Args:
        client: Whose connection; nothing else may read from it meanwhile.
        room: The room's name.
        position: Offset to begin at.
    """

    def __init__(self, client: NativeClient, room: str, position: int = 0) -> None:
        self.client = client
        self.room = room
        self.position = position
        self.events: list[Message] = []
        self.skipped: list[Message] = []
        self.others: list[Message] = []
        """Everything that is not of this room: notices, answers, errors."""

    def take(self, message: Message) -> None:
        """Take one message in; it must follow what came before."""
        if message.get("room") == self.room and message["type"] == "event":
            assert message["prev"] == self.position, f"{message} does not follow {self.position}"
            assert message["offset"] > self.position, f"{message} came after {self.position}"
            self.position = message["offset"]
            self.events.append(message)
        elif message.get("room") == self.room and message["type"] == "skipped":
            assert message["from"] == self.position + 1, f"{message} does not follow {self.position}"
            assert message["to"] > self.position, f"{message} came after {self.position}"
            self.position = message["to"]
            self.skipped.append(message)
        else:
            self.others.append(message)

    async def until(self, position: int) -> Stream:
        """Read until the room's position is reached."""
        async with asyncio.timeout(3 * WAIT_S):
            while self.position < position:
                self.take(await self.client.next())
        assert self.position == position
        return self

    async def notices(self, count: int, code: str = "resumed") -> list[Message]:
        """Read until so many notices with this code have come; return them."""
        async with asyncio.timeout(3 * WAIT_S):
            while len(found := self.noticed(code)) < count:
                self.take(await self.client.next())
        return found

    async def rest(self) -> Stream:
        """Take what has arrived until the router answers a `ping` sent now."""
        for message in await self.client.nothing_more():
            self.take(message)
        return self

    def noticed(self, code: str) -> list[Message]:
        """Return the notices with this code so far."""
        return [each for each in self.others if each["type"] == "notice" and each["code"] == code]

    @property
    def values(self) -> list[Any]:
        """The `n` of each event's data."""
        return [event["data"].get("n") for event in self.events]
