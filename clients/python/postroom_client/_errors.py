"""What can go wrong, for callers to catch.

PostroomError
├── CommandError          the router refused one command or event: `code`, `temporary`, `retry_after_ms`
├── CommandTimeout        no answer in time (also a TimeoutError); it may have happened
├── ConnectFailed         the first connection did not come about in time (also a ConnectionError)
├── ConnectionEnded       the router ended the connection and does not want it back: `code`, `reason`
│   └── Unauthenticated   it wants another token first
├── ClientClosed          this client or service was closed by its own application
├── GapError              events of a room are gone: `gap` says which
├── Revoked               the router ended this subscription: `room`, `reason`
└── BufferFull            a service cannot hold more events: `events`, `size_bytes`
"""

from __future__ import annotations

from ._positions import Gap

__all__ = [
    "BufferFull",
    "ClientClosed",
    "CommandError",
    "CommandTimeout",
    "ConnectFailed",
    "ConnectionEnded",
    "GapError",
    "PostroomError",
    "Revoked",
    "Unauthenticated",
]


class PostroomError(Exception):
    """Base of every error that this package raises on purpose."""


class CommandError(PostroomError):
    """The router refused one command or event, and nothing was changed.

    Attributes:
        code: One of the protocol's error codes, for example `forbidden` or `rate_limited`.
        message: What was wrong, in words.
        temporary: Whether the same command may succeed later.
        retry_after_ms: When to try again, in milliseconds; None where the router did not say.
    """

    def __init__(self, code: str, message: str, temporary: bool = False, retry_after_ms: int | None = None) -> None:
        super().__init__(code, message, temporary, retry_after_ms)
        self.code = code
        self.message = message
        self.temporary = temporary
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class CommandTimeout(PostroomError, TimeoutError):
    """No answer came in time: the command may or may not have happened.

    Attributes:
        command: Type of the command, for example `publish`.
        timeout_s: How long it was waited for, in seconds.
        event_id: Id of the event that was published; publish again with it and the router takes it once.
            None for other commands.
    """

    def __init__(self, command: str, timeout_s: float, event_id: str | None = None) -> None:
        super().__init__(command, timeout_s, event_id)
        self.command = command
        self.timeout_s = timeout_s
        self.event_id = event_id

    def __str__(self) -> str:
        again = f"; publish it again with event_id={self.event_id!r}, it is taken once" if self.event_id else ""
        return f"no answer to {self.command} within {self.timeout_s:g} s{again}"


class ConnectFailed(PostroomError, ConnectionError):
    """The first connection did not come about; `__cause__` holds the last attempt's error.

    Attributes:
        url: Where to.
        reason: What happened last.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot connect to {self.url}: {self.reason}"


class ConnectionEnded(PostroomError):
    """The router ended the connection for good; reconnecting would not help.

    Attributes:
        code: The WebSocket close code; None where the router said so without closing.
        reason: Why, in words.
    """

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        number = "" if self.code is None else f" with code {self.code}"
        return f"the router ended the connection{number}: {self.reason}"


class Unauthenticated(ConnectionEnded):
    """The router does not take the token, or it expired and there is no way to get a fresh one."""


class ClientClosed(PostroomError):
    """The application closed this client or service, so the command cannot be carried out."""

    def __str__(self) -> str:
        return "closed by the application"


class GapError(PostroomError):
    """Events of a room will never come; iterate again to go on after the gap.

    Attributes:
        gap: Which events, between which positions, and why.
    """

    def __init__(self, gap: Gap) -> None:
        super().__init__(gap)
        self.gap = gap

    def __str__(self) -> str:
        return str(self.gap)


class Revoked(PostroomError):
    """The router ended this subscription.

    Attributes:
        room: Which one.
        reason: Why, in words.
    """

    def __init__(self, room: str, reason: str) -> None:
        super().__init__(room, reason)
        self.room = room
        self.reason = reason

    def __str__(self) -> str:
        return f"subscription to {self.room} was ended by the router: {self.reason}"


class BufferFull(PostroomError):
    """The service holds as many events as it may; this one was not taken.

    Attributes:
        events: How many events wait.
        size_bytes: Their size as JSON, in bytes.
    """

    def __init__(self, events: int, size_bytes: int) -> None:
        super().__init__(events, size_bytes)
        self.events = events
        self.size_bytes = size_bytes

    def __str__(self) -> str:
        return f"{self.events} events ({self.size_bytes} bytes) wait for the router; this one was not taken"
