"""Rooms for operators and services: which there are, how they stand, what happened in them; and one removed.

What concerns all rooms comes from the ledger and the log; what concerns one, from the room itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Collection
from typing import Annotated, Any

import msgspec

from actors import commands, replies
from actors.directory import RoomDirectory
from actors.errors import ErrorCode, Refusal
from actors.future import LoopFuture
from actors.identity import ANONYMOUS, SUPERVISOR_ROOM
from actors.ledger import Ledger
from actors.mailbox import Mailbox
from actors.messages import Forget, Forgotten, Refused
from actors.state import StateView
from actors.times import time_text
from server.asking import answered, ask_room
from server.orders import Orders
from server.protocols.envelope import Envelope, envelope

from .calls import Asked, Call, Limit
from .spread import Everywhere, Outcomes

__all__ = [
    "HistoryQuery",
    "Member",
    "RoomForgotten",
    "RoomHistory",
    "RoomLine",
    "RoomList",
    "RoomPresence",
    "RoomState",
    "Rooms",
    "RoomsQuery",
]

_CATALOGUE = "NATS"
_READERS = ("service", "admin")
_Offset = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class RoomsQuery(msgspec.Struct, frozen=True):
    """Parameters of the list of rooms."""

    prefix: str = ""
    """Only rooms whose names begin like this."""
    limit: Limit = 100
    after: str = ""
    """Only rooms whose names come after this one: `next` of the page before."""


class RoomLine(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a room stands. Of one that is not open only the name is known at once."""

    room: str
    open: bool
    subscribers: int
    alerts: int
    """How many alerts nobody has acknowledged."""
    epoch: str | None = None
    offset: int | None = None
    status: str | None = None
    owner: str | None = None
    last_event_at: str | None = None


class RoomList(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page of the list, by name."""

    rooms: list[RoomLine]
    next: str | None
    """For `after`; null: there are no more."""
    unanswered: list[str] = []
    """Nodes of the cluster that did not answer in time: rooms and subscribers that only they have are not counted.
    `NATS` among them: it did not say which rooms there are that nobody has open."""


class RoomState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A room's position, and its state at exactly that position."""

    room: str
    epoch: str
    offset: int
    subscribers: int
    state: StateView
    unanswered: list[str] = []
    """Nodes of the cluster that did not answer in time: their subscribers are not counted."""


class HistoryQuery(msgspec.Struct, frozen=True):
    """Parameters of the history: after an offset, or before one, or neither for the last events."""

    after: _Offset | None = None
    before: _Offset | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=commands.MOST_HISTORY)] = 100

    def __post_init__(self) -> None:
        if self.after is not None and self.before is not None:
            raise ValueError("after and before exclude each other: use one of them")


class RoomHistory(msgspec.Struct, frozen=True):
    """Events, the earliest first."""

    room: str
    epoch: str
    offset: int
    """The room's last one."""
    events: list[Envelope]
    more: bool
    """Whether there are others on the side to which one pages: later ones with `after`, else earlier ones."""


class Member(msgspec.Struct, frozen=True):
    """A user who is in a room."""

    user: str
    connections: int


class RoomPresence(msgspec.Struct, frozen=True):
    """Who is in a room."""

    room: str
    members: list[Member]
    count: int


class RoomForgotten(msgspec.Struct, frozen=True):
    """The room is removed."""

    room: str
    revoked: int
    """How many connections were sent away."""
    unanswered: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Nodes of the cluster that did not answer in time: those that they send away are not counted."""
    forgotten: bool = True


class Rooms:
    """Answers questions about rooms.

    Args:
        directory: Finds rooms.
        ledger: How open rooms stand.
        catalogue: Returns the names of all rooms that the log has a record of; None where it cannot now.
        orders: Notes what is ordered.
        elsewhere: Returns how many connections are in a room on other routers, and which of these do not say.
    """

    def __init__(
        self,
        directory: RoomDirectory,
        ledger: Ledger,
        catalogue: Callable[[], Awaitable[Collection[str] | None]],
        orders: Orders,
        elsewhere: Callable[[str], Awaitable[tuple[int, list[str]]]],
    ) -> None:
        self._directory = directory
        self._ledger = ledger
        self._catalogue = catalogue
        self._orders = orders
        self._elsewhere = elsewhere

    def calls(self) -> list[Call]:
        """Return what it answers."""
        refusals = (ErrorCode.NOT_FOUND, ErrorCode.BUSY, ErrorCode.JOURNAL_UNAVAILABLE)
        return [
            Call(
                "GET",
                "/v1/rooms",
                "List rooms by name.",
                self._list,
                roles=_READERS,
                query=RoomsQuery,
                answer=RoomList,
                spread=Everywhere(_merged),
            ),
            Call(
                "GET",
                "/v1/rooms/{room}",
                "Show a room's position and state.",
                self._state,
                roles=_READERS,
                answer=RoomState,
                refusals=refusals,
            ),
            Call(
                "GET",
                "/v1/rooms/{room}/history",
                "Show past events of a room.",
                self._history,
                roles=_READERS,
                query=HistoryQuery,
                answer=RoomHistory,
                refusals=refusals,
            ),
            Call(
                "GET",
                "/v1/rooms/{room}/presence",
                "Show who is in a room.",
                self._presence,
                roles=_READERS,
                answer=RoomPresence,
                refusals=refusals,
            ),
            Call(
                "DELETE",
                "/v1/rooms/{room}",
                "Send everybody away from a room, and forget all that happened in it.",
                self._forget,
                answer=RoomForgotten,
                refusals=refusals,
            ),
        ]

    async def _list(self, asked: Asked[RoomsQuery]) -> RoomList:
        prefix, limit, after = asked.query.prefix, asked.query.limit, asked.query.after
        catalogue = () if asked.handed_on else await self._catalogue()  # it is the same for all
        known = {*self._ledger.notes(), *(catalogue or ())}
        names = heapq.nsmallest(limit + 1, (name for name in known if name > after and name.startswith(prefix)))
        lines = [self._line(name) for name in names[:limit]]
        more = names[limit - 1] if len(names) > limit else None
        return RoomList(lines, more, [_CATALOGUE] if catalogue is None else [])

    def _line(self, room: str) -> RoomLine:
        note = self._ledger.notes().get(room)
        subscribers = self._ledger.subscribers(room)
        if note is None or not note.epoch:
            return RoomLine(room=room, open=note is not None, subscribers=subscribers, alerts=0)
        return RoomLine(
            room=room,
            open=True,
            subscribers=subscribers,
            alerts=note.alerts,
            epoch=note.epoch,
            offset=note.top,
            status=note.status,
            owner=note.owner,
            last_event_at=None if note.last_event_ms is None else time_text(note.last_event_ms),
        )

    async def _state(self, asked: Asked[None]) -> RoomState:
        room, mailbox = self._known(asked)
        reply = await ask_room(mailbox, commands.State(room=room), ANONYMOUS)
        assert isinstance(reply, replies.State)
        elsewhere, unanswered = await self._elsewhere(room)
        subscribers = self._ledger.subscribers(room) + elsewhere
        return RoomState(room, reply.epoch, reply.offset, subscribers, reply.state, unanswered)

    async def _history(self, asked: Asked[HistoryQuery]) -> RoomHistory:
        room, mailbox = self._known(asked)
        query = asked.query
        command = commands.History(room=room, after=query.after, before=query.before, limit=query.limit)
        reply = await ask_room(mailbox, command, ANONYMOUS)
        assert isinstance(reply, replies.History)
        events = [envelope(room, event, Envelope) for event in reply.events]
        return RoomHistory(room, reply.epoch, reply.offset, events, reply.more)

    async def _presence(self, asked: Asked[None]) -> RoomPresence:
        room, mailbox = self._known(asked)
        reply = await ask_room(mailbox, commands.Presence(room=room), ANONYMOUS)
        assert isinstance(reply, replies.Presence)
        users = reply.roll.users
        return RoomPresence(room, [Member(user, count) for user, count in users.items()], len(users))

    async def _forget(self, asked: Asked[None]) -> RoomForgotten:
        room = asked.part("room")
        if room == SUPERVISOR_ROOM:
            raise Refusal(ErrorCode.FORBIDDEN, f"{room} may not be removed: it is the record of what operators did")
        room, mailbox = self._known(asked)
        assert asked.caller is not None
        self._orders.note("forget_room", room, asked.caller.user)
        elsewhere, unanswered = await self._elsewhere(room)  # these are sent away by their own routers
        answer: LoopFuture[Forgotten | Refused] = LoopFuture()
        mailbox.tell(Forget(answer))
        return RoomForgotten(room, (await answered(answer, room)).revoked + elsewhere, unanswered or msgspec.UNSET)

    def _known(self, asked: Asked[Any]) -> tuple[str, Mailbox]:
        """Return the name and the mailbox of the room that is asked for: reading makes none."""
        room = asked.part("room")
        assert asked.caller is not None
        if room == SUPERVISOR_ROOM and asked.caller.role != "admin":
            raise Refusal(ErrorCode.FORBIDDEN, f"role {asked.caller.role} may not read {room}; it takes admin")
        if not self._directory.known(room):
            raise Refusal(
                ErrorCode.NOT_FOUND, f"{room[:200]!r} has never been used; GET /v1/rooms lists those that were"
            )
        return room, self._directory.room(room)


def _merged(query: RoomsQuery, outcomes: Outcomes) -> RoomList:
    """Have each room once, as the router has it that is furthest, with the subscribers of all."""
    lists: list[RoomList] = outcomes.answers()
    rooms: dict[str, RoomLine] = {}
    for line in (line for each in lists for line in each.rooms):
        former = rooms.get(line.room)
        rooms[line.room] = line if former is None else _one_line(former, line)
    names = heapq.nsmallest(query.limit + 1, rooms)
    page = names[: query.limit]
    more = len(names) > len(page) or any(each.next is not None for each in lists)
    silent = sorted({*outcomes.missing, *(name for each in lists for name in each.unanswered)})
    return RoomList([rooms[name] for name in page], page[-1] if more else None, silent)


def _one_line(one: RoomLine, other: RoomLine) -> RoomLine:
    furthest = max(one, other, key=lambda line: (line.epoch is not None, line.open, line.offset or 0))
    return msgspec.structs.replace(furthest, subscribers=one.subscribers + other.subscribers)
