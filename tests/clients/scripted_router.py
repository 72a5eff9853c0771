"""A router that does what a test says, over real sockets: it speaks the documented protocol and nothing by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

BOUND_S = 5.0
EPOCH = "e1"


class Peer:
    """The router's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.hello: dict = {}

    async def receive(self) -> dict:
        return json.loads(await asyncio.wait_for(self.socket.recv(), BOUND_S))

    async def expect(self, kind: str) -> dict:
        message = await self.receive()
        assert message["type"] == kind, message
        return message

    async def send(self, kind: str, /, **fields) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def answer(self, command: dict, kind: str, /, **fields) -> None:
        await self.send(kind, id=command["id"], **fields)

    async def refuse(self, command: dict, code: str, /, **fields) -> None:
        await self.answer(command, "error", code=code, message=f"no: {code}", **{"temporary": False, **fields})

    async def welcome(self, rooms: dict | None = None, **fields) -> dict:
        """Take the hello and answer it."""
        self.hello = await self.expect("hello")
        values = {"connection": "c1", "user": "ada", "role": "user", "protocol": 1, "heartbeat_s": 25} | fields
        await self.answer(self.hello, "welcome", **{"expires_at": None, "limits": {}, "rooms": rooms or {}, **values})
        return self.hello

    async def subscribed(self, room: str = "session:1", **fields) -> dict:
        """Take a subscribe and answer it."""
        command = await self.expect("subscribe")
        assert command["room"] == room
        await self.answer(command, "subscribed", **{"room": room, **attached(**fields)})
        return command

    async def event(self, offset: int, prev: int | None = None, room: str = "session:1", **fields) -> None:
        await self.send("event", **event(offset, prev, room, **fields))

    async def close(self, code: int, reason: str = "") -> None:
        await self.socket.close(code, reason)

    def cut(self) -> None:
        """Break the connection without a closing handshake."""
        self.socket.transport.abort()


class ScriptedRouter:
    """Hands its connections to the test, in the order they come."""

    def __init__(self) -> None:
        self.url = ""
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()

    async def peer(self) -> Peer:
        return await asyncio.wait_for(self.peers.get(), BOUND_S)

    async def welcomed(self, rooms: dict | None = None, **fields) -> Peer:
        peer = await self.peer()
        await peer.welcome(rooms, **fields)
        return peer

    async def handle(self, socket: ServerConnection) -> None:
        self.peers.put_nowait(Peer(socket))
        with contextlib.suppress(ConnectionClosed):
            await socket.wait_closed()


@contextlib.asynccontextmanager
async def scripted_router() -> AsyncIterator[ScriptedRouter]:
    router = ScriptedRouter()
    async with serve(router.handle, "127.0.0.1", 0, subprotocols=["postroom.v1"], close_timeout=0.5) as server:
        port = server.sockets[0].getsockname()[1]
        router.url = f"ws://127.0.0.1:{port}/v1/ws"
        yield router


def attached(offset: int = 0, recovery: str = "fresh", replay: int = 0, state: dict | None = None, **fields) -> dict:
    return {"epoch": EPOCH, "offset": offset, "recovery": recovery, "replay": replay, "state": state or {}, **fields}


def event(offset: int, prev: int | None = None, room: str = "session:1", **fields) -> dict:
    return {
        "room": room,
        "offset": offset,
        "prev": offset - 1 if prev is None else prev,
        "id": f"id-{offset}",
        "kind": "progress",
        "time": "2026-01-02T03:04:05.678Z",
        "data": {"current": offset},
        **fields,
    }
