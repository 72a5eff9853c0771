"""Raw bytes of one WebSocket client, past the handshake: texts for its actor, pongs and a close, however TCP cuts them.

The first byte says whether compression was negotiated, and where the cuts are. What comes out must be what
`tests.fuzz.rfc6455` reads in the same bytes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from actors.messages import Frame
from actors.pressure import Pressure
from server.protocols.native import NativeDoor
from server.wire import GuardedConnection, Wire
from tests.actors.house import Ear
from tests.fuzz.rfc6455 import Heard, agree, read
from tests.server.sockets import CODEC

__all__ = ["MESSAGE_BYTES", "take"]

MESSAGE_BYTES = 512
"""Small, so that short inputs reach it."""
_MOST_BYTES = 1500
"""Fewer than 300 frames: more control frames than that are a flood, which is cut by the clock."""
_RUNNER = asyncio.Runner()


def take(data: bytes) -> None:
    """Receive the bytes in one piece, one by one, and in pieces of any size."""
    how, data = data[:1], data[1 : _MOST_BYTES + 1]
    deflate = bool(how and how[0] & 1)
    chance = random.Random(how)
    whole, *others = (_RUNNER.run(_receive(_cut(data, most, chance), deflate)) for most in (len(data), 1, 40))
    if not deflate:
        others.append(read(data, MESSAGE_BYTES))
    for other in others:
        assert agree(whole, other), f"{whole} in one piece, else {other}"


def _cut(data: bytes, most: int, chance: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = most if most in (1, len(data)) else chance.randint(1, most)
        yield data[at : at + size]
        at += size


class _Transport(asyncio.Transport):
    """Takes whatever is written, and ends when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.ended = False

    def write(self, data: Any) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.ended = True

    close = abort

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class _Server:
    """Stands where the library's server would: a connection asks it for a handler, which the handshake brings."""

    def __init__(self) -> None:
        self.handler_tasks: set[asyncio.Task[None]] = set()

    async def handler(self, _connection: object) -> None:
        """Do nothing: the wire is there already."""


async def _receive(pieces: Iterator[bytes], deflate: bool) -> Heard:
    transport, server = _Transport(), _Server()
    protocol = ServerProtocol(state=OPEN, max_size=MESSAGE_BYTES)
    if deflate:
        protocol.extensions = [PerMessageDeflate(True, True, 15, 15, {"memLevel": 5})]
    connection = GuardedConnection(protocol, server, ping_interval=None, close_timeout=0.01)  # type: ignore[arg-type]  # it is asked for no more
    connection.connection_made(transport)
    connection.forget_request()  # the handshake is over
    ear = Ear()
    wire = Wire(connection, ear, NativeDoor(), CODEC, Pressure())  # type: ignore[arg-type]  # it is only told
    answered = 0
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(len(ear.heard) - answered):
            wire.done()
        answered = len(ear.heard)
        if connection.has_untaken:
            await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    texts = [message.text for message in ear.heard if isinstance(message, Frame)]
    written = bytes(transport.written)
    connection.connection_lost(None)
    await asyncio.gather(connection.wait_received(), *server.handler_tasks)
    assert texts == [message.text for message in ear.heard if isinstance(message, Frame)], "heard after the end"
    return Heard.of(texts, written)
