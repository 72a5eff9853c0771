"""Commands and their answers, without I/O: commands in, frames to send and resolved futures out.

Every command has an id that is never used again, so an answer always finds its own command. When the connection
breaks, unanswered commands are sent again on the next one, in their order: all of them may be (a publish carries its
event id, the others change nothing twice).
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Mapping

from ._errors import CommandError
from ._wire import ErrorMessage, ServerMessage, encode

__all__ = ["Broken", "Command", "Commands", "error_of"]


class Broken(Exception):
    """The connection broke before the answer, and this command belongs to that connection only."""


class Command:
    """One command that waits for its answer."""

    __slots__ = ("answer", "frame", "id", "once")

    def __init__(self, command_id: int, frame: bytes, *, once: bool) -> None:
        self.id = command_id
        self.frame = frame
        self.once = once
        self.answer: asyncio.Future[ServerMessage] = asyncio.get_running_loop().create_future()


class Commands:
    """The commands of one client. Used on its loop only.

    Attributes:
        message_bytes: Longest command that the router takes; it would close the connection for good over a longer one.
        on_add: Called when a command begins to wait.
    """

    def __init__(self) -> None:
        self.message_bytes = 65_536
        self.on_add: Callable[[], object] = bool
        self._last_id = 0
        self._waiting: dict[int, Command] = {}
        self._unsent: deque[bytes] = deque()
        self._more = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def next_id(self) -> int:
        """Return an id that no command had before."""
        self._last_id += 1
        return self._last_id

    def add(self, kind: str, fields: Mapping[str, object], *, once: bool = False) -> Command:
        """Queue a command for sending and expect its answer.

        Args:
            kind: The message type.
            fields: Its fields; None is left out.
            once: Whether it belongs to this connection: it fails with `Broken` instead of being sent again.

        Raises:
            CommandError: `too_large`, without sending it.
            TypeError: A field that JSON has no form for.
        """
        command_id = self.next_id()
        frame = encode(kind, fields, command_id)
        if len(frame) > self.message_bytes:
            raise CommandError("too_large", f"{kind} takes {len(frame)} bytes, the router at most {self.message_bytes}")
        command = Command(command_id, frame, once=once)
        self._waiting[command_id] = command
        self._queue(frame)
        self.on_add()
        return command

    def tell(self, kind: str, fields: Mapping[str, object]) -> None:
        """Queue a command that nobody waits for, on this connection only."""
        self._queue(encode(kind, fields))

    def forget(self, command: Command) -> None:
        """Stop waiting; an answer that comes later is nobody's."""
        self._waiting.pop(command.id, None)

    def waiting(self, command_id: int | str | None) -> Command | None:
        """Return the command that waits for the answer with this id."""
        return self._waiting.get(command_id) if isinstance(command_id, int) else None

    def settle(self, command: Command, message: ServerMessage) -> None:
        """Give a command its answer."""
        self._waiting.pop(command.id, None)
        if command.answer.done():
            return
        if isinstance(message, ErrorMessage):
            command.answer.set_exception(error_of(message))
        else:
            command.answer.set_result(message)

    def reconnected(self) -> None:
        """Queue every unanswered command again, in order."""
        self._unsent.clear()
        for command in self._waiting.values():
            self._queue(command.frame)

    def disconnected(self) -> None:
        """Fail the commands that belong to the connection which broke."""
        self._unsent.clear()
        for command in [command for command in self._waiting.values() if command.once]:
            self._fail(command, Broken())

    def end(self, error: Exception) -> None:
        """Fail everything that waits."""
        self._unsent.clear()
        for command in list(self._waiting.values()):
            self._fail(command, error)

    async def next_frame(self) -> bytes:
        """Return the next frame to send; wait where there is none."""
        while not self._unsent:
            self._more.clear()
            await self._more.wait()
        return self._unsent.popleft()

    def _queue(self, frame: bytes) -> None:
        self._unsent.append(frame)
        self._more.set()

    def _fail(self, command: Command, error: Exception) -> None:
        self._waiting.pop(command.id, None)
        if not command.answer.done():
            command.answer.set_exception(copy.copy(error))


def error_of(message: ErrorMessage) -> CommandError:
    """Return the exception for the router's `error` message."""
    return CommandError(message.code, message.message, message.temporary, message.retry_after_ms)
