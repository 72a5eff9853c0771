"""Link: one socket, from the router's outbox to the client's program and back; the network between them is the story's.

As `server.wire.Wire` it takes bytes until its buffer is full, says so, and tells `Writable` when there is room again.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from actors.line import Line
from actors.mailbox import Mailbox
from actors.messages import Frame, WireClosed, Writable
from server.protocols.native import NativeCodec

from ..actors.chain import whole_messages

__all__ = ["Link", "WriteFailed"]

CODEC = NativeCodec()
_UNLIMITED = 1 << 62
_UNDER_WAY = 64


class WriteFailed(OSError):
    """The socket does not even take a write."""


class _Socket:
    """Where the router writes: what it takes, the kernel has."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def write(self, frames: bytes) -> None:
        self._link.take(frames)


class Link(Line):
    """One connection.

    Args:
        mailbox: Of the Connection actor that serves it.
        source: Decides.
        hear: The client's program: is told every message.
        gone: The client's program: is told that the connection is over, and with which code, if any.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        source: random.Random,
        hear: Callable[[dict[str, Any]], None],
        gone: Callable[[int | None], None],
    ) -> None:
        self._pace = source.choice((_UNLIMITED, _UNLIMITED, _UNLIMITED, 500, 3000))
        """How many bytes a client that reads slowly may have before it answers."""
        super().__init__(CODEC, _Socket(self), mark=self._pace)
        mailbox.line = self
        self.mailbox = mailbox
        self._source = source
        self._hear = hear
        self._gone = gone
        self._most = source.choice((600, 4000, 64 * 1024, 64 * 1024))
        self._limit = self._pace
        self._buffer = bytearray()
        self._arrived = bytearray()
        """At the client, but for the frame of which a part is missing."""
        self._outgoing: deque[str] = deque()
        self._under_way = 0
        self._looked = False
        """Whether the network had its chance since the socket was full."""
        self.paused = False
        self.stuck = False
        self.stalled = False
        """Whether the client reads nothing and says nothing."""
        self.failing = False
        """Whether the next write raises."""
        self.closing: tuple[int, str] | None = None
        """With what the router closes it."""
        self.client_is_gone = False
        self.router_knows = False
        """Whether the router was told that the connection is over."""

    # --- the router's side

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    @property
    def writable(self) -> bool:
        return len(self._buffer) <= self._most

    @property
    def room(self) -> int:
        return max(1, self._limit - self.written)

    def write(self, frames: bytes) -> None:
        assert self.writable, "written to a socket that takes no more"
        if self.closing is None:
            self.take(frames)
            self.written += len(frames)
            self._settle()

    def take(self, frames: bytes) -> None:
        """Take bytes, by the line or not."""
        if self.failing:
            self.failing = False
            raise WriteFailed("made to fail")
        self._buffer += frames
        if not self.writable:
            self._looked = False
            self._settle()

    def close(self, code: int, reason: str) -> None:
        self.open = False
        if self.closing is None:
            self.closing = (code, reason)

    def open_line(self) -> None:
        self.open = not self.paused and self.closing is None

    def trust(self) -> None:
        pass

    def begin(self) -> None:
        self._under_way += 1

    def done(self) -> None:
        self._under_way -= 1
        assert self._under_way >= 0, "something was dealt with twice"

    @property
    def under_way(self) -> int:
        """How much that the client asked for has not been dealt with."""
        return self._under_way

    def _settle(self) -> None:
        held = self.written >= self._limit
        self.stuck = (not self.writable and self._looked) or (held and self._pace < _UNLIMITED)
        paused = held or not self.writable
        if paused != self.paused:
            self.paused = paused
            self.open = False
            if not paused:
                self.mailbox.tell(Writable())

    # --- the client's side

    def say(self, text: str) -> None:
        """Send a text frame, unless nobody is there any more."""
        if not self.client_is_gone:
            self._outgoing.append(text)

    def hang_up(self) -> None:
        """The client's program leaves."""
        self._lose_client(None)

    # --- the network

    @property
    def busy(self) -> bool:
        """Whether the network has something to do."""
        if self.router_knows:
            return False
        if self.client_is_gone:
            return True
        return not self.stalled and bool(
            self._buffer or self.closing or (self._outgoing and self._under_way < _UNDER_WAY) or self.paused
        )

    def step(self) -> None:
        """Move something, one way or the other."""
        if self.client_is_gone:
            if self._source.random() < 0.3:
                self._tell_router()
        elif self._outgoing and self._under_way < _UNDER_WAY and self._source.random() < 0.5:
            self.begin()
            self.mailbox.tell(Frame(self._outgoing.popleft()))
        else:
            self._move(self._source.choice((1, 50, 400, 5000, _UNLIMITED)))

    def _move(self, most: int) -> None:
        self._arrived += self._buffer[:most]
        del self._buffer[:most]
        self._looked = True
        if not self._buffer:
            self._limit = self.written + self._pace if self._pace < _UNLIMITED else _UNLIMITED
            self.mark = self._limit
        self._settle()
        self._read()
        if self.closing is not None and not self._buffer and not self.client_is_gone:
            self._lose_client(self.closing[0])

    def _read(self) -> None:
        messages, used = whole_messages(self._arrived)
        del self._arrived[:used]
        for message in messages:
            if not self.client_is_gone:
                self._hear(message)

    def cut(self) -> None:
        """The connection breaks: of what is on its way some still arrives."""
        if not self.client_is_gone:
            self._move(self._source.choice((0, 300, _UNLIMITED)))
        self._lose_client(None)

    def process_died(self) -> None:
        """The router's end is gone: what the kernel has may arrive still."""
        self.router_knows = True
        self.open = False
        self.cut()

    def _lose_client(self, code: int | None) -> None:
        if not self.client_is_gone:
            self.client_is_gone = True
            self._outgoing.clear()
            self._gone(code)

    def _tell_router(self) -> None:
        self.router_knows = True
        self.closing = self.closing or (1006, "lost")
        self.open = False
        self.mailbox.tell(WireClosed())
