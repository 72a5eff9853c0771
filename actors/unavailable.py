"""What is owed to whoever writes to a room that cannot be opened: a letter in, a refusal out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import Refusal
from .messages import Acknowledge, Append, AppendFailed, Forget, Query, Refused, Subscribe

__all__ = ["refuse"]


def refuse(message: Any, refusal: Refusal) -> None:
    """Answer a message to a room with `refusal`, if somebody waits for its answer."""
    answer = _ANSWERS.get(type(message))
    if answer is not None:
        answer(message, refusal)


def _to_publisher(message: Append | Acknowledge, refusal: Refusal) -> None:
    message.reply_to.tell(Refused(message.tag, refusal))


def _to_failed(message: AppendFailed, refusal: Refusal) -> None:
    _to_publisher(message.append, message.refusal)


def _to_subscriber(message: Subscribe, refusal: Refusal) -> None:
    message.mailbox.tell(Refused(message.tag, refusal))


def _to_asker(message: Query, refusal: Refusal) -> None:
    message.reply_to.tell(Refused(message.command, refusal))


def _to_operator(message: Forget, refusal: Refusal) -> None:
    message.reply_to.tell(Refused(None, refusal))


_ANSWERS: dict[type, Callable[[Any, Refusal], None]] = {
    Append: _to_publisher,
    AppendFailed: _to_failed,
    Acknowledge: _to_publisher,
    Subscribe: _to_subscriber,
    Query: _to_asker,
    Forget: _to_operator,
}
