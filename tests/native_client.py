"""A plain client for the tests: the native protocol over a real socket, with the `websockets` library and no more."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
from collections import deque
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

__all__ = ["WAIT_S", "Message", "NativeClient"]

WAIT_S = 10.0
"""How long anything may take before a test gives up on it."""

Message = dict[str, Any]


class NativeClient:
    """One connection. Messages that are not the answer waited for are kept, in order, for `next`.

    Args:
        url: `ws://HOST:PORT/v1/ws`.
        token: For `hello`; None: none.
        hello: Whether to say hello on entering, and keep the answer as `welcome`.
        resume: For `hello`.
        options: For `websockets.connect`.
    """

    def __init__(
        self, url: str, token: str | None = None, *, hello: bool = True, resume: Message | None = None, **options: Any
    ) -> None:
        self._url = url
        self._token = token
        self._hello = hello
        self._resume = resume
        self._options = {"proxy": None, "compression": None, "ping_interval": None, **options}
        self._ids = itertools.count(1)
        self._kept: deque[Message] = deque()
        self.welcome: Message = {}
        self.socket: ClientConnection

    async def __aenter__(self) -> NativeClient:
        self.socket = await connect(self._url, **self._options)
        if self._hello:
            fields: Message = {} if self._token is None else {"token": self._token}
            if self._resume is not None:
                fields["resume"] = self._resume
            self.welcome = await self.ask("hello", **fields)
            assert self.welcome["type"] == "welcome", self.welcome
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.socket.close()

    async def send(self, type: str, **fields: Any) -> None:
        """Send a message without `id`."""
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def ask(self, type: str, **fields: Any) -> Message:
        """Send a command and return its answer, an `error` too; what comes before it is kept."""
        id = next(self._ids)
        await self.send(type, id=id, **fields)
        async with asyncio.timeout(WAIT_S):
            while True:
                message = await self._read()
                if message.get("id") == id and message["type"] != "event":
                    return message
                self._kept.append(message)

    async def next(self, type: str | None = None) -> Message:
        """Return the next message (of this type; others before it are dropped)."""
        async with asyncio.timeout(WAIT_S):
            while True:
                message = self._kept.popleft() if self._kept else await self._read()
                if type is None or message["type"] == type:
                    return message

    async def subscribe(self, room: str, **fields: Any) -> Message:
        """Subscribe, which must be allowed; return the answer."""
        answer = await self.ask("subscribe", room=room, **fields)
        assert answer["type"] == "subscribed", answer
        return answer

    async def events(self, count: int, room: str | None = None) -> list[Message]:
        """Return the next `count` events (of this room)."""
        events: list[Message] = []
        while len(events) < count:
            message = await self.next("event")
            if room is None or message["room"] == room:
                events.append(message)
        return events

    async def nothing_more(self) -> list[Message]:
        """Return what has arrived and was not taken, after the router has answered a `ping` sent now."""
        await self.ask("ping")
        return self.kept()

    def kept(self) -> list[Message]:
        """Return what was read while something else was waited for."""
        kept, self._kept = list(self._kept), deque()
        return kept

    def cut(self) -> None:
        """Reset the TCP connection, as a machine that fails does: no close frame, and nothing more is read or sent."""
        self.socket.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.socket.transport.abort()

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
        message: Message = json.loads(await self.socket.recv())
        return message
