"""Questions to the other nodes as they are on the wire: a question, an answer, and what has come back so far."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
from nats.aio.msg import Msg

__all__ = ["Answer", "Answers", "Collected", "Question"]


class Answers(NamedTuple):
    """What the others answer, by the name of the node, and who did not."""

    by_node: Mapping[str, msgspec.Raw]
    unanswered: tuple[str, ...]


class Question(msgspec.Struct, frozen=True):
    """A question on the wire."""

    asker: str
    """Its life: nobody answers themselves."""
    verb: str
    body: msgspec.Raw


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer on the wire; `failed`: the node cannot answer."""

    node: str
    life: str
    body: msgspec.Raw = msgspec.Raw(b"null")
    failed: bool = False


class Collected:
    """Answers as they come in.

    Args:
        lives: Who is waited for.
        enough: Whether after this answer nobody is waited for any more. None: never.
    """

    def __init__(self, lives: set[str], enough: Callable[[msgspec.Raw], bool] | None) -> None:
        self._waiting = lives
        self.lives: set[str] = set()
        """Who has answered."""
        self.by_node: dict[str, msgspec.Raw] = {}
        """What they answer."""
        self.is_enough = False
        """Whether there was an answer after which nobody is waited for."""
        self._enough = enough
        self._read = 0

    def over(self, messages: list[Msg]) -> bool:
        """Tell whether nothing is waited for any more."""
        for message in messages[self._read :]:
            self._read += 1
            if not message.data:  # NATS itself: nobody listens there
                return True
            with contextlib.suppress(msgspec.MsgspecError):  # of another version: it counts as none
                self._take(msgspec.json.decode(message.data, type=Answer))
        return self.is_enough or not self._waiting

    def _take(self, answer: Answer) -> None:
        self._waiting.discard(answer.life)
        if answer.failed:
            return
        self.lives.add(answer.life)
        self.by_node[answer.node] = answer.body
        self.is_enough = self.is_enough or (self._enough is not None and self._enough(answer.body))
