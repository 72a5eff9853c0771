"""The supervisor for operators: the tree as it is now, what happened, and one actor started anew."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec

from actors.errors import ErrorCode, Refusal
from actors.mailbox import Mailbox
from actors.messages import Fail
from actors.supervisor import SupervisorStart
from actors.tree import Node, each_child, node
from server import __version__
from server.orders import Orders
from server.supervisor_record import Entries, SupervisorRecord

from .calls import Asked, Call, Limit

__all__ = ["JournalQuery", "Ordered", "SupervisorCalls", "Tree", "TreeQuery"]

_Offset = Annotated[int, msgspec.Meta(ge=0)]


class TreeQuery(msgspec.Struct, frozen=True):
    """Parameters of the tree."""

    limit: Limit = 100
    """Children of each supervisor, those that failed or have most mail first."""


class Tree(msgspec.Struct, frozen=True):
    """The tree of supervisors as it is now."""

    uptime_s: float
    version: str
    tree: Node


class JournalQuery(msgspec.Struct, frozen=True):
    """Parameters of the supervisor journal."""

    after: _Offset | None = None
    """Entries after this offset, the earliest first; without it the latest ones."""
    actor: str | None = None
    """Only what happened to this actor or supervisor."""
    limit: Limit = 100


class Ordered(msgspec.Struct, frozen=True):
    """The actor was told to fail in its turn; its supervisor starts a new one, and the journal says when."""

    actor: str
    ordered: bool = True


class SupervisorCalls:
    """Answers operators.

    Args:
        root: The root supervisor's mailbox.
        start: Its table.
        record: What happened.
        orders: Notes what is ordered.
    """

    def __init__(self, root: Mailbox, start: SupervisorStart, record: SupervisorRecord, orders: Orders) -> None:
        self._root = root
        self._start = start
        self._record = record
        self._orders = orders
        self._started = time.monotonic()

    def calls(self) -> list[Call]:
        """Return what it answers."""
        return [
            Call("GET", "/v1/supervisor", "Show the tree of supervisors.", self._tree, query=TreeQuery, answer=Tree),
            Call(
                "GET",
                "/v1/supervisor/journal",
                "Show what failed, what was restarted, and what was lost.",
                self._journal,
                query=JournalQuery,
                answer=Entries,
                refusals=(ErrorCode.BUSY, ErrorCode.JOURNAL_UNAVAILABLE),
            ),
            Call(
                "POST",
                "/v1/actors/{name}/restart",
                "Have an actor fail in its turn, and a new one go on in its place.",
                self._restart,
                answer=Ordered,
                refusals=(ErrorCode.NOT_FOUND,),
            ),
        ]

    async def _tree(self, asked: Asked[TreeQuery]) -> Tree:
        uptime_s = round(time.monotonic() - self._started, 3)
        return Tree(uptime_s, __version__, node(self._root, self._start, asked.query.limit))

    async def _journal(self, asked: Asked[JournalQuery]) -> Entries:
        query = asked.query
        return await self._record.page(after=query.after, actor=query.actor, limit=query.limit)

    async def _restart(self, asked: Asked[None]) -> Ordered:
        name = asked.part("name")
        if name == self._start.name:
            message = "the root supervisor is not restarted: nobody is above it; stop the process and start it again"
            raise Refusal(ErrorCode.FORBIDDEN, message)
        found = next((child for child in each_child(self._start) if child.spec.name == name), None)
        if found is None:
            message = f"there is no actor {name[:200]!r}; GET /v1/supervisor lists those there are"
            raise Refusal(ErrorCode.NOT_FOUND, message)
        assert asked.caller is not None
        self._orders.note("restart", name, asked.caller.user, actor=name)
        found.mailbox.tell(Fail(asked.caller.user))
        return Ordered(name)
