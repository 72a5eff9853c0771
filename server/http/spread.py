"""Spread: how far a call of the HTTP API reaches in a cluster, and how several routers' answers become one.

Knows nothing of how the others are asked: `Forward` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from actors.errors import ErrorCode, Refusal

__all__ = ["EVERYWHERE_S", "AnyNode", "Everywhere", "Holder", "Outcome", "Outcomes", "Spread", "known"]

EVERYWHERE_S = 1.0
"""How long other routers are waited for, unless a call says otherwise."""


class Outcome(NamedTuple):
    """What a router says to a call."""

    node: str | None
    """Its name; None: this router is alone."""
    answer: Any
    """Of the call's type; or a `Refusal`."""


class Outcomes(NamedTuple):
    """What all of them say, this one first, and who said nothing in time."""

    each: Sequence[Outcome]
    unanswered: tuple[str, ...]

    def answers(self) -> list[Any]:
        """Return the answers; raise the first refusal where there are only refusals."""
        answers = [each.answer for each in self.each if not isinstance(each.answer, Refusal)]
        if not answers:
            refusal = self.each[0].answer
            assert isinstance(refusal, Refusal)
            raise refusal
        return answers

    @property
    def missing(self) -> list[str]:
        """The nodes whose part is not in the answers."""
        refused = [str(each.node) for each in self.each if isinstance(each.answer, Refusal)]
        return sorted([*refused, *self.unanswered])


class Everywhere(NamedTuple):
    """All routers are asked at once, and `merge` makes one answer of theirs."""

    merge: Callable[[Any, Outcomes], object]
    """Gets the query's parameters and what came back."""


class Holder(NamedTuple):
    """One router has what is asked for, and answers; the others do not find it."""

    wait_s: float = EVERYWHERE_S


class AnyNode(NamedTuple):
    """Every router may have it: the first that does answers, this one before the others."""


Spread: TypeAlias = Everywhere | Holder | AnyNode
"""How far a call reaches."""


def known(outcomes: Outcomes) -> object:
    """Return the answer of the router that has what was asked for."""
    for each in outcomes.each:
        if not isinstance(each.answer, Refusal):
            return each.answer
    refusals: list[Refusal] = [each.answer for each in outcomes.each]
    refusal = next((each for each in refusals if each.code is not ErrorCode.NOT_FOUND), refusals[0])
    if refusal.code is ErrorCode.NOT_FOUND and outcomes.unanswered:
        silent = ", ".join(outcomes.unanswered)
        raise Refusal(ErrorCode.BUSY, f"{refusal.message}; but {silent} did not answer and may have it: ask again")
    raise refusal
