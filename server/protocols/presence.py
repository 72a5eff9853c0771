"""Presence: a room's roll in, the answer to `presence` out, as it is in whatever protocol says it in the native words.

The lists are encoded once for all who ask within a turn of the room.
"""

from __future__ import annotations

import msgspec

from actors import replies
from actors.roll import Roll

__all__ = ["Presence", "presence"]


class Presence(msgspec.Struct, tag_field="type", tag="presence", omit_defaults=True, kw_only=True):
    """Who is in a room. `docs/reference/protocol.md` describes the fields."""

    id: replies.CommandId = None
    room: str
    members: msgspec.Raw
    count: int
    connections: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def presence(reply: replies.Presence) -> Presence:
    """Return the answer with its lists encoded."""
    roll = reply.roll
    return Presence(
        id=reply.id,
        room=reply.room,
        members=roll.written(_members),
        count=len(roll.users),
        connections=roll.written(_connections) if reply.connections else msgspec.UNSET,
    )


def _members(roll: Roll) -> bytes:
    return msgspec.json.encode([{"user": user, "connections": count} for user, count in roll.users.items()])


def _connections(roll: Roll) -> bytes:
    return msgspec.json.encode([{"connection": each.connection, "user": each.user} for each in roll.present])
