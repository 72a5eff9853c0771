"""Greeting: from an accepted `hello` to the `welcome`, which waits until every room has answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from . import commands, replies
from .clock import Clock
from .desk import Desk
from .errors import ErrorCode, Refusal
from .identity import Identity
from .ledger import ConnectionState
from .messages import Joined, Refused
from .ports import ConnectionPorts
from .times import seconds_text

__all__ = ["Greeting", "HelloRoom", "expiry"]


class HelloRoom(NamedTuple):
    """Tag of a subscription that a `hello` asked for."""

    room: str
    greeting: Greeting
    """Who asked: after a failure the room is asked again, and only that answer counts."""


class Greeting:
    """Joins the rooms of one `hello` and keeps what comes before the welcome.

    Args:
        hello: The command.
        identity: Who said it.
        own: The rooms that it joins by itself.
        desk: Passes the subscriptions on.
        most_rooms: How many rooms may be resumed.
    """

    def __init__(
        self, hello: commands.Hello, identity: Identity, own: Sequence[str], desk: Desk, most_rooms: int
    ) -> None:
        self._hello = hello
        self._identity = identity
        self.behind: set[str] = set()
        """Rooms that have let the connection in and had events since: the welcome comes first, then their history."""
        resumed = [room for room in hello.resume if room not in own]
        self._answers: dict[str, Joined | Refused | None] = dict.fromkeys((*own, *resumed))
        for number, room in enumerate(self._answers):
            tag = HelloRoom(room, self)
            try:
                if number >= len(own) + most_rooms:
                    raise Refusal(ErrorCode.TOO_MANY_ROOMS, f"more than {most_rooms} rooms to resume")
                desk.resume(room, hello.resume.get(room), identity, tag)
            except Refusal as refusal:
                self._answers[room] = Refused(None, refusal)

    def take(self, room: str, answer: Joined | Refused) -> bool:
        """Take a room's answer; return whether all are there."""
        self._answers[room] = answer._replace(tag=None)  # which names this object: it would wait for the collector
        return self.complete

    @property
    def complete(self) -> bool:
        """Whether every room has answered."""
        return None not in self._answers.values()

    @property
    def joined(self) -> dict[str, Joined]:
        """The rooms that let the connection in."""
        return {room: answer for room, answer in self._answers.items() if isinstance(answer, Joined)}

    @property
    def refused(self) -> dict[str, Refusal]:
        """The rooms that did not, and why."""
        return {room: answer.refusal for room, answer in self._answers.items() if isinstance(answer, Refused)}

    def welcome(
        self, state: ConnectionState, ports: ConnectionPorts, old: Mapping[str, replies.OldEvents]
    ) -> replies.Welcome:
        """Make the answer to the hello, with the old events of these rooms in it."""
        limits = ports.limits
        expires_at, expires_in_s = expiry(self._identity, ports.clock)
        return replies.Welcome(
            id=self._hello.id,
            connection=state.id,
            user=self._identity.user,
            role=self._identity.role,
            protocol=1,
            heartbeat_s=limits.heartbeat_s,
            expires_at=expires_at,
            expires_in_s=expires_in_s,
            limits={
                "message_bytes": limits.message_bytes,
                "rooms": limits.rooms,
                "outbox_bytes": limits.outbox_bytes,
            },
            rooms={
                room: msgspec.structs.replace(answer.where, old=old[room]) if room in old else answer.where
                for room, answer in self.joined.items()
            },
        )


def expiry(identity: Identity, clock: Clock) -> tuple[str | None, float | None]:
    """Return when the identity's token ends, and in how many seconds; None: never."""
    if identity.expires_at is None:
        return None, None
    return seconds_text(identity.expires_at), round(max(0.0, identity.expires_at - clock.time()), 3)
