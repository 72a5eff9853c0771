"""Quarantine for operators: what made its actor fail twice, handed in again or dropped."""

from __future__ import annotations

import asyncio

import msgspec

from actors.errors import ErrorCode, Refusal
from actors.messages import Receipt
from actors.poison import PoisonEvent
from actors.quarantine import Outcome, Quarantine
from actors.quarantine_entry import Entry
from actors.times import time_text

from .answers import refusal_body
from .calls import Asked, Call, Limit
from .spread import EVERYWHERE_S, Everywhere, Holder, Outcomes

__all__ = ["Dropped", "Listed", "QuarantineCalls", "QuarantineQuery", "Quarantined", "Retried"]

_RETRY_S = 8.0
"""How long a retry waits for its receipt; less than a caller waits for its answer."""


class QuarantineQuery(msgspec.Struct, frozen=True):
    """Parameters of the list."""

    limit: Limit = 100
    """The newest so many."""


class Quarantined(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message in quarantine."""

    id: str
    time: str
    """Since when."""
    actor: str
    message_type: str
    room: str | None = None
    event: PoisonEvent | None = None
    exception_type: str
    error: str
    traceback_hash: str
    deaths: int
    retries: int
    node: str | None = None
    """The router that has it; left out where there is no cluster."""


class Listed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is in quarantine, the newest first."""

    quarantine: list[Quarantined]
    total: int
    """How many there are."""
    dropped: int
    """How many had to go for newer ones since the router was started."""
    unanswered: list[str] = []
    """Nodes of the cluster that did not answer in time: what they have is not there."""


class Retried(msgspec.Struct, frozen=True):
    """What became of a message that was handed in again."""

    id: str
    result: dict[str, object]
    """A receipt; `error`, and it stays in quarantine; or `handed_over`, for a message that is no event."""


class Dropped(msgspec.Struct, frozen=True):
    """The message is gone for good."""

    id: str
    dropped: bool = True


class QuarantineCalls:
    """Answers operators.

    Args:
        quarantine: What is in it.
        node: This router's name in its cluster; None: it is alone.
        retry_s: How long a retry waits for its receipt.
    """

    def __init__(self, quarantine: Quarantine, node: str | None = None, *, retry_s: float = _RETRY_S) -> None:
        self._quarantine = quarantine
        self._node = node
        self._retry_s = retry_s

    def calls(self) -> list[Call]:
        """Return what it answers."""
        return [
            Call(
                "GET",
                "/v1/quarantine",
                "List the messages that made their actors fail twice.",
                self._list,
                query=QuarantineQuery,
                answer=Listed,
                spread=Everywhere(_merged),
            ),
            Call(
                "POST",
                "/v1/quarantine/{id}/retry",
                "Hand a message in again, and wait for what becomes of it.",
                self._retry,
                answer=Retried,
                refusals=(ErrorCode.NOT_FOUND, ErrorCode.BUSY),
                spread=Holder(wait_s=_RETRY_S + EVERYWHERE_S),
            ),
            Call(
                "DELETE",
                "/v1/quarantine/{id}",
                "Drop a message for good.",
                self._drop,
                answer=Dropped,
                refusals=(ErrorCode.NOT_FOUND, ErrorCode.BUSY),
                spread=Holder(),
            ),
        ]

    async def _list(self, asked: Asked[QuarantineQuery]) -> Listed:
        entries = self._quarantine.entries()
        shown = [_shown(entry, self._node) for entry in entries[: asked.query.limit]]
        return Listed(shown, len(entries), self._quarantine.dropped)

    async def _retry(self, asked: Asked[None]) -> Retried:
        assert asked.caller is not None
        id, done = asked.part("id"), asyncio.get_running_loop().create_future()

        def finish(outcome: Outcome) -> None:
            if not done.done():  # else the caller has hung up
                done.set_result(outcome)

        self._quarantine.retry(id, asked.caller.user, finish)
        try:
            return Retried(id, _result(await asyncio.wait_for(done, self._retry_s)))
        except TimeoutError:
            message = f"{id} was handed in again and has no answer yet; the list says what becomes of it"
            raise Refusal(ErrorCode.BUSY, message) from None

    async def _drop(self, asked: Asked[None]) -> Dropped:
        assert asked.caller is not None
        id = asked.part("id")
        self._quarantine.drop(id, asked.caller.user)
        return Dropped(id)


def _merged(query: QuarantineQuery, outcomes: Outcomes) -> Listed:
    lists: list[Listed] = outcomes.answers()
    shown = [entry for each in lists for entry in each.quarantine]
    shown.sort(key=lambda entry: entry.time, reverse=True)
    total, dropped = sum(each.total for each in lists), sum(each.dropped for each in lists)
    return Listed(shown[: query.limit], total, dropped, outcomes.missing)


def _shown(entry: Entry, node: str | None) -> Quarantined:
    poison = entry.poison
    return Quarantined(
        id=entry.id,
        time=time_text(entry.at_ms),
        actor=entry.actor,
        message_type=poison.message_type,
        room=", ".join(poison.rooms) or None,
        event=poison.event,
        exception_type=entry.exception_type,
        error=entry.error,
        traceback_hash=entry.traceback_hash,
        deaths=entry.deaths,
        retries=entry.retries,
        node=node,
    )


def _result(outcome: Outcome) -> dict[str, object]:
    """Return the first refusal, as that is why it stays; else the first receipt."""
    for each in outcome:
        if isinstance(each, Refusal):
            return {"error": refusal_body(each)}
    receipts = [each for each in outcome if isinstance(each, Receipt)]
    return receipts[0]._asdict() if receipts else {"handed_over": True}
