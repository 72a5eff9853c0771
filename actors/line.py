"""Line: the direct way from rooms to one client's socket, while its Connection has nothing to do and nothing waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .codec import Codec

__all__ = ["Line", "Out"]


class Out(Protocol):
    """What takes bytes at once, and keeps what the kernel does not take: a transport."""

    def write(self, frames: bytes, /) -> object:
        """Take whole frames."""


class Line:
    """What a room touches of a client that keeps up: one small object, and the socket.

    A live event changes nothing for a Connection whose mailbox and outbox are empty: handled in its turn, it would be
    written as it is. So a room may write it at once, for as long as the line is `open`. The Connection opens it at the
    end of a turn; the mailbox shuts it when something is put in, the wire when the socket takes no more or closes. So
    what goes by the line never passes what waits, and a connection that fails is met by mail again.

    Args:
        codec: How the client speaks.
        out: Where frames go.
        mark: Bytes in all from which on there is something to do beside sending.
    """

    __slots__ = ("codec", "mark", "open", "out", "written")

    def __init__(self, codec: Codec, out: Out, mark: int) -> None:
        self.open = False
        """Whether a room may send."""
        self.codec = codec
        self.out = out
        self.mark = mark
        self.written = 0
        """Bytes that were sent in all, this way or another."""
