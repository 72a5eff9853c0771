"""How long a socket of the API may wait for a request: the HTTP library's protocol in, the same with a timer out.

The library bounds the time between two requests, and not that in which the head of one must come.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from aiohttp import web

from .answers import Handler

__all__ = ["HEAD_S", "IDLE_S", "HeadTimer", "SocketUser", "head_is_there"]

HEAD_S = 10.0
"""How long the head of a request may take, from its first byte, or from when the socket was opened."""
IDLE_S = 75.0
"""How long a socket may stay without a request after one."""


class SocketUser(Protocol):
    """Who writes to a socket beside the library."""

    def full(self) -> None:
        """The socket takes no more."""

    def settle(self) -> None:
        """The socket takes bytes again."""

    def lost(self) -> None:
        """The socket is gone."""


class HeadTimer(asyncio.Protocol):
    """Closes a socket on which no whole head of a request comes in time, and tells who writes to it how it is.

    Args:
        handler: The library's protocol.
    """

    def __init__(self, handler: asyncio.Protocol) -> None:
        self._handler = handler
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._between = False
        """Whether nothing of the next request has come."""
        self.full = False
        """Whether the socket takes no more for now."""
        self.user: SocketUser | None = None
        """Who writes to it beside the library; None: nobody does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without being of the class
        self._wait(HEAD_S)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Hand bytes on; the first ones of a request set the time for its head."""
        if self._between:
            self._between = False
            self._wait(HEAD_S)
        self._handler.data_received(data)

    def begun(self) -> None:
        """The head is there."""
        self._between = False
        self._cancel()

    def ended(self) -> None:
        """The request is answered."""
        self._between = True
        self._wait(IDLE_S)

    def eof_received(self) -> bool | None:
        """Hand the end on."""
        return self._handler.eof_received()

    def pause_writing(self) -> None:
        """Hand it on."""
        self.full = True
        self._handler.pause_writing()
        if self.user is not None:
            self.user.full()

    def resume_writing(self) -> None:
        """Hand it on."""
        self.full = False
        self._handler.resume_writing()
        if self.user is not None:
            self.user.settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave no timer behind."""
        self._cancel()
        self._transport = None
        self._handler.connection_lost(exc)
        user, self.user = self.user, None
        if user is not None:
            user.lost()

    def _wait(self, seconds: float) -> None:
        self._cancel()
        if self._transport is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@web.middleware
async def head_is_there(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Stop the socket's timer while a request is answered."""
    timer = request.transport.get_protocol() if request.transport is not None else None
    if not isinstance(timer, HeadTimer):
        return await handler(request)
    timer.begun()
    try:
        return await handler(request)
    finally:
        timer.ended()
