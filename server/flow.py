"""Flow: what a Connection actor sees of its client's socket, whatever the protocol. `Line` for rooms, pauses for it.

A socket says when it takes no more, and when it does again; the mailbox is told `Writable`.
"""

from __future__ import annotations

import asyncio

from actors.codec import Codec
from actors.line import Line
from actors.mailbox import Mailbox
from actors.messages import Writable

__all__ = ["Flow"]


class Flow(Line):
    """A client's socket, as far as it takes bytes or does not.

    Args:
        codec: How the client speaks.
        transport: The socket.
        mark: Bytes in all from which on there is something to do beside sending.
        mailbox: Is told `Writable` when a socket that was full takes bytes again.
    """

    __slots__ = ("_clogged", "_mailbox", "_transport", "paused", "stuck")

    def __init__(self, codec: Codec, transport: asyncio.Transport, mark: int, mailbox: Mailbox) -> None:
        super().__init__(codec, transport, mark)
        self._transport = transport
        self._mailbox = mailbox
        mailbox.line = self
        self.paused = False
        """Whether the socket takes no more for now, or the client's library has too much to read already."""
        self.stuck = False
        """Whether values are to give way to newer ones because of how the client reads: it has had its chance."""
        self._clogged = False
        """Whether the socket took no more after the loop had done I/O."""

    @property
    def writable(self) -> bool:
        """Whether the socket would take bytes."""
        raise NotImplementedError

    @property
    def buffered(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    def full(self) -> None:
        """The socket takes no more."""
        self.paused = True
        self.open = False
        asyncio.get_running_loop().call_soon(self._look_again)

    def _look_again(self) -> None:
        self._clogged = not self.writable  # though the loop has done I/O since
        self.settle()

    def settle(self) -> None:
        """Be paused, or not; tell who waits when it is no more."""
        self._clogged = self._clogged and not self.writable
        self.stuck = self._clogged or self._lags()
        paused = not self.writable or self._held()
        if paused != self.paused:
            self.paused = paused
            self.open = False
            if not paused:
                self._mailbox.tell(Writable())

    def _held(self) -> bool:
        """Tell whether the client is to be written no more for now, though its socket would take it."""
        return False

    def _lags(self) -> bool:
        """Tell whether the client is behind by more than its socket."""
        return False
