"""Engine.IO 4 over WebSocket, on which Socket.IO stands: how it opens, and what each frame is for.

A handshake's query or a frame's text in; a refusal, frames or commands out. Protocol:
https://socket.io/docs/v4/engine-io-protocol/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from actors.codec import BadMessage
from actors.commands import Bye, Command, Ping
from actors.errors import ErrorCode

from .door import TurnedAway
from .frames import text_frame

__all__ = ["CLOSE", "MESSAGE", "PING", "PONG", "obey", "open_frame", "refuse"]

CLOSE = text_frame(b"1")
PING = text_frame(b"2")
PONG = "3"
"""With this a pong begins; the rest is what the ping said."""
MESSAGE = b"4"
"""With this a frame begins that holds a packet of Socket.IO."""

_VERSION = "4"


def refuse(query: Mapping[str, Sequence[str]]) -> TurnedAway | None:
    """Return why a client that asks for this may not connect, with the codes of the reference server; None: it may."""
    if query.get("transport") != ["websocket"]:
        message = 'Transport unknown: this router speaks WebSocket only, so the client needs transports: ["websocket"]'
        return _error(0, message)
    if "sid" in query:
        return _error(1, "Session ID unknown: each connection is a new session, and none is an upgrade")
    if query.get("EIO") != [_VERSION]:
        return _error(5, "Unsupported protocol version: use a client of Socket.IO 3 or 4, which says EIO=4")
    return None


def open_frame(connection: str, *, heartbeat_s: float, pong_timeout_s: float, message_bytes: int) -> bytes:
    """Return the frame with which the router begins."""
    opening = {
        "sid": connection,
        "upgrades": [],
        "pingInterval": round(heartbeat_s * 1000),
        "pingTimeout": round(pong_timeout_s * 1000),
        "maxPayload": message_bytes,
    }
    return text_frame(b"0" + json.dumps(opening, separators=(",", ":")).encode())


def obey(text: str, message: Callable[[str], Sequence[Command]]) -> Sequence[Command]:
    """Read a text frame; what stands in a message is read by `message`.

    The id of a `Ping` is the pong that is due.

    Raises:
        BadMessage: It is none that a client may send over a WebSocket.
    """
    match text[:1]:
        case "4":
            return message(text[1:])
        case "3" | "6":  # a pong, and nothing at all: that something came has been noted
            return ()
        case "2":
            return (Ping(id=PONG + text[1:]),)
        case "1":
            return (Bye(),)
    raise BadMessage(ErrorCode.BAD_MESSAGE, f"{text[:1]!r} is no type of a client's packet in Engine.IO", fatal=True)


def _error(code: int, message: str) -> TurnedAway:
    return TurnedAway(400, json.dumps({"code": code, "message": message}), "application/json")
