"""Every message that actors exchange: commands in the imperative, facts in the past tense. All are immutable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .errors import LogUnavailable, Refusal
from .events import Draft, Event
from .identity import Identity
from .mailbox import Exit, Mailbox, Target

if TYPE_CHECKING:
    from .batch import Batch
    from .child import ChildSpec
    from .commands import Command, Position
    from .record import RoomRecord
    from .replies import MemberJoined, MemberLeft, RoomJoined
    from .subscription import Subscription

__all__ = [
    "Acknowledge",
    "AlertDue",
    "Append",
    "AppendFailed",
    "Arrived",
    "Attach",
    "Attached",
    "Authenticated",
    "CaughtUp",
    "ChildExited",
    "Close",
    "Committed",
    "Detach",
    "Drain",
    "Duplicated",
    "Emptied",
    "Exclude",
    "Fail",
    "Forget",
    "Forgotten",
    "Frame",
    "Heard",
    "Include",
    "Included",
    "Joined",
    "LineFailed",
    "Overdue",
    "Publish",
    "Published",
    "Query",
    "Receipt",
    "Recheck",
    "Refused",
    "Renewed",
    "Request",
    "Restart",
    "Revoke",
    "Shutdown",
    "StartChild",
    "Subscribe",
    "Sweep",
    "WireClosed",
    "Writable",
]


# --- services -> source -> room -> whoever published


class Receipt(NamedTuple):
    """What a publisher gets after the commit."""

    room: str
    epoch: str
    offset: int
    event_id: str
    duplicate: bool


class Publish(msgspec.Struct, frozen=True, kw_only=True):
    """Hand an event to the source. Asked, it answers with a tuple of receipts, one a room, or raises `Refusal`."""

    rooms: tuple[str, ...]
    kind: str
    data: Mapping[str, Any]
    event_id: str | None = None
    """Names the event for retries: the same id in the same room is taken once. None: the source makes one."""
    key: str | None = None
    delivery: str | None = None
    ack: str | None = None
    traceparent: str | None = None
    """Which trace it belongs to (W3C Trace Context); what is malformed is ignored. None: to none."""
    reply_to: Target | None = None
    """Who is told `Published` or `Refused`, once for each room."""
    tag: Any = None
    """Comes back with each answer."""
    at: float = 0.0
    """When it came in, as the clock's `monotonic` tells it; 0: its publisher cannot be slowed down."""


class Append(NamedTuple):
    """Source to room: give this event the next place."""

    draft: Draft
    named: bool
    """Whether the publisher gave the id, so that the same id again is a retry."""
    reply_to: Target
    tag: Any
    at: float = 0.0
    """When its publisher handed it in; 0: nobody needs to know."""


class Committed(NamedTuple):
    """Log to room: the event is safe, at this place."""

    event: Event
    append: Append


class Arrived(NamedTuple):
    """Log to room: an event is safe that another router on the same log was given."""

    event: Event
    named: bool
    """Whether its publisher gave it its id."""


class Duplicated(NamedTuple):
    """Log to room: the event was safe before, at this place, as another router was given it first."""

    offset: int
    append: Append


class CaughtUp(NamedTuple):
    """Log to room: you were told what others have appended; or why you cannot be."""

    trouble: LogUnavailable | None


class AppendFailed(NamedTuple):
    """Log to room: the event is not safe."""

    append: Append
    refusal: Refusal


class Published(NamedTuple):
    """Room to publisher: the event is safe."""

    tag: Any
    receipt: Receipt


class Refused(NamedTuple):
    """To whoever asked: no, and nothing was changed."""

    tag: Any
    refusal: Refusal


# --- connection <-> room


class Subscribe(NamedTuple):
    """Let a connection in, at a position."""

    connection: str
    mailbox: Mailbox
    identity: Identity
    after: Position | None
    history: int | None
    kinds: frozenset[str] | None
    state: bool
    tag: Any
    presence: bool = False
    """Whether it is to be told who comes and goes (`attendance.Comings`)."""


class Joined(NamedTuple):
    """Room to connection: attached, from one turn with the state and position in it."""

    tag: Any
    subscription: Subscription
    where: RoomJoined
    page: Batch | None
    """The first old events."""
    more: bool
    """Whether old events are left: the connection sends `Attach` when it has room for them."""


class LineFailed(NamedTuple):
    """Room to connection: your line has failed on an event. It is to fail in its turn, and go on from its cursor."""

    error: BaseException


class Attach(NamedTuple):
    """Connection to room: go on after this offset (the next page, or after a repair)."""

    connection: str
    after: int


class Attached(NamedTuple):
    """Room to connection: what comes after the offset; from there on live, unless there is more."""

    room: str
    page: Batch | None
    more: bool
    top: int
    """The room's last offset; where there is no page, everything up to it has left the history."""


class Detach(NamedTuple):
    """Connection to room: let me go."""

    connection: str


class Recheck(NamedTuple):
    """Connection to room: these are my rights now; `Revoke` me if they do not do."""

    connection: str
    identity: Identity


class Revoke(NamedTuple):
    """Room to connection: you may not read this room any more, and are out of it."""

    room: str
    reason: str


class Query(NamedTuple):
    """Connection to room: answer `command` (`state`, `history` or `presence`) with a reply."""

    command: Command
    identity: Identity
    reply_to: Target


class Acknowledge(NamedTuple):
    """Connection to room: this alert is seen to."""

    event_id: str
    identity: Identity
    reply_to: Target
    tag: Any


class AlertDue(NamedTuple):
    """A timer of the room: an alert may be due for the admins."""


class Forget(NamedTuple):
    """Operator to room: send everybody away, forget all that happened, and begin anew under another epoch.

    The answer is `Forgotten`, or `Refused` and nothing was changed.
    """

    reply_to: Target


class Emptied(NamedTuple):
    """Log to room: it has forgotten you, go on from here; or why it could not."""

    clearing: object
    """Which time, as the room knows it."""
    outcome: RoomRecord | LogUnavailable


class Renewed(NamedTuple):
    """Log to room: it has forgotten you, as another router ordered; go on from here."""

    record: RoomRecord


class Heard(NamedTuple):
    """Other routers to room: these have come into the room of this name there, or left it."""

    news: Sequence[MemberJoined | MemberLeft]


class Forgotten(NamedTuple):
    """Room to operator: it is done, and this many were sent away."""

    revoked: int


class Sweep(NamedTuple):
    """Directory to room: drop what is too old, and retire when idle."""


# --- listener -> connection


class Frame(NamedTuple):
    """A text frame came in."""

    text: str


class Request(NamedTuple):
    """A command of a client whose protocol has no frame for it."""

    command: Command


class Writable(NamedTuple):
    """The wire takes bytes again."""


class WireClosed(NamedTuple):
    """The socket is gone."""


class Close(NamedTuple):
    """Close the socket."""

    code: int
    reason: str


class Include(NamedTuple):
    """Operator to connection: your client may read this room from now on, and is in it.

    The answer is `Included` or `Refused`, before the room has let it in.
    """

    room: str
    reply_to: Target


class Included(NamedTuple):
    """Connection to operator: it is in the room, or about to be; or it is not any more."""


class Exclude(NamedTuple):
    """Operator to connection: leave this room, and forget that an operator let you in. Answered with `Included`."""

    room: str
    reply_to: Target


class Drain(NamedTuple):
    """Tell the client to go elsewhere and come back in its slot, then close."""

    reconnect_in_ms: int


class Overdue(NamedTuple):
    """A timer of this connection: `hello`, `token_expiring` or `token_expired`."""

    what: str
    about: float
    """The expiry that the timer was set for; another one by now makes the timer void."""


class Authenticated(NamedTuple):
    """Authenticator to connection: who the token of this command belongs to."""

    command: Command
    outcome: Identity | Refusal


# --- supervision


class StartChild(NamedTuple):
    """Bring a child to life in this mailbox and watch it."""

    spec: ChildSpec
    mailbox: Mailbox


class ChildExited(NamedTuple):
    """The life in this mailbox has ended."""

    mailbox: Mailbox
    exit: Exit


class Restart(NamedTuple):
    """The back-off of the child in this mailbox is over."""

    mailbox: Mailbox


class Fail(NamedTuple):
    """Operator to any actor: fail in your turn, and let your successor go on."""

    by: str


class Shutdown(NamedTuple):
    """Stop every child, then yourself."""
