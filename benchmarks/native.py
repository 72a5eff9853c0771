"""Postroom's own words, beyond what every server of a comparison understands.

In: a room, a position, a secret. Out: messages as bytes, tokens, and what an answer says.
"""

import json
import re
import socket
import time
from typing import NamedTuple

import jwt

from .generator import Invalid
from .websocket import exchange

__all__ = ["PATH", "Position", "hello", "item", "join", "position", "publish", "token", "top"]

PATH = "/v1/ws"
# An application's own kind: kept in order, as notifications are.
_KIND = b"bench.tick"
_TOKEN_S = 3600
_POSITION = re.compile(rb'"epoch":"([^"]+)","offset":(\d+)')


class Position(NamedTuple):
    """How far a room, or a client in it, has come."""

    epoch: str
    offset: int


def token(secret: str, user: str, role: str, *rooms: str) -> str:
    """Return a token that counts for an hour and allows reading `rooms`."""
    claims = {"sub": user, "role": role, "exp": int(time.time()) + _TOKEN_S, "rooms": rooms}
    return jwt.encode(claims, secret, algorithm="HS256")


def hello(token: str | None, resume: dict[str, Position] | None = None) -> bytes:
    """Return a client's first message, with the positions that it comes back with."""
    message: dict[str, object] = {"type": "hello"}
    if token is not None:
        message["token"] = token
    if resume is not None:
        message["resume"] = {room: at._asdict() for room, at in resume.items()}
    return json.dumps(message).encode()


def join(room: str) -> bytes:
    """Return the message that subscribes to a room from now on."""
    return json.dumps({"type": "subscribe", "id": 1, "room": room, "state": False}).encode()


def position(answer: bytes) -> Position:
    """Return the room's top as the answer to `join` tells it.

    Raises:
        Invalid: it does not.
    """
    if (found := _POSITION.search(answer)) is None:
        raise Invalid(f"no position in {answer[:300]!r}")
    return Position(found[1].decode(), int(found[2]))


def top(sock: socket.socket, room: str) -> Position:
    """Join a room on a connection that has said hello, and return its top."""
    return position(exchange(sock, join(room), b'"replay"'))


def item(room: bytes, data: bytes, event_id: bytes | None = None) -> bytes:
    """Return an event as `POST /v1/publish` takes it."""
    named = b"" if event_id is None else b'"event_id":"%b",' % event_id
    return b'{"room":"%b","kind":"%b",%b"data":%b}' % (room, _KIND, named, data)


def publish(number: int, room: bytes, data: bytes) -> bytes:
    """Return an event as a message with an `id`, so that it is answered."""
    return b'{"type":"publish","id":%d,"room":"%b","kind":"%b","data":%b}' % (number, room, _KIND, data)
