"""What outlives the actors: a connection's wire, outbox and cursors, who is in which room, and how rooms stand.

A supervisor starts a new Connection or Room on these after a failure. Every field has one writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .commands import Ack, Publish
from .identity import Identity
from .mailbox import Mailbox
from .subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .codec import Codec, Wire
    from .commands import Command, Hello
    from .messages import Frame
    from .outbox import Outbox
    from .replies import CommandId

__all__ = ["ConnectionState", "Ledger", "RoomNote"]


class ConnectionState:
    """What one client's connection is, whichever actor serves it."""

    __slots__ = (
        "answered",
        "client",
        "closed",
        "draining",
        "granted",
        "hello",
        "id",
        "identity",
        "late",
        "leaving",
        "mailbox",
        "obeying",
        "offered_token",
        "only_room",
        "outbox",
        "pending",
        "protocol",
        "publishing",
        "restarts",
        "subscriptions",
        "waiting",
        "welcomed",
        "wire",
    )

    def __init__(
        self,
        *,
        id: str,
        mailbox: Mailbox,
        wire: Wire,
        outbox: Outbox,
        offered_token: str | None,
        protocol: str = "",
        only_room: str | None = None,
    ) -> None:
        self.id = id
        self.protocol = protocol
        """By which door the client came; for operators."""
        self.mailbox = mailbox
        self.wire = wire
        self.outbox = outbox
        self.offered_token = offered_token
        """From the `Authorization` header; used where `hello` brings none."""
        self.only_room = only_room
        """The room for which the client is here, and for no other: it ends with it. None: it may be in any."""
        self.identity: Identity | None = None
        """None until `hello` was accepted."""
        self.hello: Hello | None = None
        """The hello that is being answered; None before and after."""
        self.obeying: tuple[Frame, Sequence[Command]] | None = None
        """The last frame of this turn, and what of it has not been dealt with or passed on."""
        self.answered: CommandId = None
        """The command that was answered last, while the last frame is the one that it came in."""
        self.waiting: list[Command] = []
        """Commands that came after the hello and before its answer."""
        self.welcomed = False
        self.draining = False
        """Whether it is closed as soon as the outbox is empty."""
        self.client = ""
        self.subscriptions: dict[str, Subscription] = {}
        self.closed = False
        """Whether the router closes the socket: what still comes in is not obeyed."""
        self.publishing: dict[int, Publish | Ack] = {}
        """Publishes and acknowledgements that are under way, by identity: data cannot be hashed."""
        self.pending: dict[str, tuple[Mailbox, object]] = {}
        """Rooms that were asked to let the connection in and have not answered yet."""
        self.late: dict[str, int] = {}
        """Those of the pending rooms that have answered with more old events than there was room for, and with how many
        bytes: they are asked once more."""
        self.granted: tuple[str, ...] = ()
        """Rooms that an operator lets the client read; `identity` has them, behind those of the token."""
        self.leaving: set[str] = set()
        """Those of the pending rooms that an operator has it leave meanwhile."""
        self.restarts = 0
        """How often an actor has followed one that failed."""

    def speak(self, codec: Codec) -> None:
        """Have everything that is said from now on encoded by another codec; nothing may wait in the outbox."""
        self.wire.codec = self.outbox.codec = codec

    def asked(self, room: str, tag: object) -> bool:
        """Tell whether a room was asked with this tag, and its answer counts."""
        asked = self.pending.get(room)
        return asked is not None and asked[1] is tag

    def room_answered(self, room: str, tag: object) -> None:
        """Count a room as one that has answered, if it was asked with this tag: another one may be under way by now."""
        if self.asked(room, tag):
            del self.pending[room]
            self.late.pop(room, None)

    def unsettled(self, command: Command) -> bool:
        """Tell whether a command has not been answered: a failure may make the answer to an event come twice."""
        return not isinstance(command, Publish | Ack) or id(command) in self.publishing

    def settle(self, command: Command) -> None:
        """Count an event that was under way as dealt with; once, whatever a failure makes come twice."""
        if self.publishing.pop(id(command), None) is not None:
            self.wire.done()


class RoomNote:
    """How an open room stood at the end of its last turn: for who lists rooms, and asks none of them."""

    __slots__ = ("alerts", "epoch", "last_event_ms", "owner", "status", "top")

    def __init__(self) -> None:
        self.epoch = ""
        """Empty: the room is being opened."""
        self.top = 0
        self.status: str | None = None
        self.owner: str | None = None
        self.alerts = 0
        """How many alerts nobody has acknowledged."""
        self.last_event_ms: int | None = None


_NO_PAGE: Mapping[str, Subscription] = {}


class Ledger:
    """Who is in which room. The Room writes its own page and note; whoever follows it after a failure finds them."""

    def __init__(self) -> None:
        self._pages: dict[str, dict[str, Subscription]] = {}
        self._notes: dict[str, RoomNote] = {}

    def page(self, room: str) -> dict[str, Subscription]:
        """Return the subscriptions of `room` by connection id: the page itself, for the room to write."""
        return self._pages.setdefault(room, {})

    def note(self, room: str) -> RoomNote:
        """Return how `room` stands: the note itself, for the room to write."""
        note = self._notes.get(room)
        if note is None:
            note = self._notes[room] = RoomNote()
        return note

    def top(self, room: str) -> int:
        """Return the offset of the last event that an open room has handed out; 0: none."""
        note = self._notes.get(room)
        return 0 if note is None else note.top

    def lag(self, state: ConnectionState) -> int:
        """Return how many events a connection is behind in the room where that is most.

        Behind is what was neither written to it nor filtered out. Where events wait as they are, so that they can give
        way to newer ones, the client knows of none of them.
        """
        held = state.outbox.held
        lags = (self.top(each.room) - (each.told if held else each.cursor) for each in state.subscriptions.values())
        return max(0, max(lags, default=0))

    def forget(self, room: str) -> None:
        """Drop the note of a room that is not open any more, and its page, unless somebody is in it."""
        self._notes.pop(room, None)
        if not self._pages.get(room):
            self._pages.pop(room, None)

    def notes(self) -> Mapping[str, RoomNote]:
        """Return how each open room stands, by name: the notes themselves, for reading."""
        return self._notes

    def present(self, room: str) -> Iterable[Subscription]:
        """Return who is in a room, open or not."""
        return self._pages.get(room, _NO_PAGE).values()

    def subscribers(self, room: str) -> int:
        """Return how many connections are in a room, open or not."""
        return len(self._pages.get(room, ()))

    def __len__(self) -> int:
        return sum(map(len, self._pages.values()))
