"""How each server is spoken to: what to send to get in, to subscribe and to publish.

In: a JSON object as bytes. Out: the WebSocket payloads of one server's protocol. All of them carry the same event.
"""

import json
from dataclasses import dataclass

__all__ = ["DIALECTS", "Dialect", "Step"]

ROOM = "session:bench"


@dataclass(frozen=True, slots=True)
class Step:
    """One exchange before the load: what is sent, and what the answer contains."""

    send: bytes | None
    """The payload, or `None` where the server speaks first."""

    expect: bytes
    """A part of the answer that proves success."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One server's protocol, as far as the benchmark speaks it."""

    path: str
    greeting: tuple[Step, ...]
    """Every connection starts with these."""

    subscribe: tuple[Step, ...]
    """A subscriber goes on with these."""

    publish: tuple[bytes, bytes]
    """What comes before and after an event's JSON object in a publisher's message."""


def _message(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _around_data(**fields: object) -> tuple[bytes, bytes]:
    return _message(**fields)[:-1] + b',"data":', b"}"


_RELAY = Dialect(
    path="/",
    greeting=(),
    subscribe=(Step(_message(type="subscribe", room=ROOM), b'"subscribed"'),),
    publish=_around_data(type="publish", room=ROOM),
)

# Engine.IO protocol 4 (`0` open, `4` message) around Socket.IO protocol 5 (`0` connect, `2` event, `3` answer).
_SOCKETIO = Dialect(
    path="/socket.io/?EIO=4&transport=websocket",
    greeting=(Step(None, b"0{"), Step(b"40", b"40{")),
    subscribe=(Step(f'421["subscribe","{ROOM}"]'.encode(), b"431["),),
    publish=(f'42["publish","{ROOM}",'.encode(), b"]"),
)

_POSTROOM = Dialect(
    path="/v1/ws",
    greeting=(Step(_message(type="hello"), b'"welcome"'),),
    subscribe=(Step(_message(type="subscribe", id=1, room=ROOM, state=False), b'"subscribed"'),),
    publish=_around_data(type="publish", room=ROOM, kind="bench.tick"),
)

DIALECTS = {"relay": _RELAY, "socketio": _SOCKETIO, "postroom": _POSTROOM}
