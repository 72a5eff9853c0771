"""What can go wrong, as classes for Python and as codes for the wire.

    PostroomError
    ├── Refusal             a command or event was refused: `code`, `message`, `temporary`
    ├── Escalation          a supervisor gave a child up and hands the failure to its parent
    ├── RestartOrdered      an operator has an actor fail, so that its supervisor starts it anew
    └── LogUnavailable      the event log cannot answer now

Codes are defined once, here; the reference page is held against these enums by a test.
"""

from __future__ import annotations

import enum

__all__ = ["CloseCode", "ErrorCode", "Escalation", "LogUnavailable", "PostroomError", "Refusal", "RestartOrdered"]


class ErrorCode(enum.StrEnum):
    """Codes of the wire's `error` message and of HTTP problem documents."""

    BAD_MESSAGE = "bad_message"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_EVENT = "invalid_event"
    UNAUTHENTICATED = "unauthenticated"
    TOKEN_EXPIRED = "token_expired"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    NOT_SUBSCRIBED = "not_subscribed"
    ALREADY_SUBSCRIBED = "already_subscribed"
    TOO_MANY_ROOMS = "too_many_rooms"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    SESSION_ENDED = "session_ended"
    BUSY = "busy"
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    INTERNAL = "internal"

    @property
    def temporary(self) -> bool:
        """Whether the same command may succeed when it is sent again later."""
        return self in _TEMPORARY


_TEMPORARY = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.BUSY, ErrorCode.JOURNAL_UNAVAILABLE, ErrorCode.INTERNAL})


class CloseCode(enum.IntEnum):
    """WebSocket close codes that Postroom sends (RFC 6455, 7.4, and our own from 4000 on)."""

    NORMAL = 1000
    DRAINING = 1001
    BINARY_FRAME = 1003
    BAD_UTF8 = 1007
    TOO_BIG = 1009
    GIVEN_UP = 1011
    SLOW_CONSUMER = 4002
    OPERATOR = 4009
    BAD_MESSAGES = 4400
    UNAUTHENTICATED = 4401
    NO_HELLO = 4408
    TOKEN_EXPIRED = 4410
    TOO_MANY_CONNECTIONS = 4429


class PostroomError(Exception):
    """Base of every error that Postroom raises on purpose."""


class Refusal(PostroomError):
    """A command was refused and nothing was changed.

    Attributes:
        code: The wire code.
        message: What was wrong, with the value, and what to do.
        retry_after_ms: When to try again, in milliseconds; None where nothing is known.
    """

    def __init__(self, code: ErrorCode, message: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(code, message, retry_after_ms)
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Escalation(PostroomError):
    """A child failed more often than its intensity allows; its supervisor fails in its place."""

    def __init__(self, child: str, restarts: int, within_s: float) -> None:
        super().__init__(child, restarts, within_s)
        self.child = child
        self.restarts = restarts
        self.within_s = within_s

    def __str__(self) -> str:
        return f"{self.child} failed again after {self.restarts} restarts in {self.within_s:g} s"


class RestartOrdered(PostroomError):
    """An operator has an actor fail, so that its supervisor starts it anew.

    Attributes:
        by: The operator.
    """

    def __init__(self, by: str) -> None:
        super().__init__(by)
        self.by = by

    def __str__(self) -> str:
        return f"{self.by} had it restarted"


class LogUnavailable(PostroomError):
    """The event log cannot be read or written now; `str()` says why."""
