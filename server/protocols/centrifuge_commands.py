"""The Centrifuge protocol's commands: the text of one frame in, what the actors obey out.

What kind of answer is due goes along in a command's `id`, and comes back with the answer: `subscribe:7`, and
`history:7:reverse:EPOCH`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from actors import commands
from actors.codec import BadMessage
from actors.errors import ErrorCode
from actors.identity import is_room_name

from .surrogates import HALF, without_halves

__all__ = ["MOST_COMMANDS", "commands_of"]

MOST_COMMANDS = 256
"""Commands in one frame, at most."""

_REJECT_UNRECOVERED = 2
"""Flag of `subscribe`: an error where not all that was missed can be had."""

_Offset = Annotated[int, msgspec.Meta(ge=0)]


class _Place(msgspec.Struct):
    recover: bool = False
    epoch: str = ""
    offset: _Offset = 0

    @property
    def position(self) -> dict[str, Any] | None:
        return {"epoch": self.epoch, "offset": self.offset} if self.recover else None


class _Connect(msgspec.Struct):
    token: str = ""
    name: str = ""
    version: str = ""
    subs: dict[str, _Place] = {}


class _Room(msgspec.Struct):
    channel: str


class _Subscribe(_Place, kw_only=True):
    channel: str
    data: Any = None
    join_leave: bool = False
    flag: int = 0
    type: int = 0
    tf: Any = None


class _Publish(_Room):
    data: Any = None


class _Since(msgspec.Struct):
    offset: _Offset = 0
    epoch: str = ""


class _History(_Room):
    limit: int = 0
    since: _Since | None = None
    reverse: bool = False


class _Refresh(msgspec.Struct):
    token: str


class _Rpc(msgspec.Struct):
    method: str = ""
    data: Any = None


class _Send(msgspec.Struct):
    data: Any = None


class _Empty(msgspec.Struct):
    pass


class _Message(msgspec.Struct):
    id: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 0
    connect: _Connect | None = None
    subscribe: _Subscribe | None = None
    unsubscribe: _Room | None = None
    publish: _Publish | None = None
    presence: _Room | None = None
    presence_stats: _Room | None = None
    history: _History | None = None
    ping: _Empty | None = None
    send: _Send | None = None
    rpc: _Rpc | None = None
    refresh: _Refresh | None = None


_DECODER = msgspec.json.Decoder(_Message)
_METHODS = tuple(name for name in _Message.__struct_fields__ if name != "id")
_AN_EVENT = "data is an event: {kind, data, id?, key?, delivery?, ack?}"


def commands_of(text: str) -> Sequence[commands.Command]:
    """Return the commands of one frame, one JSON object a line.

    Raises:
        BadMessage: One of them is none; always fatal.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    if not 0 < len(lines) <= MOST_COMMANDS:
        raise _fatal(f"a frame holds 1 to {MOST_COMMANDS} commands, one a line, not {len(lines)}")
    found = []
    for line in lines:
        command = _command(line)
        if command is not None:
            found.append(command)
    return found


def _command(line: str) -> commands.Command | None:
    """Return the command of one line; None: the client's pong, which is the empty one."""
    try:
        message = _DECODER.decode(line)
        methods = [name for name in _METHODS if getattr(message, name) is not None]
        if not methods:
            return _without_method(line, message.id)
    except msgspec.ValidationError as error:
        raise _fatal(f"this is no command: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        whole = without_halves(line)
        command = None if whole is None else _command(whole)
        if command is None:
            raise _fatal(f"this is not JSON that can be read: {error}") from None
        return commands.Unfit(id=command.id, message=HALF)
    if len(methods) > 1:
        raise _fatal(f"a command has one method, not {' and '.join(methods)}")
    (method,) = methods
    if not message.id and method != "send":
        raise _fatal(f"{method} needs an id, a number from 1 on")
    id = f"{method}:{message.id}"
    try:
        return _MAKE[method](id, getattr(message, method))
    except ValueError as error:
        return commands.Unfit(id=None if method == "send" else id, message=f"{method}: {error}")
    except msgspec.ValidationError as error:
        return commands.Unfit(id=None if method == "send" else id, message=f"{method}: {error}")


def _without_method(line: str, id: int) -> commands.Command | None:
    """Say what a line asks for instead; raises as the decoder does, which has not looked into what it does not know."""
    names = list(msgspec.json.decode(line).keys() - {"id"})
    if not names and not id:
        return None
    if len(names) != 1 or names[0] in _METHODS or not id:
        raise _fatal(f"a command has an id and one method: {', '.join(_METHODS)}")
    message = f"there is no method {names[0][:80]!r}; there are {', '.join(_METHODS)}"
    return commands.Unfit(id=f"unknown:{id}", code=ErrorCode.UNKNOWN_TYPE, message=message)


def _connect(id: str, said: _Connect) -> commands.Command:
    resume = {room: place.position for room, place in said.subs.items() if place.recover and is_room_name(room)}
    client = {"name": said.name, "version": said.version}
    return msgspec.convert({"id": id, "token": said.token or None, "client": client, "resume": resume}, commands.Hello)


def _subscribe(id: str, said: _Subscribe) -> commands.Command:
    if said.type:
        raise ValueError(f"type {said.type} is not known here; leave it out, for a stream of events")
    if said.tf is not None:
        raise ValueError("there is no filter by tags; data may name the kinds that you want: {kinds: [..]}")
    if said.flag & _REJECT_UNRECOVERED:
        raise ValueError("getState is not known here; the state is in the answer's data")
    options = said.data if said.data is not None else {}
    if not isinstance(options, dict):
        raise ValueError("data is {kinds?: [..], history?: n, state?: bool}")
    wanted = {name: options[name] for name in ("kinds", "history", "state") if name in options}
    room = {"id": id, "room": said.channel, "after": said.position, "presence": said.join_leave}
    return msgspec.convert({**wanted, **room}, commands.Subscribe)


def _publish(id: str, said: _Publish) -> commands.Command:
    event = said.data
    if not isinstance(event, dict):
        raise ValueError(_AN_EVENT)
    named = {"event_id": event["id"]} if "id" in event else {}
    try:
        return msgspec.convert({**named, **event, "id": id, "room": said.channel, "type": "publish"}, commands.Publish)
    except msgspec.ValidationError as error:
        raise ValueError(f"{_AN_EVENT}; {error}") from None


def _history(id: str, said: _History) -> commands.Command:
    since, most = said.since, commands.MOST_HISTORY
    limit = most if said.limit < 0 else min(said.limit, most)
    how = "position" if not limit else "reverse" if said.reverse else ""
    after = before = None
    if since is not None and said.reverse:
        before = since.offset
    elif since is not None or not said.reverse:
        after = since.offset if since is not None else 0
    epoch = since.epoch if since is not None else ""
    return commands.History(
        id=f"{id}:{how}:{epoch}", room=said.channel, after=after, before=before, limit=max(1, limit)
    )


def _rpc(id: str | None, said: _Rpc) -> commands.Command:
    kind = _CALLS.get(said.method)
    if kind is None:
        message = f"there is no rpc method {said.method[:80]!r}; there are {', '.join(_CALLS)}"
        return commands.Unfit(id=id, code=ErrorCode.UNKNOWN_TYPE, message=message)
    if not isinstance(said.data, dict):
        raise ValueError(f"data of {said.method} is an object, as in the native protocol")
    return msgspec.convert({**said.data, "id": id, "type": said.method}, kind)


def _send(_id: str, said: _Send) -> commands.Command:
    return _rpc(None, msgspec.convert(said.data, _Rpc))


_CALLS: Mapping[str, type[commands.Command]] = {
    "state": commands.State,
    "ack": commands.Ack,
    "publish": commands.Publish,
    "refresh": commands.Refresh,
}
"""What can be called, with the native command's fields as `data`."""

_MAKE: Mapping[str, Callable[[str, Any], commands.Command]] = {
    "connect": _connect,
    "subscribe": _subscribe,
    "unsubscribe": lambda id, said: commands.Unsubscribe(id=id, room=said.channel),
    "publish": _publish,
    "presence": lambda id, said: commands.Presence(id=id, room=said.channel, connections=True),
    "presence_stats": lambda id, said: commands.Presence(id=id, room=said.channel),
    "history": _history,
    "ping": lambda id, _said: commands.Ping(id=id),
    "send": _send,
    "rpc": _rpc,
    "refresh": lambda id, said: commands.Refresh(id=id, token=said.token),
}


def _fatal(message: str) -> BadMessage:
    return BadMessage(ErrorCode.BAD_MESSAGE, message, fatal=True)
