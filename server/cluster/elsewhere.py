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
_COUNT = "count"
_FRESH_S = 0.1


class _Present(msgspec.Struct, frozen=True, array_like=True):
    """A connection in a room, on the wire."""

    connection: str
    user: str


class _News(msgspec.Struct, frozen=True):
    """On the wire."""

    node: str
    joined: list[_Present]
    left: list[_Present]


class _RollCall:
    """A question who is in a room, and who wants to know."""

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self._roll: Roll | None = None
        self._asking: list[Callable[[Roll], None]] = []

    def tell(self, then: Callable[[Roll], None]) -> None:
        """Call `then` with the answer, now or when it is there."""
        if self._roll is not None:
            then(self._roll)
        else:
            self._asking.append(then)

    def answered(self, roll: Roll) -> None:
        """Take the answer."""
        self._roll = roll
        for then in self._asking:
            then(roll)


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
        self._calls: dict[str, _RollCall] = {}
        """The last call of a moment ago, by room."""
        self._tasks: set[asyncio.Task[None]] = set()
        peers.answer(_ROLL, self._own_roll)
        peers.answer(_COUNT, self._own_count)

    def call_roll(self, room: str, then: Callable[[Roll], None]) -> None:
        """Ask the other routers who is in a room; see `Elsewhere`.

        However many ask, the others are asked ten times a second for a room: an answer may be so old.
        """
        now = asyncio.get_running_loop().time()
        call = self._calls.get(room)
        if call is None or call.began_at + _FRESH_S <= now:
            call = self._calls[room] = _RollCall(now)
            task = asyncio.create_task(self._call_roll(room, call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        call.tell(then)

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

    async def count(self, room: str) -> tuple[int, list[str]]:
        """Return how many connections are in a room on the other routers, and which of these do not say."""
        answers = await self._peers.ask(_COUNT, msgspec.json.encode(room))
        return sum(msgspec.json.decode(each, type=int) for each in answers.by_node.values()), list(answers.unanswered)

    async def _call_roll(self, room: str, call: _RollCall) -> None:
        answers = await self._peers.ask(_ROLL, msgspec.json.encode(room))
        present: list[_Present] = []
        for node, body in answers.by_node.items():
            try:
                present += msgspec.json.decode(body, type=list[_Present])
            except msgspec.MsgspecError as error:
                log.warning("roll_unreadable", room=room, peer=node, reason=str(error))
        call.answered(Roll(present))
        asyncio.get_running_loop().call_at(call.began_at + _FRESH_S, self._forget, room, call)

    def _forget(self, room: str, call: _RollCall) -> None:
        if self._calls.get(room) is call:
            del self._calls[room]

    async def _own_roll(self, body: msgspec.Raw) -> bytes:
        room = msgspec.json.decode(body, type=str)
        return msgspec.json.encode([_Present(each.connection, each.user) for each in self._ledger.present(room)])

    async def _own_count(self, body: msgspec.Raw) -> bytes:
        return msgspec.json.encode(self._ledger.subscribers(msgspec.json.decode(body, type=str)))


def _heard(room: str, news: _News) -> list[News]:
    joined = [MemberJoined(room=room, user=each.user, connection=each.connection) for each in news.joined]
    left = [MemberLeft(room=room, user=each.user, connection=each.connection) for each in news.left]
    return [*joined, *left]
