"""How each server is spoken to: what to send to get in, to subscribe and to publish.

In: a room. Out: the WebSocket payloads of one server's protocol. All of them carry the same event.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["DIALECTS", "Dialect", "Step"]


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

    subscribe: Callable[[str], Step]
    """A subscriber of a room goes on with this."""

    publish: Callable[[str], tuple[bytes, bytes]]
    """What comes before and after an event's JSON object in a publisher's message to a room."""

    heartbeat: bytes | None = None
    """The frame in which the server asks for an answer, beside WebSocket's pings; `None`: there is none."""


def _message(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _around_data(**fields: object) -> tuple[bytes, bytes]:
    return _message(**fields)[:-1] + b',"data":', b"}"


_RELAY = Dialect(
    path="/",
    greeting=(),
    subscribe=lambda room: Step(_message(type="subscribe", room=room), b'"subscribed"'),
    publish=lambda room: _around_data(type="publish", room=room),
)

_ENGINEIO_PING = b"\x81\x012"

# Engine.IO protocol 4 (`0` open, `4` message) around Socket.IO protocol 5 (`0` connect, `2` event, `3` answer).
_SOCKETIO = Dialect(
    path="/socket.io/?EIO=4&transport=websocket",
    greeting=(Step(None, b"0{"), Step(b"40", b"40{")),
    subscribe=lambda room: Step(f'421["subscribe","{room}"]'.encode(), b"431["),
    publish=lambda room: (f'42["publish","{room}",'.encode(), b"]"),
    heartbeat=_ENGINEIO_PING,
)

_POSTROOM = Dialect(
    path="/v1/ws",
    greeting=(Step(_message(type="hello"), b'"welcome"'),),
    subscribe=lambda room: Step(_message(type="subscribe", id=1, room=room, state=False), b'"subscribed"'),
    publish=lambda room: _around_data(type="publish", room=room, kind="bench.tick"),
)

_POSTROOM_CENTRIFUGE = Dialect(
    path="/connection/websocket",
    greeting=(Step(b'{"id":1,"connect":{}}', b'"connect"'),),
    subscribe=lambda room: Step(_message(id=2, subscribe={"channel": room}), b'"subscribe"'),
    publish=lambda room: (
        f'{{"id":3,"publish":{{"channel":"{room}","data":{{"kind":"bench.tick","data":'.encode(),
        b"}}}",
    ),
    heartbeat=b"\x81\x02{}",
)

_POSTROOM_SOCKETIO = Dialect(
    path="/socket.io/?EIO=4&transport=websocket",
    greeting=(Step(None, b"0{"), Step(b"40", b'42["welcome"')),
    subscribe=lambda room: Step(b'421["subscribe",' + _message(room=room, state=False) + b"]", b"431["),
    publish=lambda room: (f'42["publish",{{"room":"{room}","kind":"bench.tick","data":'.encode(), b"}]"),
    heartbeat=_ENGINEIO_PING,
)

DIALECTS = {
    "relay": _RELAY,
    "socketio": _SOCKETIO,
    "postroom": _POSTROOM,
    "postroom-centrifuge": _POSTROOM_CENTRIFUGE,
    "postroom-socketio": _POSTROOM_SOCKETIO,
}
