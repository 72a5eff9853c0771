"""The Centrifuge protocol's replies and pushes: what the actors say in, JSON lines out.

The official clients do not check for gaps; their position is the offset of the last publication.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from actors import replies
from actors.errors import ErrorCode
from actors.events import Event
from actors.roll import Roll
from actors.times import time_text

from .. import __version__
from .centrifuge_codes import ERROR_CODES, UNRECOVERABLE, UNSUBSCRIBED

__all__ = ["lines_of", "publication_of"]

_ENCODER = msgspec.json.Encoder()


class _Data(msgspec.Struct, omit_defaults=True):
    id: str
    kind: str
    time: str
    data: msgspec.Raw
    key: str | None = None
    delivery: str = "keep"
    ack: str | None = None
    traceparent: str | None = None


class _Publication(msgspec.Struct):
    offset: int
    data: _Data


class _Of(msgspec.Struct):
    channel: str
    pub: _Publication


class _Push(msgspec.Struct):
    push: _Of


def publication_of(room: str, event: Event) -> bytes:
    """Return the push of an event."""
    return _ENCODER.encode(_Push(_Of(room, _publication(event))))


def lines_of(reply: replies.Reply) -> list[bytes]:
    """Return what a reply is in this protocol, each piece for a frame of its own: none where it has no word for it."""
    said = _SAY[type(reply)](reply)
    lines = [] if said is None else [_ENCODER.encode(said)]
    if isinstance(reply, replies.Welcome):
        for room, where in reply.rooms.items():
            if where.old is not None and where.old is not msgspec.UNSET and not _recovered(where):
                lines += [publication_of(room, event) for event in where.old.events]
    return lines


def _publication(event: Event) -> _Publication:
    draft = event.draft
    data = _Data(
        id=draft.id,
        kind=draft.kind,
        time=time_text(draft.time_ms),
        data=draft.data,
        key=draft.key,
        delivery=draft.delivery,
        ack="required" if draft.ack else None,
        traceparent=draft.traceparent,
    )
    return _Publication(event.offset, data)


_Where = replies.RoomJoined | replies.Subscribed


def _recovered(where: _Where) -> bool:
    return where.recovery == "full"


def _start(old: replies.OldEvents) -> int:
    """Return where the old events begin: a client's position until it has taken them, one after the other."""
    starts = [skipped.from_ - 1 for skipped in old.skipped[:1]] + [event.prev for event in old.events[:1]]
    return min(starts) if old.events else old.position


def _subscription(where: _Where, *, with_events: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "epoch": where.epoch,
        "offset": where.offset,
        "recovery": where.recovery,
        "replay": where.replay,
    }
    said = {"recoverable": True, "positioned": True, "epoch": where.epoch, "offset": where.offset, "data": data}
    for name in ("missing", "state"):
        value = getattr(where, name)
        if value is not msgspec.UNSET:
            data[name] = value
    if where.recovery != "fresh":
        said |= {"was_recovering": True, "recovered": _recovered(where)}
    if isinstance(where.old, replies.OldEvents):
        said["offset"] = _start(where.old)
        if where.old.events and with_events:
            said["publications"] = [_publication(event) for event in where.old.events]
        if where.old.skipped:
            data["skipped"] = [_skipped_range(skipped) for skipped in where.old.skipped]
    return said


def _skipped_range(reply: replies.Skipped) -> dict[str, Any]:
    return {"from": reply.from_, "to": reply.to, "reason": reply.reason}


def _expiry(in_s: float | None) -> dict[str, Any]:
    """Say in how many whole seconds the client is to bring another token."""
    return {"expires": False} if in_s is None else {"expires": True, "ttl": max(1, math.floor(in_s))}


def _split(id: replies.CommandId) -> tuple[str, int, str]:
    """Return the method, the number and the rest of an id that the commands' side has made."""
    method, number, *rest = str(id).split(":", 2)
    return method, int(number), rest[0] if rest else ""


def _answer(id: replies.CommandId, result: Any) -> dict[str, Any] | None:
    if id is None:
        return None  # a `send`
    method, number, _ = _split(id)
    return {"id": number, method: result}


def _answered(reply: replies.Reply, result: Any) -> dict[str, Any] | None:
    """Answer a command with the result that its method has, or a call with all that the native answer says."""
    if reply.id is not None and str(reply.id).startswith("rpc:"):
        said = msgspec.to_builtins(reply)
        return _answer(reply.id, {"data": {name: said[name] for name in said if name not in ("id", "type")}})
    return _answer(reply.id, result)


def _push(room: str, **what: Any) -> dict[str, Any]:
    return {"push": {"channel": room, **what}}


def _welcome(reply: replies.Welcome) -> dict[str, Any] | None:
    return _answer(
        reply.id,
        {
            "client": reply.connection,
            "version": f"Postroom {__version__}",
            **_expiry(reply.expires_in_s),
            "ping": max(1, math.ceil(reply.heartbeat_s)),
            "pong": True,
            "data": {"user": reply.user, "role": reply.role, "limits": reply.limits},
            "subs": {room: _subscription(where, with_events=_recovered(where)) for room, where in reply.rooms.items()},
        },
    )


def _subscribed(reply: replies.Subscribed) -> dict[str, Any] | None:
    said = _subscription(reply, with_events=True)
    return _push(reply.room, subscribe=said) if reply.id is None else _answer(reply.id, said)


def _history(reply: replies.History) -> dict[str, Any] | None:
    how, _, epoch = _split(reply.id)[2].partition(":")
    if epoch and epoch != reply.epoch:
        message = f"the epoch of {reply.room} is {reply.epoch} now, not {epoch[:80]}: old offsets mean nothing"
        return _error(reply.id, UNRECOVERABLE, f"unrecoverable: {message}", temporary=False)
    said: dict[str, Any] = {"epoch": reply.epoch, "offset": reply.offset}
    if how != "position":
        events = reversed(reply.events) if how == "reverse" else reply.events
        said["publications"] = [_publication(event) for event in events]
    return _answer(reply.id, said)


def _presence(reply: replies.Presence) -> dict[str, Any] | None:
    roll = reply.roll
    if not reply.connections:
        return _answer(reply.id, {"num_clients": len(roll.present), "num_users": len(roll.users)})
    return _answer(reply.id, {"presence": roll.written(_clients)})


def _clients(roll: Roll) -> bytes:
    return _ENCODER.encode({each.connection: _who(each.connection, each.user) for each in roll.present})


def _who(connection: str, user: str) -> dict[str, str]:
    return {"client": connection, "user": user}


def _failed(reply: replies.Error) -> dict[str, Any] | None:
    if reply.id is None:
        return None  # nothing was asked that could be answered
    if reply.code is ErrorCode.NOT_SUBSCRIBED and _split(reply.id)[0] == "unsubscribe":
        return _answer(reply.id, {})  # the clients take an error for a reason to connect anew
    return _error(reply.id, ERROR_CODES[reply.code], f"{reply.code}: {reply.message}", temporary=reply.temporary)


def _error(id: replies.CommandId, code: int, message: str, *, temporary: bool) -> dict[str, Any]:
    return {"id": _split(id)[1], "error": {"code": code, "message": message, "temporary": temporary}}


_SAY: Mapping[type[replies.Reply], Callable[[Any], dict[str, Any] | None]] = {
    replies.Welcome: _welcome,
    replies.Subscribed: _subscribed,
    replies.Unsubscribed: lambda reply: _answer(reply.id, {}),
    replies.Published: lambda reply: _answered(reply, {}),
    replies.State: lambda reply: _answered(reply, {}),
    replies.History: _history,
    replies.Presence: _presence,
    replies.Acknowledged: lambda reply: _answered(reply, {}),
    replies.Refreshed: lambda reply: _answered(reply, _expiry(reply.expires_in_s)),
    replies.Pong: lambda reply: _answer(reply.id, {}),
    replies.Skipped: lambda reply: _push(reply.room, message={"data": {"skipped": _skipped_range(reply)}}),
    replies.MemberJoined: lambda reply: _push(reply.room, join={"info": _who(reply.connection, reply.user)}),
    replies.MemberLeft: lambda reply: _push(reply.room, leave={"info": _who(reply.connection, reply.user)}),
    replies.Revoked: lambda reply: _push(reply.room, unsubscribe={"code": UNSUBSCRIBED, "reason": reply.reason}),
    replies.Notice: lambda _reply: None,
    replies.Error: _failed,
}
