"""The two ways to publish, written by hand: events in, for each what the router said of it, or that it said nothing."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

import aiohttp
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from ..checker.records import Receipt

__all__ = ["Answer", "Event", "Nothing", "Refused", "Way", "over_http", "over_websocket"]

_ANSWER_S = 5.0
_BACK_S = 0.05


class Event(NamedTuple):
    """What is published."""

    room: str
    event_id: str
    number: int
    kind: str
    data: dict[str, Any]

    @property
    def body(self) -> dict[str, Any]:
        """The fields that both ways send."""
        return {"room": self.room, "kind": self.kind, "data": self.data, "event_id": self.event_id}


class Refused(NamedTuple):
    """The router did not take it."""

    code: str
    temporary: bool


class Nothing(enum.Enum):
    """The router said nothing."""

    UNKNOWN = "unknown"
    """It was sent, and may have been taken."""
    NOT_SENT = "not sent"
    """There was no connection to send it on."""


Answer = Receipt | Refused | Nothing


class Way(Protocol):
    """How to publish."""

    async def publish(self, events: list[Event]) -> list[Answer]:
        """Publish events, each once; return what is known of each."""


# --- HTTP


class _Http:
    def __init__(self, session: aiohttp.ClientSession, url: Callable[[], str]) -> None:
        self._session = session
        self._url = url

    async def publish(self, events: list[Event]) -> list[Answer]:
        bodies = [event.body for event in events]
        data = msgspec.json.encode(bodies[0] if len(bodies) == 1 else bodies)
        try:
            async with self._session.post(f"{self._url()}/v1/publish", data=data) as response:
                answer = msgspec.json.decode(await response.read())
        except aiohttp.ClientConnectorError:
            return [Nothing.NOT_SENT] * len(events)
        except (aiohttp.ClientError, msgspec.DecodeError, TimeoutError, OSError):
            return [Nothing.UNKNOWN] * len(events)
        if "code" in answer:
            return [Refused(answer["code"], answer["temporary"])] * len(events)
        return [_answer(result.get("error", result)) for result in answer["results"]]


@asynccontextmanager
async def over_http(url: Callable[[], str]) -> AsyncIterator[Way]:
    """Publish with `POST /v1/publish`, each time to the address that `url` returns then."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S)) as session:
        yield _Http(session, url)


# --- WebSocket


class _WebSocket:
    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._ids = itertools.count(1)
        self._connection: ClientConnection | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    async def publish(self, events: list[Event]) -> list[Answer]:
        return list(await asyncio.gather(*map(self._publish, events)))

    async def _publish(self, event: Event) -> Answer:
        connection = self._connection
        if connection is None or connection.transport.is_closing():
            return Nothing.NOT_SENT
        number = next(self._ids)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(_ANSWER_S):
                await _say(connection, "publish", id=number, **event.body)
                await answer
        except (WebSocketException, OSError, TimeoutError):
            return Nothing.UNKNOWN
        finally:
            self._waiting.pop(number, None)
        return answer.result()

    async def run(self) -> None:
        """Be connected, again and again."""
        while True:
            with contextlib.suppress(WebSocketException, OSError, TimeoutError):
                async with connect(self._url(), proxy=None, compression=None, ping_interval=None) as connection:
                    await _say(connection, "hello")
                    await self._read(connection)
            await asyncio.sleep(_BACK_S)

    async def _read(self, connection: ClientConnection) -> None:
        try:
            async for text in connection:
                message = msgspec.json.decode(text)
                if message["type"] == "welcome":
                    self._connection = connection
                elif (waiting := self._waiting.pop(message.get("id"), None)) is not None and not waiting.done():
                    waiting.set_result(_answer(message))
        finally:
            self._connection = None
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(Nothing.UNKNOWN)


@asynccontextmanager
async def over_websocket(url: Callable[[], str]) -> AsyncIterator[Way]:
    """Publish with `publish` over one connection; when it breaks, one is opened to what `url` returns then."""
    way = _WebSocket(url)
    running = asyncio.create_task(way.run())
    try:
        yield way
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def _say(connection: ClientConnection, type: str, **fields: Any) -> None:
    await connection.send(msgspec.json.encode({"type": type, **fields}).decode())


def _answer(said: dict[str, Any]) -> Answer:
    if "code" in said:
        return Refused(said["code"], said["temporary"])
    return msgspec.convert(said, Receipt)
