"""Forwarding: calls of the HTTP API that concern the whole cluster. A call in, one answer of all routers out.

A call is carried out by its handler on each router, as if it had been asked there by the same caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from actors.errors import ErrorCode, Refusal
from actors.identity import Identity
from server.http.calls import Asked, Call
from server.http.spread import EVERYWHERE_S, Everywhere, Holder, Outcome, Outcomes, known

from .link import NotAnswered
from .peers import Peers

__all__ = ["Forwarding"]

_CALL = "call"
_NOBODY: msgspec.Raw = msgspec.Raw(b"null")


class _Handed(msgspec.Struct, frozen=True):
    """A call on the wire."""

    method: str
    path: str
    """As the table of calls has it."""
    parts: dict[str, str]
    query: msgspec.Raw
    caller: Identity | None


class _Refused(msgspec.Struct, frozen=True):
    """A refusal on the wire."""

    code: ErrorCode
    message: str
    retry_after_ms: int | None


class _Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """What comes back: an answer or a refusal."""

    answer: msgspec.Raw = _NOBODY
    refused: _Refused | None = None


class Forwarding:
    """Hands calls on, and answers those that others hand on. `answer` is a `Forward`.

    Args:
        peers: The other routers.
        calls: What this router answers.
    """

    def __init__(self, peers: Peers, calls: Iterable[Call]) -> None:
        self._peers = peers
        self._calls: dict[tuple[str, str], Call] = {
            (call.method, call.path): call for call in calls if call.spread is not None
        }
        peers.answer(_CALL, self._handed)

    async def answer(self, call: Call, asked: Asked[Any]) -> object:
        """Answer a call as far as its spread reaches.

        Raises:
            Refusal: As its handlers do; `not_found` for a node that is not there; `busy` where who may know is silent.
        """
        node = getattr(asked.query, "node", None)
        if node is not None and node != self._peers.node:
            return await self._at(node, call, asked)
        spread = call.spread
        if node is not None or spread is None:
            return await call.handler(asked)
        if isinstance(spread, Everywhere):
            own, others = await asyncio.gather(self._here(call, asked), self._elsewhere(call, asked))
            return spread.merge(asked.query, Outcomes([own, *others.each], others.unanswered))
        own = await self._here(call, asked)
        if not isinstance(own.answer, Refusal) or own.answer.code is not ErrorCode.NOT_FOUND:
            return known(Outcomes([own], ()))
        others = await (
            self._elsewhere(call, asked, spread) if isinstance(spread, Holder) else self._one_by_one(call, asked)
        )
        return known(Outcomes([own, *others.each], others.unanswered))

    async def _here(self, call: Call, asked: Asked[Any]) -> Outcome:
        try:
            return Outcome(self._peers.node, await call.handler(asked))
        except Refusal as refusal:
            return Outcome(self._peers.node, refusal)

    async def _at(self, node: str, call: Call, asked: Asked[Any]) -> object:
        if not self._peers.known(node):
            there = ", ".join(beat.node for beat in self._peers.nodes)
            raise Refusal(ErrorCode.NOT_FOUND, f"there is no node {node[:200]!r} in the cluster; there are {there}")
        outcomes = await self._ask(call, asked, to=node)
        if not outcomes.each:
            raise Refusal(ErrorCode.BUSY, f"node {node} does not answer; ask again in a while")
        return known(outcomes)

    async def _elsewhere(self, call: Call, asked: Asked[Any], holder: Holder | None = None) -> Outcomes:
        return await self._ask(call, asked, holder=holder)

    async def _one_by_one(self, call: Call, asked: Asked[Any]) -> Outcomes:
        """Ask one after the other, until one has it: all may, and one is wanted."""
        each: list[Outcome] = []
        unanswered: tuple[str, ...] = ()
        for beat in self._peers.nodes[1:]:
            outcomes = await self._ask(call, asked, to=beat.node)
            each += outcomes.each
            unanswered += outcomes.unanswered
            if any(not isinstance(outcome.answer, Refusal) for outcome in outcomes.each):
                break
        return Outcomes(each, unanswered)

    async def _ask(
        self, call: Call, asked: Asked[Any], *, to: str | None = None, holder: Holder | None = None
    ) -> Outcomes:
        query = msgspec.Raw(msgspec.json.encode(asked.query))
        handed = _Handed(call.method, call.path, dict(asked.parts), query, asked.caller)
        answers = await self._peers.ask(
            _CALL,
            msgspec.json.encode(handed),
            to=to,
            wait_s=holder.wait_s if holder is not None else EVERYWHERE_S,
            enough=_is_answer if holder is not None else None,
        )
        return _read(call, answers.by_node, answers.unanswered)

    async def _handed(self, body: msgspec.Raw) -> bytes:
        """Carry out a call that another router hands on."""
        handed = msgspec.json.decode(body, type=_Handed)
        call = self._calls.get((handed.method, handed.path))
        if call is None:
            raise NotAnswered(f"there is no {handed.method} {handed.path} here")
        query = msgspec.json.decode(handed.query, type=call.query) if call.query is not None else None
        try:
            answer = await call.handler(Asked(handed.parts, handed.caller, query))
        except Refusal as refusal:
            return msgspec.json.encode(_Said(refused=_Refused(refusal.code, refusal.message, refusal.retry_after_ms)))
        return msgspec.json.encode(_Said(msgspec.Raw(msgspec.json.encode(answer))))


def _read(call: Call, by_node: Mapping[str, msgspec.Raw], unanswered: tuple[str, ...]) -> Outcomes:
    """Decode what came back. What is of a version that says it otherwise counts as no answer."""
    each: list[Outcome] = []
    for node, body in sorted(by_node.items()):
        try:
            said = msgspec.json.decode(body, type=_Said)
            if said.refused is None:
                each.append(Outcome(node, msgspec.json.decode(said.answer, type=call.answer)))
            else:
                refused = said.refused
                refusal = Refusal(refused.code, refused.message, retry_after_ms=refused.retry_after_ms)
                each.append(Outcome(node, refusal))
        except msgspec.MsgspecError:
            unanswered += (node,)
    return Outcomes(each, unanswered)


def _is_answer(body: msgspec.Raw) -> bool:
    """Tell whether this router had what was asked for; those that do not find it refuse."""
    said = msgspec.json.decode(body, type=_Said)
    return said.refused is None or said.refused.code is not ErrorCode.NOT_FOUND
