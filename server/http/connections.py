"""Connections for operators: who is here and how far behind, one shown or closed, and users' rooms."""

from __future__ import annotations

import asyncio
import heapq
from typing import Any, Literal

import msgspec

from actors.errors import CloseCode, ErrorCode, Refusal
from actors.future import LoopFuture
from actors.identity import is_room_name
from actors.ledger import ConnectionState, Ledger
from actors.messages import Close, Exclude, Include, Included, Refused
from actors.subscription import Subscription
from actors.times import seconds_text
from server.asking import answered
from server.orders import Orders
from server.registry import Arrival, Registry

from .calls import Asked, Call, Limit
from .spread import Everywhere, Holder, Outcomes

__all__ = [
    "Closed",
    "ConnectionDetail",
    "ConnectionLine",
    "ConnectionList",
    "ConnectionRoom",
    "Connections",
    "ConnectionsQuery",
    "UserRoom",
]

_CLOSED = "closed by an operator"
_SERVICES = ("service", "admin")


class ConnectionsQuery(msgspec.Struct, frozen=True):
    """Parameters of the list of connections."""

    user: str | None = None
    """Only this user's."""
    sort: Literal["id", "lag", "outbox"] = "id"
    """By id, the earliest first; or those first that lag, or hold, most."""
    limit: Limit = 100
    after: str | None = None
    """Only connections after this one: `next` of the page before. With `sort=id` only."""

    def __post_init__(self) -> None:
        if self.after is not None and self.sort != "id":
            raise ValueError("after goes with sort=id only")


class ConnectionLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a connection stands."""

    id: str
    user: str | None
    """Null: it has not said who it is."""
    role: str | None
    protocol: str
    """By which it is connected: `postroom.v1`, ..."""
    client: str
    """What its program calls itself."""
    address: str
    connected_at: str
    state: Literal["hello", "open", "repairing", "closing"]
    rooms: int
    lag: int
    """The most events that any of its rooms is ahead of what was written to it."""
    outbox_bytes: int
    """What waits for it in the router."""
    restarts: int
    """How often it was repaired."""
    node: str | None = None
    """The router that it is connected to; left out where there is no cluster."""


class ConnectionList(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page of the list."""

    connections: list[ConnectionLine]
    total: int
    """How many there are in all, or of the user."""
    next: str | None
    """For `after`; null: there are no more, or the list is not by id."""
    unanswered: list[str] = []
    """Nodes of the cluster whose connections are not counted, as they did not answer in time."""


class ConnectionRoom(msgspec.Struct, frozen=True):
    """A room that a connection is in."""

    room: str
    epoch: str
    offset: int
    """The last event that was written to it or filtered out for it."""
    top: int
    """The room's last event."""
    lag: int
    own: bool
    """Whether it was joined by itself."""


class ConnectionDetail(ConnectionLine, frozen=True, kw_only=True):
    """A connection and its rooms."""

    room_list: list[ConnectionRoom]


class Closed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Connections are being closed: they are gone within a second."""

    closed: int
    unanswered: list[str] = []
    """Nodes of the cluster that did not answer in time, and may have closed nothing."""


class UserRoom(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user's connections and a room."""

    user: str
    room: str
    connections: int
    """How many connections of the user were told."""
    unanswered: list[str] = []
    """Nodes of the cluster that did not answer in time or refused, and may have told none."""


class Connections:
    """Shows and closes connections, and has them join and leave rooms.

    Args:
        registry: Which there are.
        ledger: How far the rooms are.
        orders: Notes what is ordered.
        node: This router's name in its cluster; None: it is alone.
    """

    def __init__(self, registry: Registry, ledger: Ledger, orders: Orders, node: str | None = None) -> None:
        self._registry = registry
        self._ledger = ledger
        self._orders = orders
        self._node = node

    def calls(self) -> list[Call]:
        """Return what it answers."""
        return [
            Call(
                "GET",
                "/v1/connections",
                "List connections.",
                self._list,
                query=ConnectionsQuery,
                answer=ConnectionList,
                spread=Everywhere(_merged_lists),
            ),
            Call(
                "GET",
                "/v1/connections/{id}",
                "Show a connection and its rooms.",
                self._show,
                answer=ConnectionDetail,
                refusals=(ErrorCode.NOT_FOUND, ErrorCode.BUSY),
                spread=Holder(),
            ),
            Call(
                "DELETE",
                "/v1/connections/{id}",
                "Close a connection with 4009.",
                self._close,
                answer=Closed,
                refusals=(ErrorCode.NOT_FOUND, ErrorCode.BUSY),
                spread=Holder(),
            ),
            Call(
                "DELETE",
                "/v1/users/{user}/connections",
                "Close all connections of a user with 4009.",
                self._close_user,
                roles=_SERVICES,
                answer=Closed,
                spread=Everywhere(_all_closed),
            ),
            Call(
                "PUT",
                "/v1/users/{user}/rooms/{room}",
                "Subscribe the connections that a user has now to a room.",
                self._include,
                roles=_SERVICES,
                answer=UserRoom,
                refusals=(ErrorCode.TOO_MANY_ROOMS, ErrorCode.BUSY),
                spread=Everywhere(_all_told),
            ),
            Call(
                "DELETE",
                "/v1/users/{user}/rooms/{room}",
                "Unsubscribe the connections that a user has now from a room.",
                self._exclude,
                roles=_SERVICES,
                answer=UserRoom,
                refusals=(ErrorCode.BUSY,),
                spread=Everywhere(_all_told),
            ),
        ]

    async def _list(self, asked: Asked[ConnectionsQuery]) -> ConnectionList:
        query = asked.query
        arrivals = [each for each in self._registry.arrivals if query.user in (None, _user(each.state))]
        if query.sort == "id":
            later = (each for each in arrivals if query.after is None or _place(each.state.id) > _place(query.after))
            page = heapq.nsmallest(query.limit + 1, later, key=lambda each: _place(each.state.id))
        elif query.sort == "lag":
            page = heapq.nlargest(query.limit, arrivals, key=lambda each: self._ledger.lag(each.state))
        else:
            page = heapq.nlargest(query.limit, arrivals, key=lambda each: _waiting_bytes(each.state))
        return _page(query, [ConnectionLine(**self._line(each)) for each in page], len(arrivals), more=False)

    async def _show(self, asked: Asked[None]) -> ConnectionDetail:
        arrival = self._asked_for(asked)
        rooms = [self._room(arrival.state, each) for each in arrival.state.subscriptions.values()]
        return ConnectionDetail(**self._line(arrival), room_list=rooms)

    def _line(self, arrival: Arrival) -> dict[str, Any]:
        state = arrival.state
        return {
            "id": state.id,
            "user": _user(state),
            "role": state.identity.role if state.identity is not None else None,
            "protocol": state.protocol,
            "client": state.client,
            "address": arrival.address,
            "connected_at": seconds_text(arrival.connected_at),
            "state": _condition(state),
            "rooms": len(state.subscriptions),
            "lag": self._ledger.lag(state),
            "outbox_bytes": _waiting_bytes(state),
            "restarts": state.restarts,
            "node": self._node,
        }

    def _room(self, state: ConnectionState, subscription: Subscription) -> ConnectionRoom:
        top = self._ledger.top(subscription.room)
        written = subscription.told if state.outbox.held else subscription.cursor
        return ConnectionRoom(
            subscription.room, subscription.epoch, written, top, max(0, top - written), subscription.own
        )

    async def _close(self, asked: Asked[None]) -> Closed:
        arrival = self._asked_for(asked)
        self._ordered(asked, "close_connection", arrival.state.id)
        arrival.state.mailbox.tell(Close(CloseCode.OPERATOR, _CLOSED))
        return Closed(1)

    async def _close_user(self, asked: Asked[None]) -> Closed:
        user = asked.part("user")
        states = [state for state in self._registry.states if _user(state) == user]
        if not asked.handed_on:  # else it is noted already
            self._ordered(asked, "close_user", user)
        for state in states:
            state.mailbox.tell(Close(CloseCode.OPERATOR, _CLOSED))
        return Closed(len(states))

    async def _include(self, asked: Asked[None]) -> UserRoom:
        return await self._order_rooms(asked, "subscribe_user", Include)

    async def _exclude(self, asked: Asked[None]) -> UserRoom:
        return await self._order_rooms(asked, "unsubscribe_user", Exclude)

    async def _order_rooms(self, asked: Asked[None], order: str, message: type[Include | Exclude]) -> UserRoom:
        """Have all connections of a user join or leave a room; refuse where none of them can."""
        user, room = asked.part("user"), asked.part("room")
        if not is_room_name(room):
            raise Refusal(ErrorCode.BAD_MESSAGE, f"{room[:200]!r} is no room name, like session:42")
        states = [state for state in self._registry.states if _user(state) == user and _condition(state) != "hello"]
        if not asked.handed_on:  # else it is noted already
            self._ordered(asked, order, f"{user} {room}")
        outcomes = await asyncio.gather(*(_tell(state, message, room) for state in states), return_exceptions=True)
        refusals = [each for each in outcomes if isinstance(each, BaseException)]
        if refusals and (len(refusals) == len(outcomes) or not isinstance(refusals[0], Refusal)):
            raise refusals[0]
        return UserRoom(user, room, len(outcomes) - len(refusals))

    def _asked_for(self, asked: Asked[None]) -> Arrival:
        id = asked.part("id")
        arrival = self._registry.arrival(id)
        if arrival is None:
            message = f"there is no connection {id[:200]!r} now; GET /v1/connections lists those there are"
            raise Refusal(ErrorCode.NOT_FOUND, message)
        return arrival

    def _ordered(self, asked: Asked[None], order: str, target: str) -> None:
        assert asked.caller is not None
        self._orders.note(order, target, asked.caller.user)


def _page(query: ConnectionsQuery, lines: list[ConnectionLine], total: int, *, more: bool) -> ConnectionList:
    """Make a page of lines that are in order; `more`: there are others than these."""
    page = lines[: query.limit]
    last = page[-1].id if query.sort == "id" and page and (more or len(lines) > query.limit) else None
    return ConnectionList(page, total, last)


def _merged_lists(query: ConnectionsQuery, outcomes: Outcomes) -> ConnectionList:
    lists: list[ConnectionList] = outcomes.answers()
    lines = [line for each in lists for line in each.connections]
    if query.sort == "id":
        lines.sort(key=lambda line: _place(line.id))
    else:
        lines.sort(key=lambda line: line.lag if query.sort == "lag" else line.outbox_bytes, reverse=True)
    more = any(each.next is not None for each in lists)
    merged = _page(query, lines, sum(each.total for each in lists), more=more)
    return msgspec.structs.replace(merged, unanswered=outcomes.missing)


def _all_closed(_query: None, outcomes: Outcomes) -> Closed:
    return Closed(sum(each.closed for each in outcomes.answers()), outcomes.missing)


def _all_told(_query: None, outcomes: Outcomes) -> UserRoom:
    """Sum up; where nobody was told but somebody refused, that is the answer."""
    answers: list[UserRoom] = outcomes.answers()
    connections = sum(each.connections for each in answers)
    refusals = [each.answer for each in outcomes.each if isinstance(each.answer, Refusal)]
    if refusals and not connections:
        raise refusals[0]
    return msgspec.structs.replace(answers[0], connections=connections, unanswered=outcomes.missing)


async def _tell(state: ConnectionState, message: type[Include | Exclude], room: str) -> Included:
    answer: LoopFuture[Included | Refused] = LoopFuture()
    state.mailbox.tell(message(room, answer))
    return await answered(answer, f"connection {state.id}")


def _user(state: ConnectionState) -> str | None:
    return state.identity.user if state.identity is not None else None


def _waiting_bytes(state: ConnectionState) -> int:
    return state.outbox.size + state.wire.buffered


def _condition(state: ConnectionState) -> Literal["hello", "open", "repairing", "closing"]:
    if state.closed or state.draining:
        return "closing"
    if not state.welcomed:
        return "hello"
    return "open" if state.mailbox.occupied else "repairing"


def _place(connection: str) -> tuple[int, str]:
    """Order ids as they were given out: each ends with a number in hexadecimal that has no zeros in front."""
    return len(connection), connection
