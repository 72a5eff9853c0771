"""Very many clients of one room that read as fast as they can and check every event, cheaply."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self
from urllib.parse import urlsplit

from ..native_client import WAIT_S
from ..raw_client import PONG, TEXT, frame
from .services import wait_until

__all__ = ["Follower", "crowd"]

_TYPE = b'"type":"'
_PING = b"\x89"  # the first byte of a ping; ASCII text has none, and a pong too many does no harm
_HEAD = re.compile(
    rb'"type":"(?:event","room":"doc:1","offset":(\d+),"prev":(\d+),"'
    rb'|(welcome|subscribed|notice|skipped|revoked|error|pong)")'
)


class Follower(asyncio.Protocol):
    """One client. It holds the event heads of each read against those that must come now, as one comparison.

    The data of events must not contain `"type":"`.

    Args:
        expected: The heads of all events that will come, from offset 1 on; shared by all followers.
    """

    def __init__(self, expected: list[tuple[bytes, bytes, bytes]]) -> None:
        self._expected = expected
        self._rest = b""
        self._welcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self.position = 0
        self.others: list[bytes] = []
        """The types of the messages that are no events."""
        self.wrong: str | None = None
        """The first thing that was not as it must be."""
        self.lost = asyncio.get_running_loop().create_future()

    @classmethod
    async def join(cls, url: str, expected: list[tuple[bytes, bytes, bytes]]) -> Self:
        """Connect, say hello and subscribe to doc:1."""
        host, port = urlsplit(url).hostname, urlsplit(url).port
        key = base64.b64encode(os.urandom(16)).decode()
        loop = asyncio.get_running_loop()
        transport, follower = await loop.create_connection(lambda: cls(expected), host, port)
        transport.write(
            f"GET /v1/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        follower.tell({"type": "hello"})
        async with asyncio.timeout(WAIT_S):
            await follower._welcome
        follower.tell({"type": "subscribe", "room": "doc:1"})
        return follower

    def tell(self, command: dict[str, object]) -> None:
        """Send a command."""
        self.transport.write(frame(TEXT, json.dumps(command).encode()))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Check what came; the head of a message may be cut off at the end, and waits for its other half."""
        if _PING in data:
            self.transport.write(frame(PONG))
        data = self._rest + data
        last = data.rfind(_TYPE)
        if last < 0:
            self._rest = data[-len(_TYPE) :]
            return
        heads = _HEAD.findall(data, 0, last)
        head = _HEAD.match(data, last)
        if head is None:
            self._rest = data[last:]
        else:
            heads.append(head.groups(b""))
            self._rest = data[head.end() :][-len(_TYPE) :]
        if heads == self._expected[self.position : self.position + len(heads)]:
            self.position += len(heads)
        else:
            self._take_one_by_one(heads)

    def _take_one_by_one(self, heads: list[tuple[bytes, bytes, bytes]]) -> None:
        for head in heads:
            if head[2]:
                self.others.append(head[2])
                if head[2] == b"welcome":
                    self._welcome.set_result(None)
            elif self.position < len(self._expected) and head == self._expected[self.position]:
                self.position += 1
            elif self.wrong is None:
                self.wrong = f"offset {head[0]!r} with prev {head[1]!r} came at position {self.position}"


@asynccontextmanager
async def crowd(url: str, size: int, events: int) -> AsyncIterator[list[Follower]]:
    """Yield `size` followers of doc:1, which `events` events will be published to."""
    expected = [(b"%d" % (n + 1), b"%d" % n, b"") for n in range(events)]
    async with AsyncExitStack() as stack:
        followers: list[Follower] = []
        while len(followers) < size:
            more = min(50, size - len(followers))
            followers += await asyncio.gather(*(Follower.join(url, expected) for _ in range(more)))
        for follower in followers:
            stack.callback(follower.transport.abort)
        await wait_until(lambda: all(b"subscribed" in each.others for each in followers), "all are subscribed")
        yield followers
