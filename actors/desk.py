"""Desk: a welcomed client's commands in, messages to rooms and the source out, or a refusal.

What they answer comes to the connection's mailbox, tagged with the command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import commands
from .errors import ErrorCode, Refusal
from .identity import Identity
from .ledger import ConnectionState
from .messages import Acknowledge, Publish, Published, Query, Recheck, Refused, Subscribe
from .ports import ConnectionPorts
from .throttle import TokenBucket

__all__ = ["Desk"]

_AGAIN_MS = 100


class _Quiet:
    """Hears what became of events whose publisher wants no answer: only what was refused is the connection's affair.

    Args:
        state: The connection's state.
    """

    __slots__ = ("_state",)

    def __init__(self, state: ConnectionState) -> None:
        self._state = state

    def tell(self, message: Published | Refused) -> None:
        """Count an event as dealt with, or have the connection say why it was not taken."""
        if isinstance(message, Refused):
            self._state.mailbox.tell(message)
        else:
            self._state.settle(message.tag)


class Desk:
    """Takes the commands of one client that concern rooms.

    Args:
        state: The connection's state.
        ports: What every connection works with.
    """

    __slots__ = ("_bucket", "_ports", "_quiet", "_state")

    def __init__(self, state: ConnectionState, ports: ConnectionPorts) -> None:
        self._state = state
        self._quiet = _Quiet(state)
        self._ports = ports
        limits = ports.limits
        self._bucket = TokenBucket(limits.commands_per_s, limits.commands_burst, ports.clock.monotonic())

    def take(self, command: commands.Command, identity: Identity) -> None:
        """Pass the command on.

        Raises:
            Refusal: It was not passed on, and nothing was changed.
        """
        _TAKE[type(command)](self, command, identity)

    def throttle(self) -> None:
        """Count a command of a client that is held to a rate; raises `Refusal` when it is over it."""
        wait_s = self._bucket.take(self._ports.clock.monotonic())
        if wait_s:
            raise Refusal(
                ErrorCode.RATE_LIMITED,
                f"more than {self._ports.limits.commands_per_s:g} commands a second; wait",
                retry_after_ms=max(1, round(wait_s * 1000)),
            )

    def resume(self, room: str, position: commands.Position | None, identity: Identity, tag: object) -> None:
        """Join a room that `hello` asks for, or that is the identity's own; raises as `take` does."""
        self._allow_reading(room, identity)
        self._join(room, Subscribe(self._state.id, self._state.mailbox, identity, position, None, None, True, tag))

    def include(self, room: str, identity: Identity) -> None:
        """Join a room that an operator lets the client read, unless it is there already; raises as `take` does."""
        subscription = self._state.subscriptions.get(room)
        if subscription is not None:  # not as the session's owner alone any more
            subscription.room_mailbox.tell(Recheck(self._state.id, identity))
        elif room not in self._state.pending:
            self._subscribe(commands.Subscribe(room=room), identity)

    def ask_again(self, room: str) -> None:
        """Have a room that is asked already answer anew, with where it stands by then. Whether it may, it knows."""
        _, command = self._state.pending[room]
        assert isinstance(command, commands.Subscribe)
        assert self._state.identity is not None
        self._ask(command, self._state.identity)
        self._state.late.pop(room, None)

    def _subscribe(self, command: commands.Subscribe, identity: Identity) -> None:
        room, state = command.room, self._state
        if room in state.leaving and room in state.pending:
            message = f"an operator has this connection leave {room} just now; subscribe again in a moment"
            raise Refusal(ErrorCode.BUSY, message, retry_after_ms=_AGAIN_MS)
        if room in state.subscriptions or room in state.pending:
            raise Refusal(ErrorCode.ALREADY_SUBSCRIBED, f"this connection is in {room} already; unsubscribe first")
        most = self._ports.limits.rooms
        if sum(not subscription.own for subscription in state.subscriptions.values()) + len(state.pending) >= most:
            raise Refusal(
                ErrorCode.TOO_MANY_ROOMS,
                f"a connection may be in {most} rooms; unsubscribe from one, or open another connection",
            )
        self._allow_reading(room, identity)
        self._ask(command, identity)

    def _ask(self, command: commands.Subscribe, identity: Identity) -> None:
        state = self._state
        kinds = frozenset(command.kinds) if command.kinds is not None else None
        self._join(
            command.room,
            Subscribe(
                state.id,
                state.mailbox,
                identity,
                command.after,
                command.history,
                kinds,
                command.state,
                tag=command,
                presence=command.presence,
            ),
        )

    def _publish(self, command: commands.Publish, identity: Identity) -> None:
        if not identity.may_publish(command.room):
            raise Refusal(ErrorCode.FORBIDDEN, f"this token may not publish to {command.room}")
        self._begin(command)
        self._ports.source.tell(
            Publish(
                rooms=(command.room,),
                kind=command.kind,
                data=command.data,
                event_id=command.event_id,
                key=command.key,
                delivery=command.delivery,
                ack=command.ack,
                traceparent=command.traceparent,
                reply_to=self._state.mailbox if command.id is not None else self._quiet,
                tag=command,
                at=self._ports.clock.monotonic(),
            )
        )

    def _query(self, command: commands.State | commands.History | commands.Presence, identity: Identity) -> None:
        self._allow_reading(command.room, identity)
        self._tell_known_room(command.room, Query(command, identity, self._state.mailbox))

    def _ack(self, command: commands.Ack, identity: Identity) -> None:
        if not identity.may_acknowledge(command.room):
            self._allow_reading(command.room, identity)
        message = Acknowledge(command.event_id, identity, reply_to=self._state.mailbox, tag=command)
        self._tell_known_room(command.room, message)
        self._begin(command)

    def _begin(self, command: commands.Publish | commands.Ack) -> None:
        self._state.wire.begin()
        self._state.publishing[id(command)] = command

    def _join(self, room: str, message: Subscribe) -> None:
        mailbox = self._ports.directory.room(room)
        self._state.pending[room] = mailbox, message.tag
        mailbox.tell(message)

    def _allow_reading(self, room: str, identity: Identity) -> None:
        # Whether the session is its owner's only the room knows; a room that was never used is nobody's.
        if not identity.may_subscribe(room) and not (room.startswith("session:") and self._ports.directory.known(room)):
            raise Refusal(ErrorCode.FORBIDDEN, f"this token may not read {room}")

    def _tell_known_room(self, room: str, message: Query | Acknowledge) -> None:
        if not self._ports.directory.known(room):
            raise Refusal(ErrorCode.NOT_FOUND, f"{room} has never been used")
        self._ports.directory.room(room).tell(message)


_TAKE: dict[type[commands.Command], Callable[[Desk, Any, Identity], None]] = {
    commands.Subscribe: Desk._subscribe,
    commands.Publish: Desk._publish,
    commands.State: Desk._query,
    commands.History: Desk._query,
    commands.Presence: Desk._query,
    commands.Ack: Desk._ack,
}
