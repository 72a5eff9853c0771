"""What an answer to `POST /v1/publish` means, without I/O: status, headers and body in, one outcome per event out."""

from __future__ import annotations

import email.utils
import time

import msgspec

from ._errors import CommandError
from ._events import Receipt
from ._wire import UNREADABLE

__all__ = ["Answer", "Outcome", "read_answer", "retry_after_s"]

Outcome = Receipt | CommandError

_TEMPORARY_STATUS = frozenset({408, 425, 429})
_MAX_RETRY_AFTER_S = 300.0


class Answer(msgspec.Struct, frozen=True):
    """What the router said to a batch."""

    outcomes: list[Outcome] | None = None
    """One per event, in order; None: the batch as a whole failed."""
    error: CommandError | None = None
    """Why it failed as a whole; a temporary one is worth another attempt."""
    retry_after_s: float = 0
    """Not to come back earlier than that, in seconds."""


class _Problem(msgspec.Struct):
    code: str = ""
    message: str = ""
    detail: str | None = None
    title: str | None = None
    temporary: bool | None = None
    retry_after_ms: int | None = None


class _Item(msgspec.Struct):
    room: str = ""
    epoch: str = ""
    offset: int = 0
    event_id: str = ""
    duplicate: bool = False
    error: _Problem | None = None


class _Results(msgspec.Struct):
    results: list[_Item]


def read_answer(status: int, retry_after: str | None, body: bytes, events: int) -> Answer:
    """Read an HTTP answer.

    Args:
        status: HTTP status.
        retry_after: The `Retry-After` header; None: there was none.
        body: `{"results": [...]}`, or a problem document (RFC 9457).
        events: How many events were sent.
    """
    wait_s = retry_after_s(retry_after)
    try:
        results = msgspec.json.decode(body, type=_Results).results
    except UNREADABLE:
        return Answer(error=_problem(status, body), retry_after_s=wait_s)
    if len(results) != events:
        message = f"{len(results)} results for {events} events"
        return Answer(error=CommandError("internal", message, True), retry_after_s=wait_s)
    return Answer(outcomes=[_outcome(item) for item in results], retry_after_s=wait_s)


def retry_after_s(header: str | None) -> float:
    """Read a `Retry-After` header (RFC 9110, 10.2.3: seconds or a date): at most five minutes, 0 for nonsense."""
    if header is None:
        return 0
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):  # a number in it may be larger than any date's
            return 0
    return min(max(seconds, 0), _MAX_RETRY_AFTER_S) if seconds == seconds else 0


def _outcome(item: _Item) -> Outcome:
    if item.error is None:
        return Receipt(item.room, item.epoch, item.offset, item.event_id, item.duplicate)
    error = item.error
    return CommandError(
        error.code or "internal",
        error.message or error.detail or "",
        bool(error.temporary),
        error.retry_after_ms,
    )


def _problem(status: int, body: bytes) -> CommandError:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except UNREADABLE:
        problem = _Problem()
    temporary = problem.temporary
    if temporary is None or status in _TEMPORARY_STATUS or status >= 500:
        temporary = status in _TEMPORARY_STATUS or not 300 <= status < 500
    message = problem.message or problem.detail or problem.title or f"HTTP {status}"
    return CommandError(problem.code or f"http_{status}", message, temporary, problem.retry_after_ms)
