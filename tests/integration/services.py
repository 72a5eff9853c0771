"""What the tests of the whole router share: services that publish, and looks behind the router's face."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from pykka.messages import ProxyCall

from actors.codec import Codec
from actors.events import Event
from actors.ledger import ConnectionState
from actors.mailbox import Mailbox
from actors.messages import Publish, Receipt
from actors.replies import Reply
from server.app import Router
from server.clock import SystemClock

from ..native_client import WAIT_S, Message, NativeClient
from ..raw_client import small_socket

__all__ = [
    "FailsOnce",
    "HttpService",
    "SteppedClock",
    "crash",
    "http_service",
    "in_chain",
    "numbers",
    "position",
    "publish",
    "small_client",
    "state_of",
    "wait_until",
]


class HttpService:
    """A service that publishes with `POST /v1/publish`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/v1/publish"

    async def post(self, body: Any) -> tuple[int, Message]:
        """Post one event or a list of them; return the status and the answer."""
        data = io.BytesIO(json.dumps(body).encode())
        async with asyncio.timeout(WAIT_S), self._session.post(self._url, data=data) as response:
            return response.status, json.loads(await response.read())

    async def publish(self, *events: Message) -> list[Message]:
        """Publish events that must be taken; return their receipts."""
        status, answer = await self.post(list(events) if len(events) > 1 else events[0])
        assert status == 200, answer
        results: list[Message] = answer["results"]
        assert all("error" not in result for result in results), results
        return results


@asynccontextmanager
async def http_service(router: Router, token: str | None = None) -> AsyncIterator[HttpService]:
    """Yield a service that speaks to the router's HTTP API."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield HttpService(session, router.addresses.api_url)


async def publish(router: Router, room: str, kind: str, data: Message, **fields: Any) -> Receipt:
    """Publish as a service inside the router's process does; return the receipt."""
    async with asyncio.timeout(WAIT_S):
        (receipt,) = await router.source.ask(Publish(rooms=(room,), kind=kind, data=data, **fields))
    assert isinstance(receipt, Receipt)
    return receipt


@asynccontextmanager
async def small_client(url: str, **options: Any) -> AsyncIterator[NativeClient]:
    """Connect a client for which the kernel keeps little, so that not reading shows soon."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    sock = await small_socket(parts.hostname, parts.port, 16 * 1024)
    async with NativeClient(url, sock=sock, close_timeout=1, **options) as client:
        yield client


def numbers(events: list[Message]) -> list[int]:
    """What `n` says in each event's data."""
    return [event["data"]["n"] for event in events]


def position(joined: Message) -> Message:
    """The position that `subscribed` or `welcome.rooms[room]` stands for."""
    return {"epoch": joined["epoch"], "offset": joined["offset"]}


def in_chain(events: Iterable[Message], after: int = 0) -> int:
    """Check that the events of one room follow each other without a gap; return the position after them."""
    position = after
    for event in events:
        assert event["prev"] == position, f"{event} does not follow {position}"
        assert event["offset"] > position
        position = event["offset"]
    return position


def state_of(router: Router, client: NativeClient) -> ConnectionState:
    """Return what the router holds of a client's connection."""
    (state,) = [state for state in router.registry.states if state.id == client.welcome["connection"]]
    return state


def crash(mailbox: Mailbox) -> None:
    """Make the actor that lives in a mailbox fail."""
    mailbox.tell(ProxyCall(("explode",), (), {}))


async def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition inside the router holds, which no event tells of."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S:g} s: {what}"
        await asyncio.sleep(0.002)


class FailsOnce:
    """A codec that fails the first time it has to write a certain event."""

    def __init__(self, codec: Codec, event_id: str) -> None:
        self._codec = codec
        self._event_id = event_id
        self.failures = 0
        self.decode = codec.decode

    def encode(self, reply: Reply) -> bytes:
        return self._codec.encode(reply)

    def encode_event(self, room: str, event: Event) -> bytes:
        if event.draft.id == self._event_id and not self.failures:
            self.failures += 1
            raise RuntimeError(f"cannot write {self._event_id}")
        return self._codec.encode_event(room, event)


class SteppedClock(SystemClock):
    """The system's timers, and a wall clock that only the test moves."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.now_s = 1_900_000_000.0

    def time(self) -> float:
        """Return the time that the test has set."""
        return self.now_s
