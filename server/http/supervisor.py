"""The supervisor for operators: the tree as it is now, what happened, and one actor started anew."""

from __future__ import annotations

import time
from collections.abc import Callable
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
from .spread import AnyNode

__all__ = ["ClusterNode", "JournalQuery", "Ordered", "RestartQuery", "SupervisorCalls", "Tree", "TreeQuery"]

_Offset = Annotated[int, msgspec.Meta(ge=0)]


class TreeQuery(msgspec.Struct, frozen=True):
    """Parameters of the tree."""

    limit: Limit = 100
    """Children of each supervisor, those that failed or have most mail first."""
    node: str | None = None
    """Of which router of the cluster; without it, of the one that is asked."""


class ClusterNode(msgspec.Struct, frozen=True):
    """A router of the cluster, as it said of itself within the last seconds."""

    node: str
    version: str
    started_at: str
    ready: bool
    reason: str | None
    """Why it is not ready."""
    connections: int
    rooms: int
    ws: str
    api: str


class Tree(msgspec.Struct, frozen=True, omit_defaults=True):
    """The tree of supervisors as it is now."""

    uptime_s: float
    version: str
    tree: Node
    node: str | None = None
    """Whose it is; left out where there is no cluster."""
    nodes: list[ClusterNode] | None = None
    """The routers of the cluster, the one that answers first; left out where there is none."""


class RestartQuery(msgspec.Struct, frozen=True):
    """Parameters of a restart."""

    node: str | None = None
    """On which router of the cluster; without it, on the one that is asked, or else one that has such an actor."""


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
    node: str | msgspec.UnsetType = msgspec.UNSET
    """The router that has it; left out where there is no cluster."""


class SupervisorCalls:
    """Answers operators.

    Args:
        root: The root supervisor's mailbox.
        start: Its table.
        record: What happened.
        orders: Notes what is ordered.
        nodes: Returns the routers of the cluster, this one first; None: there is no cluster.
    """

    def __init__(
        self,
        root: Mailbox,
        start: SupervisorStart,
        record: SupervisorRecord,
        orders: Orders,
        nodes: Callable[[], list[ClusterNode]] | None = None,
    ) -> None:
        self._root = root
        self._start = start
        self._record = record
        self._orders = orders
        self._nodes = nodes
        self._started = time.monotonic()

    def calls(self) -> list[Call]:
        """Return what it answers."""
        return [
            Call(
                "GET",
                "/v1/supervisor",
                "Show the tree of supervisors.",
                self._tree,
                query=TreeQuery,
                answer=Tree,
                refusals=(ErrorCode.NOT_FOUND, ErrorCode.BUSY),
                spread=AnyNode(),
            ),
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
                query=RestartQuery,
                answer=Ordered,
                refusals=(ErrorCode.NOT_FOUND, ErrorCode.BUSY),
                spread=AnyNode(),
            ),
        ]

    async def _tree(self, asked: Asked[TreeQuery]) -> Tree:
        uptime_s = round(time.monotonic() - self._started, 3)
        nodes = self._nodes() if self._nodes is not None else None
        tree = node(self._root, self._start, asked.query.limit)
        return Tree(uptime_s, __version__, tree, nodes[0].node if nodes else None, nodes)

    async def _journal(self, asked: Asked[JournalQuery]) -> Entries:
        query = asked.query
        return await self._record.page(after=query.after, actor=query.actor, limit=query.limit)

    async def _restart(self, asked: Asked[RestartQuery]) -> Ordered:
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
        return Ordered(name, node=self._nodes()[0].node if self._nodes is not None else msgspec.UNSET)
