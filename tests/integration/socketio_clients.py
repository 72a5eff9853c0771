"""The official clients of Socket.IO under one face: orders in, what happens to their sockets out."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiohttp
import socketio

from ..native_client import WAIT_S, Message
from ..node import running_node

__all__ = ["CLIENTS", "Official", "official"]

CLIENTS = ("javascript", "python")


class Official(Protocol):
    """One client, with positions that it follows and brings along each time it connects.

    What happens is told as `{"what": "connect" | "disconnect" | "connect_error" | "event", ...}`.
    """

    async def send(self, do: str, **fields: Any) -> None:
        """Give an order."""

    async def next(self, what: str | None = None) -> Message:
        """Return what happened next (of this sort; what came before is kept)."""

    async def ask(self, do: str, **fields: Any) -> Message:
        """Give an order and return what came of it."""


@asynccontextmanager
async def official(name: str) -> AsyncIterator[Official]:
    """Run one of `CLIENTS`."""
    if name == "javascript":
        async with running_node("socketio.js") as script:
            yield script
    else:
        async with aiohttp.ClientSession() as session:  # its own it leaves open where the router disconnects it
            client = _Python(session)
            try:
                yield client
            finally:
                await client.stop()


class _Python:
    """The official client of Python, in this process."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._client = socketio.AsyncClient(
            reconnection_delay=0.02,
            reconnection_delay_max=0.1,
            randomization_factor=0.0,
            handle_sigint=False,
            http_session=session,
        )
        self._told: deque[Message] = deque()
        self._something = asyncio.Event()
        self._positions: dict[str, Message] = {}
        self._token: str | None = None
        self._namespace = "/"
        self._connecting: tuple[str, dict[str, Any]] = ("", {})

    async def send(self, do: str, **fields: Any) -> None:
        await getattr(self, f"_{do}")(**fields)

    async def ask(self, do: str, **fields: Any) -> Message:
        answer: Message = await getattr(self, f"_{do}")(**fields)
        return answer

    async def next(self, what: str | None = None) -> Message:
        async with asyncio.timeout(WAIT_S):
            while True:
                for place, message in enumerate(self._told):
                    if what in (None, message["what"]):
                        del self._told[place]
                        return message
                self._something.clear()
                await self._something.wait()

    async def stop(self) -> None:
        """Disconnect, or stop to try."""
        await self._client.shutdown()

    def _tell(self, what: str, **fields: Any) -> None:
        self._told.append({"what": what, **fields})
        self._something.set()

    def _follow(self, name: str, about: Any = None) -> None:
        """Take an event: at once, for each is handled in a task of its own."""
        if name == "welcome":
            for room, joined in about["rooms"].items():
                self._begin(room, joined)
        elif name == "skipped":
            self._positions[about["room"]]["offset"] = about["to"]
        elif "prev" in about:
            self._positions[about["room"]]["offset"] = about["offset"]
        self._tell("event", name=name, arguments=[about])

    def _begin(self, room: str, joined: Message) -> None:
        if joined["recovery"] in ("fresh", "none"):
            self._positions[room] = {"epoch": joined["epoch"], "offset": joined["offset"]}

    async def _connect(self, url: str, token: str | None = None, options: dict[str, Any] | None = None) -> None:
        self._token = token
        base, _, namespace = url.removeprefix("http://").partition("/")
        self._namespace = f"/{namespace}"
        self._client.on("connect", lambda: self._tell("connect"), namespace=self._namespace)
        self._client.on("disconnect", lambda reason: self._tell("disconnect", reason=reason), namespace=self._namespace)
        self._client.on("connect_error", self._refused, namespace=self._namespace)
        self._client.on("*", self._follow, namespace=self._namespace)
        self._connecting = f"http://{base}", {"transports": ["websocket"], **(options or {})}
        await self._connect_again()

    async def _connect_again(self) -> None:
        url, options = self._connecting
        with contextlib.suppress(socketio.exceptions.ConnectionError):  # `connect_error` has told of it
            await self._client.connect(url, auth=self._auth, namespaces=[self._namespace], **options)

    def _auth(self) -> Message:
        return {"token": self._token, "resume": self._positions, "client": {"name": "python-socketio"}}

    def _refused(self, data: Any = None) -> None:
        if isinstance(data, dict) and "data" in data:
            self._tell("connect_error", message=data["message"], data=data["data"])
        else:
            self._tell("connect_error", message=str(data), data=data)

    async def _call(self, name: str, argument: Any = None) -> Message:
        answered: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        def take(answer: Message) -> None:
            """Take the answer, before the first event behind it."""
            if name == "subscribe" and "error" not in answer:
                self._begin(answer["room"], answer)
            answered.set_result({"what": "call", "answer": answer})

        await self._client.emit(name, argument, namespace=self._namespace, callback=take)
        async with asyncio.timeout(WAIT_S):
            return await answered

    async def _send(self, name: str, argument: Any = None) -> None:
        await self._client.emit(name, argument, namespace=self._namespace)

    async def _send_binary(self, name: str) -> None:
        await self._client.emit(name, b"binary", namespace=self._namespace)

    async def _give(self, token: str) -> None:
        self._token = token

    async def _disconnect(self) -> None:
        await self._client.disconnect()
