"""A plain client of the Centrifuge protocol, with the `websockets` library and no more."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from server.app import Router

from .native_client import WAIT_S, Message

__all__ = ["CentrifugeClient", "centrifuge_url"]


def centrifuge_url(router: Router) -> str:
    """Where clients of this protocol connect to."""
    return router.addresses.ws_url.replace("/v1/ws", "/connection/websocket")


class CentrifugeClient:
    """One connection. It answers pings; what is not waited for is kept, in order, for `push`.

    Args:
        url: `ws://HOST:PORT/connection/websocket`.
        token: For `connect`; None: none.
        connect: Whether to connect on entering, and keep the answer as `connected`.
        subs: Positions of server-side subscriptions.
        options: For `websockets.connect`.
    """

    def __init__(
        self, url: str, token: str | None = None, *, connect: bool = True, subs: Message | None = None, **options: Any
    ) -> None:
        self._url = url
        self._hello: Message = {"name": "test", "version": "1"}
        if token is not None:
            self._hello["token"] = token
        if subs is not None:
            self._hello["subs"] = {room: {"recover": True, **place} for room, place in subs.items()}
        self._connect = connect
        self._options = {"proxy": None, "compression": None, "ping_interval": None, **options}
        self._ids = itertools.count(1)
        self._kept: deque[Message] = deque()
        self.pings = 0
        self.connected: Message = {}
        self.socket: ClientConnection

    async def __aenter__(self) -> CentrifugeClient:
        self.socket = await connect(self._url, **self._options)
        if self._connect:
            self.connected = await self.ask("connect", **self._hello)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.socket.close()

    async def send(self, *commands: Message) -> None:
        """Send commands as they are, in one frame."""
        await self.socket.send("\n".join(map(json.dumps, commands)))

    async def call(self, method: str, /, **params: Any) -> Message:
        """Send a command and return its reply, an error too; what comes before it is kept."""
        id = next(self._ids)
        await self.send({"id": id, method: params})
        return await self.reply(id)

    async def ask(self, method: str, /, **params: Any) -> Message:
        """Send a command that must succeed; return its result."""
        reply = await self.call(method, **params)
        assert "error" not in reply, reply
        result: Message = reply[method]
        return result

    async def refused(self, method: str, /, **params: Any) -> Message:
        """Send a command that must fail; return the error."""
        reply = await self.call(method, **params)
        assert reply.keys() == {"id", "error"}, reply
        error: Message = reply["error"]
        return error

    async def reply(self, id: int) -> Message:
        """Return the reply to a command; what comes before it is kept."""
        async with asyncio.timeout(WAIT_S):
            while True:
                message = await self._read()
                if message.get("id") == id:
                    return message
                self._kept.append(message)

    async def push(self, what: str | None = None, room: str | None = None) -> Message:
        """Return the next push (of this kind, in this room; others before it are dropped)."""
        async with asyncio.timeout(WAIT_S):
            while True:
                message = self._kept.popleft() if self._kept else await self._read()
                push: Message = message.get("push", {})
                if (what is None or what in push) and (room is None or push["channel"] == room):
                    return push

    async def publications(self, count: int, room: str) -> list[Message]:
        """Return the next `count` publications of a room."""
        return [(await self.push("pub", room))["pub"] for _ in range(count)]

    async def nothing_more(self) -> list[Message]:
        """Return the pushes that have come and were not taken, when the router has answered a `ping` sent now."""
        await self.ask("ping")
        kept, self._kept = list(self._kept), deque()
        return kept

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait until the router closes the connection; return the code and the reason (None: it was cut)."""
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    self._kept.append(await self._read())
                except ConnectionClosed as closed:
                    received = closed.rcvd
                    return (None, None) if received is None else (received.code, received.reason)

    async def _read(self) -> Message:
        while True:
            message: Message = json.loads(await self.socket.recv())
            if message:
                return message
            self.pings += 1
            await self.socket.send("{}")
