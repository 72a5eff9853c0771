"""A stream's socket, and its `Line`: blocks of text in, bytes out, and guards against who does not read.

Bytes go to the transport as they are. The response has neither a length nor chunks, and ends with the connection.
"""

from __future__ import annotations

import asyncio

from actors.codec import Codec
from actors.errors import CloseCode, ErrorCode, Refusal
from actors.mailbox import Mailbox
from server.flow import Flow
from server.pace import UNLIMITED
from server.protocols.sse import PING, parting
from server.stall import WRITE_LIMIT, StallWatch, guard

from .heads import HeadTimer

__all__ = ["StreamWire"]

_CLOSE_S = 30.0
"""How long a client may take to read what waits for it and the end after it, before it is cut."""
_OPERATOR_S = 0.8
"""How long one that an operator closes may."""


class StreamWire(Flow):
    """One client's socket as its Connection actor sees it (`actors.codec.Wire`).

    What is written first is kept until the head of the response has been sent (`flow`): until then the answer may
    still be an error.

    Args:
        socket: The socket's protocol.
        transport: The socket.
        mailbox: Is told `Writable` when a socket that was full takes bytes again.
        codec: How the client speaks.
        answered: Set when there is something to write, or to a refusal: there will be nothing.
        stall_s: Seconds after which a client that took not one byte is cut.
    """

    __slots__ = (
        "_close_timer",
        "_first",
        "_socket",
        "_stall_watch",
        "answered",
        "close_code",
        "cut_off",
        "flows",
        "gone",
        "stall_s",
        "stalled",
        "transport",
    )

    def __init__(
        self,
        socket: HeadTimer,
        transport: asyncio.Transport,
        mailbox: Mailbox,
        codec: Codec,
        answered: asyncio.Future[Refusal | None],
        *,
        stall_s: float,
    ) -> None:
        super().__init__(codec, transport, UNLIMITED, mailbox)
        self.transport = transport
        self.stall_s = stall_s
        self.stalled = False
        """Whether it was cut because the client read nothing."""
        self.cut_off = False
        """Whether it was cut."""
        self.close_code: int | None = None
        """With what the router closed it; None: it did not."""
        self.answered = answered
        """Done when there is something to write, or never will be: a refusal, or nobody is there any more."""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the socket is gone."""
        self.flows = False
        """Whether the head of the response is sent, and everything that is written."""
        self._first = b""
        self._close_timer: asyncio.TimerHandle | None = None
        self._stall_watch: StallWatch | None = None
        self._socket = socket
        socket.user = self
        transport.set_write_buffer_limits(high=WRITE_LIMIT)
        guard(transport)

    @property
    def room(self) -> int:
        """There is no limit but the socket's own: nobody tells how far the client has read."""
        return UNLIMITED

    @property
    def writable(self) -> bool:
        """Whether the socket would take bytes."""
        return self.flows and not self._socket.full

    def write(self, frames: bytes) -> None:
        """Send whole blocks; dropped when the socket is closing."""
        if self.close_code is not None or self.gone.done():
            return
        if self.flows:
            self.transport.write(frames)
            self.written += len(frames)
            return
        self._first += frames
        self.paused = True
        if not self.answered.done():
            self.answered.set_result(None)

    def flow(self) -> None:
        """Send what was kept, and from now on everything: the head is sent."""
        self.flows = True
        if not self.gone.done():
            self.transport.write(self._first)
            self.written += len(self._first)
            self._first = b""
            if self.close_code is not None:
                self.transport.close()
        self.settle()

    def open_line(self) -> None:
        """Let rooms send by the line."""
        self.open = self.flows and not self.paused and self.close_code is None and not self.gone.done()

    def close(self, code: int, reason: str) -> None:
        """Say why, and end the stream after what was written; cut the socket when the client does not read that."""
        self.open = False
        if self.close_code is None and not self.gone.done():
            self.close_code = code
            if self.flows:
                self.transport.write(parting(code, reason))
                self.transport.close()
            elif self.answered.done():
                self._first += parting(code, reason)
            else:
                self.answered.set_result(_refusal(code, reason))
        if not self.gone.done() and (self._close_timer is None or code == CloseCode.OPERATOR):
            self._stop_close_timer()
            seconds = _OPERATOR_S if code == CloseCode.OPERATOR else _CLOSE_S
            self._close_timer = asyncio.get_running_loop().call_later(seconds, self.cut)

    def cut(self) -> None:
        """Drop the socket at once, with what waits in it."""
        if not self.gone.done():
            self.cut_off = True
            self.open = False
            self.transport.abort()

    def leave(self) -> None:
        """Touch the socket no more: the request is answered, and another one may follow."""
        self._socket.user = None
        self.lost()

    # --- what is asked for comes with the request alone: nothing can be under way

    def trust(self) -> None:
        """Let more be under way."""

    def begin(self) -> None:
        """Something is under way."""

    def done(self) -> None:
        """It has been dealt with."""

    # --- heartbeat

    silent = False
    """Nothing is ever heard of the client; what TCP does not get across within seconds ends the connection."""

    def ping_now(self) -> None:
        """Show that the stream is alive, unless enough waits for the client already."""
        if self.writable and self.close_code is None and not self.gone.done():
            self.transport.write(PING)

    # --- the socket

    def full(self) -> None:
        """The socket takes no more."""
        super().full()
        asyncio.get_running_loop().call_soon(self._watch_stall)  # after I/O: the kernel takes some of it

    def settle(self) -> None:
        """Be paused, or not, as the socket says."""
        super().settle()
        if not self.watched:
            self._stop_stall_watch()

    def lost(self) -> None:
        """The socket is gone."""
        self.open = False
        self._stop_close_timer()
        self._stop_stall_watch()
        if not self.answered.done():
            self.answered.set_result(None)
        if not self.gone.done():
            self.gone.set_result(None)

    # --- a stall (`server.stall.Stallable`)

    under_way = 0
    patience_s = 0.0

    @property
    def watched(self) -> bool:
        """Whether the client is behind."""
        return self._socket.full and not self.gone.done()

    def cut_stalled(self) -> None:
        """Drop the socket: the client takes nothing."""
        self.stalled = True
        self.cut()

    def _watch_stall(self) -> None:
        if self.watched and (self._stall_watch is None or not self._stall_watch.looking):
            self._stall_watch = StallWatch(self)

    def _stop_stall_watch(self) -> None:
        if self._stall_watch is not None:
            self._stall_watch.stop()
            self._stall_watch = None

    def _stop_close_timer(self) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None


def _refusal(code: int, reason: str) -> Refusal:
    """Say in HTTP's words why a connection was closed before it had begun."""
    if code == CloseCode.TOO_MANY_CONNECTIONS:
        return Refusal(ErrorCode.RATE_LIMITED, reason)
    return Refusal(ErrorCode.BUSY, f"{reason}: try again in a moment")
