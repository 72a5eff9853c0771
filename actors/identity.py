"""Who a connection is and what it may do: claims of a token in, yes or no for one verb and one room out.

Deny by default: what no rule here allows is forbidden.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from .errors import ErrorCode, Refusal

__all__ = ["ANONYMOUS", "ROLES", "ROOM_NAME", "SUPERVISOR_ROOM", "Identity", "is_room_name"]

ROLES = ("user", "admin", "service")
SUPERVISOR_ROOM = "system:supervisor"
"""Where the router keeps the record of its own failures and repairs: for admins to read, for nobody to publish to."""

ROOM_NAME = r"(broadcast|system|[a-z][a-z0-9_-]{0,63}:[^\s*>\x00-\x1f\x7f\ud800-\udfff]{1,200})"
"""What a room's name looks like, as a regular expression."""

_ROOM_NAME = re.compile(rf"{ROOM_NAME}\Z")


_LONGEST_NAME = 64 + 1 + 200


def is_room_name(name: str) -> bool:
    """Tell whether `name` can name a room: `broadcast`, `system` or `word:id`.

    `word` is a lower-case word of up to 64 characters; `id` has 1 to 200 characters, none of them white space,
    a control character, `*` or `>` (these two are wildcards in tokens and in a cluster's subjects).
    """
    return len(name) <= _LONGEST_NAME and _is_room_name(name)


@lru_cache(maxsize=4096)
def _is_room_name(name: str) -> bool:
    return _ROOM_NAME.match(name) is not None


def _covers(pattern: str, room: str) -> bool:
    """Match piece by piece, each at the first place it fits: linear, whatever the pattern."""
    first, *pieces = pattern.split("*")
    if not pieces:
        return pattern == room
    last = pieces.pop()
    position, end = len(first), len(room) - len(last)
    if end < position or not room.startswith(first) or not room.endswith(last):
        return False
    for piece in pieces:
        found = room.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


@lru_cache(maxsize=4096)
def _matches(patterns: tuple[str, ...], room: str) -> bool:
    return any(_covers(pattern, room) for pattern in patterns)


class Identity(msgspec.Struct, frozen=True):
    """Who speaks, as their token says. `*` in a pattern stands for any number of characters."""

    user: str
    role: str = "user"
    """One of `ROLES`."""
    rooms: tuple[str, ...] = ()
    """Patterns of rooms that may be read, beyond the identity's own."""
    publish: tuple[str, ...] = ()
    """Patterns of rooms that may be published to."""
    expires_at: float | None = None
    """Unix time in seconds at which all of this ends; None: never (no token, `--dev`)."""
    subs: tuple[str, ...] = ()
    """Rooms that it joins by itself, beyond those that everyone does; it may read them."""

    @property
    def own_rooms(self) -> tuple[str, ...]:
        """The rooms that this identity's connections join by themselves."""
        return (f"user:{self.user}", f"role:{self.role}", "broadcast", "system", *self.subs)

    @property
    def trusted(self) -> bool:
        """Services and admins are slowed by back-pressure; users are held to a rate."""
        return self.role in ("admin", "service")

    def may_subscribe(self, room: str, owner: str | None = None) -> bool:
        """Tell whether this identity may read `room`, whose session belongs to `owner` (None: nobody)."""
        if self.role == "admin":
            return True
        if room == SUPERVISOR_ROOM:
            return False
        return room in self.own_rooms or self._owns(room, owner) or _matches(self.rooms, room)

    def refresh(self, to: Identity) -> Identity | Refusal:
        """Return the identity that a new token gives to a connection of this one, or why it does not."""
        if to.user != self.user:
            return Refusal(ErrorCode.FORBIDDEN, f"this connection is {self.user}'s; the new token is another user's")
        if to.role != self.role:
            return Refusal(
                ErrorCode.FORBIDDEN, f"this connection has role {self.role}, the new token {to.role}: connect again"
            )
        return to

    def granting(self, before: tuple[str, ...], now: tuple[str, ...]) -> Identity:
        """Return the identity with other rooms than `before` granted to it beside those of its token."""
        return msgspec.structs.replace(self, rooms=(*self.rooms[: len(self.rooms) - len(before)], *now))

    def may_publish(self, room: str) -> bool:
        """Tell whether this identity may publish to `room`."""
        return room != SUPERVISOR_ROOM and (self.role == "service" or _matches(self.publish, room))

    def may_acknowledge(self, room: str, owner: str | None = None) -> bool:
        """Tell whether this identity may acknowledge an alert of `room` for everyone in it."""
        return (
            self.role in ("admin", "service")
            or room == f"user:{self.user}"
            or self._owns(room, owner)
            or _matches(self.rooms, room)
        )

    def _owns(self, room: str, owner: str | None) -> bool:
        return owner is not None and owner == self.user and room.startswith("session:")


ANONYMOUS = Identity(user="anonymous", role="admin", publish=("*",))
"""Who a connection without a token is under `--dev`: it may do everything."""
