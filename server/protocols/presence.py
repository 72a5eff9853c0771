"""Presence: a room's roll in, the answer to `presence` out, as it is in whatever protocol says it in the native words.

The lists are encoded once for all who ask within a turn of the room.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from actors import replies
from actors.roll import Roll

__all__ = ["Presence", "presence"]


class _Member(msgspec.Struct):
    user: str
    connections: int


class _Present(msgspec.Struct):
    connection: str
    user: str


def _encoded_list_of(each: type[msgspec.Struct]) -> msgspec.Meta:
    _, components = msgspec.json.schema_components([each])
    items = {**components[each.__name__], "title": each.__name__.lstrip("_")}
    return msgspec.Meta(extra_json_schema={"type": "array", "items": items})


class Presence(msgspec.Struct, tag_field="type", tag="presence", omit_defaults=True, kw_only=True):
    """The answer to `presence`."""

    id: replies.CommandId = None
    room: str
    members: Annotated[msgspec.Raw, _encoded_list_of(_Member)]
    count: int
    connections: Annotated[msgspec.Raw, _encoded_list_of(_Present)] | msgspec.UnsetType = msgspec.UNSET


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
    return msgspec.json.encode([_Member(user, count) for user, count in roll.users.items()])


def _connections(roll: Roll) -> bytes:
    return msgspec.json.encode([_Present(each.connection, each.user) for each in roll.present])
