"""ClusterElsewhere: the same rooms on other routers. A roll call out, who is there back; comings and goings both ways.

Comings and goings are told over NATS without a word of who listens, and heard only while somebody here has asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog
from nats.aio.msg import Msg

from actors.elsewhere import Hearing, News
from actors.ledger import Ledger
from actors.mailbox import Target
from actors.messages import Heard
from actors.replies import MemberJoined, MemberLeft
from actors.roll import Roll

from . import subjects
from .link import Link
from .peers import Peers

__all__ = ["ClusterElsewhere"]

log = structlog.get_logger("postroom.cluster")

_ROLL = "roll"


class _Present(msgspec.Struct, frozen=True, array_like=True):
    """A connection in a room, on the wire."""

    connection: str
    user: str


class _News(msgspec.Struct, frozen=True):
    """On the wire."""

    node: str
    joined: list[_Present]
    left: list[_Present]


class ClusterElsewhere:
    """The rooms of the other routers: what every room's `elsewhere` is in a cluster.

    Args:
        peers: The other routers.
        link: The connection to NATS.
        cluster: The cluster's name.
        ledger: Who is in the rooms here, for those who ask.
    """

    def __init__(self, peers: Peers, link: Link, cluster: str, ledger: Ledger) -> None:
        self._peers = peers
        self._link = link
        self._cluster = cluster
        self._ledger = ledger
        self._asking: dict[str, list[Callable[[Roll], None]]] = {}
        """Who asks for a roll in this turn of the loop, by room."""
        self._tasks: set[asyncio.Task[None]] = set()
        peers.answer(_ROLL, self._own_roll)

    def call_roll(self, room: str, then: Callable[[Roll], None]) -> None:
        """Ask the other routers who is in a room; see `Elsewhere`."""
        asking = self._asking.get(room)
        if asking is not None:
            asking.append(then)
            return
        self._asking[room] = [then]
        task = asyncio.create_task(self._call_roll(room))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def tell(self, room: str, news: Sequence[News]) -> None:
        """Tell the other routers who came and went; see `Elsewhere`."""
        joined = [_Present(each.connection, each.user) for each in news if isinstance(each, MemberJoined)]
        left = [_Present(each.connection, each.user) for each in news if isinstance(each, MemberLeft)]
        told = msgspec.json.encode(_News(self._peers.node, joined, left))
        self._link.send(subjects.came(self._cluster, room), told)

    def hear(self, room: str, to: Target) -> Hearing:
        """Have `to` told what the others tell; see `Elsewhere`."""

        def take(message: Msg) -> None:
            try:
                news = msgspec.json.decode(message.data, type=_News)
            except msgspec.MsgspecError as error:
                log.debug("news_unreadable", room=room, reason=str(error))
                return
            if news.node != self._peers.node:
                to.tell(Heard(_heard(room, news)))

        return self._link.listen(subjects.came(self._cluster, room), take)

    def stop(self) -> None:
        """Wait for no answers any more."""
        for task in self._tasks:
            task.cancel()

    async def _call_roll(self, room: str) -> None:
        asking = self._asking.pop(room)
        answers = await self._peers.ask(_ROLL, msgspec.json.encode(room))
        present: list[_Present] = []
        for node, body in answers.by_node.items():
            try:
                present += msgspec.json.decode(body, type=list[_Present])
            except msgspec.MsgspecError as error:
                log.warning("roll_unreadable", room=room, peer=node, reason=str(error))
        roll = Roll(present)
        for then in asking:
            then(roll)

    async def _own_roll(self, body: msgspec.Raw) -> bytes:
        room = msgspec.json.decode(body, type=str)
        return msgspec.json.encode([_Present(each.connection, each.user) for each in self._ledger.present(room)])


def _heard(room: str, news: _News) -> list[News]:
    joined = [MemberJoined(room=room, user=each.user, connection=each.connection) for each in news.joined]
    left = [MemberLeft(room=room, user=each.user, connection=each.connection) for each in news.left]
    return [*joined, *left]
