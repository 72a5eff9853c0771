"""A client for event streams, which reads them as the specification says (WHATWG HTML, 9.2.6) and hides nothing."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from .native_client import WAIT_S, Message
from .raw_client import small_socket

__all__ = ["Block", "EventSource", "SlowSource", "parse"]


class Block(NamedTuple):
    """One event of a stream."""

    event: str
    data: Message
    id: str
    """The last event id by now, of this block or one before."""
    retry: int | None


def parse(text: str, last_event_id: str = "") -> Block | None:
    """Read one block, without the blank line after it; None: it holds no event."""
    event, data, retry = "message", list[str](), None
    for line in re.split(r"\r\n|\n|\r", text):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            event = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            last_event_id = value
        elif field == "retry":
            retry = int(value)
        else:
            assert not field, f"{line!r} is no field of a stream"
    return Block(event, json.loads("\n".join(data)), last_event_id, retry) if data else None


class EventSource:
    """One stream.

    Args:
        api_url: Of the router.
        room: The room's name.
        token: For the header; None: none.
        last_event_id: For `Last-Event-ID`; empty: none.
        query: Parameters of the URL.
        headers: Others.
    """

    def __init__(
        self,
        api_url: str,
        room: str,
        token: str | None = None,
        *,
        last_event_id: str = "",
        query: Message | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._url = f"{api_url}/v1/rooms/{room}/stream"
        self._query = query
        self.headers = dict(headers or {})
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"
        if last_event_id:
            self.headers["Last-Event-ID"] = last_event_id
        self.id = last_event_id
        self._session = aiohttp.ClientSession()
        self.response: aiohttp.ClientResponse
        self.content: aiohttp.StreamReader | asyncio.StreamReader

    async def __aenter__(self) -> EventSource:
        async with asyncio.timeout(WAIT_S):
            self.response = await self._session.get(self._url, params=self._query, headers=self.headers)
        self.content = self.response.content
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.response.close()
        await self._session.close()

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return self.response.status

    async def problem(self) -> Message:
        """Return the answer of a request that was refused."""
        assert self.response.content_type == "application/problem+json"
        problem: Message = await self.response.json()
        assert problem["status"] == self.status
        return problem

    async def next(self) -> Block:
        """Return the next event.

        Raises:
            EOFError: The stream has ended.
        """
        async with asyncio.timeout(WAIT_S):
            block = parse((await self._read_block()).decode(), self.id)
        assert block is not None, "a block without data"
        self.id = block.id
        return block

    async def _read_block(self) -> bytes:
        try:
            text = await self.content.readuntil(b"\n\n")
        except (asyncio.IncompleteReadError, ConnectionError, aiohttp.ClientError):
            raise EOFError from None
        if not text.endswith(b"\n\n"):  # this, too, is how the end is told
            raise EOFError
        return text

    async def take(self, count: int) -> list[Block]:
        """Return so many events."""
        return [await self.next() for _ in range(count)]

    async def until(self, event: str) -> list[Block]:
        """Return the events up to the first one of this name."""
        blocks = [await self.next()]
        while blocks[-1].event != event:
            blocks.append(await self.next())
        return blocks

    async def rest(self) -> list[Block]:
        """Return the events up to the end of the stream."""
        blocks: list[Block] = []
        while True:
            try:
                blocks.append(await self.next())
            except EOFError:
                return blocks


class SlowSource(EventSource):
    """A stream for which neither the kernel nor the client keeps much, so that not reading shows soon."""

    async def __aenter__(self) -> SlowSource:
        url = urlsplit(self._url)
        assert url.hostname is not None
        assert url.port is not None
        sock = await small_socket(url.hostname, url.port, 16 * 1024)
        self.content, self._writer = await asyncio.open_connection(sock=sock, limit=16 * 1024)
        self._writer.write(f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        head = await self.content.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        await self._session.close()
