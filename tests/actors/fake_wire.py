"""A socket that takes what the test lets it take, and whose client checks every room's chain."""

from __future__ import annotations

from typing import Any

from actors.line import Line
from actors.mailbox import Mailbox
from actors.messages import Writable
from server.protocols.native import NativeCodec

from .chain import Chain, messages

__all__ = ["FakeWire"]


class FakeWire(Line):
    """`actors.codec.Wire` for tests.

    Args:
        mailbox: Is told `Writable` when the wire is let go on.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__(NativeCodec(), self, mark=1 << 62)
        mailbox.line = self
        self._mailbox = mailbox
        self._paused = False
        self.stuck = True
        """It never gets better before the test says so."""
        self.fills_up = False
        """Whether each write is all that it takes."""
        self.buffered = 0
        self.room = 1 << 62
        """How many bytes one write may have."""
        self.closed: tuple[int, str] | None = None
        self.trusted = False
        self.under_way = 0
        self.writes: list[list[dict[str, Any]]] = []
        """The messages of each write."""
        self.chains: dict[str, Chain] = {}
        """What the client was told of each room."""

    @property
    def paused(self) -> bool:
        """Whether it takes no more."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused = paused
        self.open = False

    @property
    def writable(self) -> bool:
        """Whether it would take bytes: it is not paused, or only for the sake of the client's pace."""
        return not self.paused or not (self.stuck or self.buffered)

    def write(self, frames: bytes) -> None:
        assert self.writable, "written to a socket that takes no more"
        if self.closed is None:
            self.writes.append(messages(frames))
            for message in self.writes[-1]:
                self._follow(message)
        if self.fills_up:
            self.paused = True

    def open_line(self) -> None:
        self.open = not self.paused and self.closed is None

    def close(self, code: int, reason: str) -> None:
        self.open = False
        if self.closed is None:
            self.closed = (code, reason)

    def trust(self) -> None:
        self.trusted = True

    def begin(self) -> None:
        self.under_way += 1

    def done(self) -> None:
        self.under_way -= 1

    def go_on(self) -> None:
        """Take bytes again."""
        self.paused = False
        self._mailbox.tell(Writable())

    @property
    def told(self) -> list[dict[str, Any]]:
        """Every message, in order."""
        return [message for write in self.writes for message in write]

    def of(self, type: str) -> list[dict[str, Any]]:
        """The messages of this type, in order."""
        return [message for message in self.told if message["type"] == type]

    def _follow(self, message: dict[str, Any]) -> None:
        if message["type"] == "welcome":
            for room, joined in message["rooms"].items():
                self._join(room, joined)
        elif message["type"] == "subscribed":
            self._join(message["room"], message)
        elif message["type"] in ("event", "skipped"):
            self.chains[message["room"]].take(message)

    def _join(self, room: str, joined: dict[str, Any]) -> None:
        """Begin where the protocol says: at the position that was given, past what is missing, or at the top."""
        before = self.chains.get(room)
        if "missing" in joined:
            position = joined["missing"]["to"]
        elif joined["recovery"] == "full":
            position = before.position if before is not None else joined["offset"] - joined["replay"]
        else:
            position = joined["offset"] - joined["replay"]
        self.chains[room] = Chain(position)
