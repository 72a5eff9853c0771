"""Answers: those to several publishes in, one tuple of receipts and refusals out."""

from __future__ import annotations

from collections.abc import Callable

from .errors import Refusal
from .messages import Published, Receipt, Refused

__all__ = ["NOBODY", "Answers"]


class Answers:
    """Collects the answers to several publishes.

    Args:
        count: How many answers will come; each is tagged with its place, from 0 on.
        done: Gets receipts and refusals in the order of their places when the last one is there.
    """

    def __init__(self, count: int, done: Callable[[tuple[Receipt | Refusal, ...]], object]) -> None:
        self._results: dict[int, Receipt | Refusal] = {}
        self._count = count
        self._done = done

    def tell(self, message: Published | Refused) -> None:
        """Take one answer. What a failure makes come twice counts once: the first."""
        if message.tag in self._results:
            return
        self._results[message.tag] = message.receipt if isinstance(message, Published) else message.refusal
        if len(self._results) == self._count:
            self._done(tuple(self._results[place] for place in range(self._count)))


class _Nobody:
    def tell(self, message: object) -> None:
        """Drop an answer that nobody waits for."""


NOBODY = _Nobody()
