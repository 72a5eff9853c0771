"""The connection and its successors: opens, says hello, reads, writes, and comes back after every break.

Bytes from the socket go to `Commands` (answers) and `Rooms` (everything about rooms); frames of `Commands` go to the
socket. What a break means is decided in `_closing`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NoReturn

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.http11 import Response

from ._backoff import Backoff
from ._closing import ending_of_close, ending_of_hello, ending_of_status
from ._commands import Broken, Commands
from ._errors import ConnectFailed
from ._events import Event
from ._positions import Skipped
from ._rooms import Rooms
from ._tokens import Tokens
from ._version import __version__
from ._wire import (
    ErrorMessage,
    MalformedMessage,
    NoticeMessage,
    RefreshedMessage,
    RevokedMessage,
    ServerMessage,
    SubscribedMessage,
    UnsubscribedMessage,
    WelcomeMessage,
    decode,
    encode,
)

__all__ = ["Link"]

_NOTICES = {
    "resumed": "resumed; it repaired this connection and nothing is missing",
    "draining": "draining; it stops, and this client comes back in its slot",
    "token_expiring": "token_expiring; the token ends soon",
}
_logger = logging.getLogger("postroom_client")

_WELCOME_TIMEOUT_S = 10.0
_BETWEEN_RENEWALS_S = 5.0
_MOST_SAID = 1000
"""Characters of an answer's text that an error repeats."""


class _Break(msgspec.Struct, frozen=True):
    """A connection is over, or did not come about; the client comes back."""

    reason: str
    cause: Exception | None = None
    at_least_s: float = 0
    slot_s: float | None = None
    """The draining router's advice; None: back off."""


class Link:
    """Keeps one client connected.

    Attributes:
        welcome: The last welcome; None before the first.
        connected: Whether there is a connection now that was welcomed.
        expires_at: When the token ends, as the router said last; None: not, or not known.
        last_break: Why the last attempt or connection ended.
    """

    def __init__(
        self,
        open_socket: Callable[[], Awaitable[ClientConnection]],
        tokens: Tokens,
        commands: Commands,
        rooms: Rooms,
        backoff: Backoff,
    ) -> None:
        self.welcome: WelcomeMessage | None = None
        self.connected = False
        self.expires_at: datetime | None = None
        self.last_break: _Break | None = None
        self.greeted = asyncio.Event()
        self._open_socket = open_socket
        self._tokens = tokens
        self._commands = commands
        self._rooms = rooms
        self._backoff = backoff
        self._slot_s: float | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._renewed_at = -math.inf

    async def run(self) -> None:
        """Connect again and again. Ends only with the error that ends the client, or when cancelled."""
        attempt = 0
        try:
            while True:
                began = time.monotonic()
                self._slot_s = None
                self.last_break = end = await self._connection()
                if end.slot_s is not None or time.monotonic() - began >= self._backoff.cap_s:
                    attempt = 0
                if end.slot_s is not None:
                    delay_s = end.slot_s
                else:
                    attempt += 1
                    delay_s = max(self._backoff.delay_s(attempt), end.at_least_s)
                _logger.info("not connected: %s; next attempt in %.1f s", end.reason, delay_s)
                await asyncio.sleep(delay_s)
        finally:
            if self._renewal is not None:
                self._renewal.cancel()

    async def _connection(self) -> _Break:
        """Live one connection and return why it broke; raise what ends the client."""
        try:
            token = await self._tokens.fetch()
        except Exception as error:
            if self.welcome is None:
                raise
            _logger.warning("no fresh token", exc_info=error)
            return _Break("no fresh token", error)
        try:
            socket = await self._open_socket()
        except InvalidURI as error:
            raise ConnectFailed(error.uri, error.msg) from error
        except InvalidStatus as error:
            said, status = _text(error.response), error.response.status_code
            ending = ending_of_status(status, said, was_connected=self.welcome is not None)
            if ending is not None:
                raise ending from error
            return _Break(f"the handshake got HTTP {error.response.status_code}", error)
        except (OSError, WebSocketException) as error:
            return _Break(str(error) or type(error).__name__, error)
        writer: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(_WELCOME_TIMEOUT_S):
                refused = await self._greet(socket, token)
            if refused is not None:
                return refused
            writer = asyncio.create_task(self._write(socket), name="postroom write")
            await self._read(socket)
        except ConnectionClosed as error:
            return self._closed(error)
        except TimeoutError as error:
            return _Break(f"no welcome within {_WELCOME_TIMEOUT_S:g} s", error)
        except MalformedMessage as error:
            _logger.warning("not the protocol: %s", error)
            return _Break(f"not the protocol: {error}", error)
        finally:
            self.connected = False
            self._rooms.disconnected()
            self._commands.disconnected()
            if writer is not None:
                writer.cancel()
            await socket.close()

    async def _greet(self, socket: ClientConnection, token: str | None) -> _Break | None:
        """Say hello and take the welcome in; return a break where the router refuses for now."""
        hello_id = self._commands.next_id()
        client = {"name": "postroom-client-python", "version": __version__}
        fields = {"token": token, "client": client, "resume": self._rooms.resume() or None}
        await socket.send(encode("hello", fields, hello_id), text=True)
        while True:
            message = decode(await socket.recv(decode=False))
            if isinstance(message, WelcomeMessage):
                self.welcome = message
                self.expires_at = message.expires_at
                self._commands.message_bytes = message.limits.message_bytes
                self._commands.reconnected()
                self._rooms.welcome(message)
                self.connected = True
                self.greeted.set()
                _logger.info("connected as %s (%s), connection %s", message.user, message.role, message.connection)
                return None
            if isinstance(message, ErrorMessage):
                ending = ending_of_hello(message, can_renew=self._tokens.renewable)
                if ending is not None:
                    raise ending
                return _Break(f"hello: {message.code}", at_least_s=(message.retry_after_ms or 0) / 1000)
            if isinstance(message, NoticeMessage):
                self._notice(message)

    async def _read(self, socket: ClientConnection) -> NoReturn:
        while True:
            message = decode(await socket.recv(decode=False))
            if isinstance(message, Event):
                stream = self._rooms.event(message)
            elif isinstance(message, Skipped):
                stream = self._rooms.skipped(message)
            else:
                if message is not None:
                    self._take(message)
                continue
            if stream is not None and stream.full:
                await self._rooms.wait_for_space(stream)

    async def _write(self, socket: ClientConnection) -> None:
        try:
            while True:
                await socket.send(await self._commands.next_frame(), text=True)
        except ConnectionClosed:
            pass  # the reader sees it too, and says what it means

    def _take(self, message: ServerMessage) -> None:
        """Take in whatever is not an event."""
        match message:
            case SubscribedMessage():
                self._rooms.subscribed(message)
            case UnsubscribedMessage():
                self._rooms.unsubscribed(message)
            case RevokedMessage():
                self._rooms.revoked(message)
                return
            case NoticeMessage():
                self._notice(message)
                return
            case RefreshedMessage():
                self.expires_at = message.expires_at
            case Event() | Skipped() | WelcomeMessage():
                return
        command = self._commands.waiting(message.id)
        if command is not None:
            self._commands.settle(command, message)
        elif isinstance(message, ErrorMessage):
            _logger.debug("the router refused something nobody waits for: %s", message.code)

    def _notice(self, message: NoticeMessage) -> None:
        _logger.info("the router says: %s", _NOTICES.get(message.code, message.code))
        if message.code == "draining":
            self._slot_s = max(message.reconnect_in_ms, 0) / 1000
        elif message.code == "token_expiring":
            if self._renewal is not None and not self._renewal.done():
                return
            if self._tokens.renewable:
                self._renewal = asyncio.create_task(self._renew(), name="postroom renew token")
            else:
                _logger.warning("the token ends at %s, and `token` is no callable: call refresh()", message.expires_at)

    async def _renew(self) -> None:
        # Tokens that live shorter than the router's warning time bring the next notice at once.
        await asyncio.sleep(self._renewed_at + _BETWEEN_RENEWALS_S - time.monotonic())
        self._renewed_at = time.monotonic()
        try:
            await self._commands.add("refresh", {"token": await self._tokens.fetch()}, once=True).answer
        except Broken:
            pass  # the next hello carries a fresh one
        except Exception as error:
            _logger.warning("no fresh token, the router will close when the old one ends", exc_info=error)

    def _closed(self, error: ConnectionClosed) -> _Break:
        received = error.rcvd
        code, reason = (received.code, received.reason) if received is not None else (None, "")
        ending = ending_of_close(code, reason, can_renew=self._tokens.renewable)
        if ending is not None:
            raise ending from error
        if code is None:
            reason = reason or "the connection broke"
        return _Break(f"{reason} (code {code})" if code is not None else reason, error, slot_s=self._slot_s)


def _text(response: Response) -> str:
    """Return what an answer says in plain text, as one line; a page of a proxy's says nothing."""
    if not response.headers.get("Content-Type", "").startswith("text/plain"):
        return ""
    text = bytes(response.body or b"").decode(errors="replace")[:_MOST_SAID]
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
