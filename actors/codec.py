"""The two interfaces between the Connection actor and the outside: how to speak, and what to speak through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .commands import Command
from .errors import ErrorCode, Refusal
from .events import Event
from .replies import CommandId, Reply

__all__ = ["BadMessage", "Codec", "Wire"]


class BadMessage(Refusal):
    """A frame that is no command.

    Attributes:
        id: The command's, where it could be read.
        fatal: Whether the protocol has the connection closed for it; else that is done for too many.
    """

    def __init__(self, code: ErrorCode, message: str, id: CommandId = None, *, fatal: bool = False) -> None:
        super().__init__(code, message)
        self.id = id
        self.fatal = fatal


class Codec(Protocol):
    """One wire protocol, without I/O or state: one instance serves every connection that speaks it.

    A command's `id` is the codec's own: it comes back in the answer as it is, and may say what kind of answer is due.
    """

    tells_old_events: bool
    """Whether the first old events of a room are part of the answer (`OldEvents`), not the first after it."""

    first_words: str
    """How a client of this protocol begins: for the error of one that says something else first."""

    def decode(self, text: str) -> Sequence[Command]:
        """Read the commands of one text frame.

        Raises:
            BadMessage: It holds none, or a wrong one.
        """

    def encode(self, reply: Reply) -> bytes:
        """Write one reply as a whole frame, or as none where the protocol has no word for it."""

    def encode_event(self, room: str, event: Event) -> bytes:
        """Write one event of `room` as a whole frame."""


class Wire(Protocol):
    """One client's socket, as far as an actor may touch it. All calls are made on the loop's thread; none waits.

    It is the mailbox's `Line`, too, and shuts it when it takes no more or closes.
    """

    codec: Codec
    """How the client speaks."""

    paused: bool
    """Whether the socket takes no more for now; `Writable` is told when it does again. Read it, do not write it."""

    stuck: bool
    """Whether the client is behind because of how it reads: before it had its chance a burst is not its fault."""

    @property
    def room(self) -> int:
        """About how many bytes may be written now, in whole frames and at least one; a large number: no limit.

        Who is written less than that need not be `paused` then; who is written as much is, until `Writable` is told.
        """

    @property
    def writable(self) -> bool:
        """Whether the socket would take bytes, whatever the client's pace says."""

    @property
    def buffered(self) -> int:
        """Bytes that were written and that the kernel has not taken yet."""

    def write(self, frames: bytes) -> None:
        """Send whole frames; dropped when the socket is closed."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake after what was written; cut the socket if the client does not take part."""

    def open_line(self) -> None:
        """Let rooms send by the line: nothing waits here. Stays shut where the socket takes nothing for now."""

    def trust(self) -> None:
        """The client is a service or an operator: let more of what it asks for be under way."""

    def begin(self) -> None:
        """Something that the client asked for is under way; while too much is, nothing more is read from it."""

    def done(self) -> None:
        """It has been dealt with."""
