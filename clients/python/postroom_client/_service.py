"""A service's reference to the router: `tell` and `ask` from any thread, sent by a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import urllib.parse
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from ._backoff import Backoff
from ._errors import ClientClosed, CommandTimeout
from ._events import Receipt
from ._messages import Message
from ._outgoing import Entry, Outgoing
from ._sender import Refused, Sender
from ._tokens import Tokens, TokenSource

__all__ = ["Service"]

_logger = logging.getLogger("postroom_client")

_services: weakref.WeakSet[Service] = weakref.WeakSet()

_open: set[Service] = set()
"""Those whose thread was started and that are not closed: what they hold is not forgotten with the last reference."""

_left_to_parents: list[Sender] = []
"""Senders whose thread a fork did not copy. They stay as they are: the parent's loop waits on the same epoll instance,
so tidying up here would take the parent's sockets from it."""


def _begin_in_child() -> None:
    for service in list(_services):
        service._leave_to_parent()


@atexit.register
def _say_what_is_lost() -> None:
    for service in list(_open):
        if events := service.pending:
            _logger.error("%d events are lost with this process: close the service %s", events, service)


if hasattr(os, "register_at_fork"):  # where processes can fork
    os.register_at_fork(after_in_child=_begin_in_child)


class Service:
    """A remote actor reference: give it events, from any thread or loop, and the router delivers them.

    Events wait in a bounded buffer and leave in the order they came, as many per request as there are (up to 1,000), so
    a busy service makes few requests and a quiet one waits for nothing. What fails for a reason that may pass (no
    connection, a time-out, 429, 5xx, an error that the router calls temporary) is sent again, with growing random
    delays or when the router said (`Retry-After`), as long as it takes, in its place before later events of its room,
    and with the same event id: the router takes it once. Only an event that makes the router fail (`internal`) eight
    times is refused.

    The thread starts with the first event. Close the service (or use it in a `with` or `async with` block): what is
    in the buffer of a process that ends is lost, and the log says how much that was.

    A service that was made before a fork works on both sides of it. The forked process begins with an empty buffer and
    a thread of its own; what waited stays with the parent, which sends it. Each of the two closes its own.

    Args:
        url: The router's HTTP address, for example `http://127.0.0.1:8001`.
        token: A token, or a callable (sync or async, called on the service's thread) that returns a fresh one; called
            for the first request and whenever the router takes the last one no longer. None: no token (`--dev`).
        buffer_events: How many events it holds at most.
        buffer_bytes: How many bytes of JSON it holds at most.
        on_refused: Called on the service's thread with every `tell` that is refused for good; it must not block. None:
            refused events are only logged (never their payload).
        backoff: Delays between attempts. None: 0.5 to 20 s.
        request_timeout_s: How long one request may take, in seconds.
        close_timeout_s: How long the end of a `with` block waits for what is in the buffer, in seconds.

    Raises:
        ValueError: `url` is not an HTTP address.
    """

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource = None,
        buffer_events: int = 10_000,
        buffer_bytes: int = 64 * 1024 * 1024,
        on_refused: Callable[[Refused], None] | None = None,
        backoff: Backoff | None = None,
        request_timeout_s: float = 10.0,
        close_timeout_s: float = 10.0,
    ) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"url {url!r}: give the router's HTTP address, like 'http://127.0.0.1:8001'")
        self._url = url
        self._tokens = Tokens(token)
        self._buffer = (buffer_events, buffer_bytes)
        self._on_refused = on_refused
        self._backoff = backoff or Backoff()
        self._request_timeout_s = request_timeout_s
        self._close_timeout_s = close_timeout_s
        self._closed = False
        self._begin()
        _services.add(self)

    def __repr__(self) -> str:
        return f"<Service {self._url}, {self.pending} events wait>"

    @property
    def pending(self) -> int:
        """How many events wait or are being sent."""
        return len(self._outgoing)

    def tell(self, message: Message) -> str:
        """Take an event to deliver and return its event id at once. Any thread; never blocks.

        Raises:
            BufferFull: The buffer is full, as it is when the router cannot be reached for long; nothing is dropped but
                this event, and whether to try again is the caller's choice.
            ClientClosed: The service was closed.
            TypeError, ValueError: The message cannot be written as JSON.
        """
        return self._add(message, None).event_id

    async def ask(self, message: Message, *, timeout: float = 30.0) -> Receipt:
        """Deliver an event and return its receipt once it is committed. Any loop.

        It takes its place behind what was told before.

        Args:
            message: The event.
            timeout: How long to wait, in seconds.

        Raises:
            CommandError: The router refused it for good.
            CommandTimeout: No answer in time; it may have happened or not. Ask again with its `event_id`.
            BufferFull: As for `tell`.
            ClientClosed: The service was closed before the event was committed.
        """
        receipt: Future[Receipt] = Future()
        entry = self._add(message, receipt)
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(receipt)
        except TimeoutError:
            raise CommandTimeout("ask", timeout, entry.event_id) from None

    def ask_sync(self, message: Message, timeout: float = 30.0) -> Receipt:
        """Do what `ask` does for a thread: block until the receipt is there. Not for a loop's thread, it would stop.

        Raises:
            CommandError, CommandTimeout, BufferFull, ClientClosed: As for `ask`.
        """
        receipt: Future[Receipt] = Future()
        entry = self._add(message, receipt)
        try:
            return receipt.result(timeout)
        except TimeoutError:
            if not receipt.cancel():
                return receipt.result(0)  # it came at the last moment
            raise CommandTimeout("ask", timeout, entry.event_id) from None

    def flush(self, timeout: float | None = None) -> bool:
        """Block until the outcome of everything told before is known; return whether it is. Not for a loop's thread.

        Args:
            timeout: How long at most, in seconds. None: as long as it takes.
        """
        return self._outgoing.wait_until_sent(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Take no more events, deliver what waits, and stop. Blocks; not for a loop's thread (see `aclose`).

        After failures it tries again sooner than before. What is not delivered in time is refused with `ClientClosed`.
        More than once does nothing.

        Args:
            timeout: How long delivering may take, in seconds. None: `close_timeout_s`.
        """
        self._outgoing.close()
        if self._sender is not None:
            self._sender.hurry()
        self._outgoing.wait_until_sent(self._close_timeout_s if timeout is None else timeout)
        with self._starting:
            self._closed = True
        if self._sender is not None:
            self._sender.stop()
        _open.discard(self)

    async def aclose(self, timeout: float | None = None) -> None:
        """Do what `close` does without stopping the loop."""
        await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _begin(self) -> None:
        """Begin without events and without a thread."""
        self._outgoing = Outgoing(*self._buffer)
        self._starting = threading.Lock()
        self._sender: Sender | None = None

    def _leave_to_parent(self) -> None:
        """Begin anew in a process that was just forked."""
        if self._sender is not None:
            _left_to_parents.append(self._sender)
        _open.discard(self)
        self._begin()

    def _add(self, message: Message, receipt: Future[Receipt] | None) -> Entry:
        entry = Entry(message, receipt)
        sender = self._sender or self._start()
        self._outgoing.add(entry)
        sender.wake()
        return entry

    def _start(self) -> Sender:
        with self._starting:
            if self._closed:
                raise ClientClosed
            if self._sender is None:
                self._sender = Sender(
                    self._url,
                    self._tokens,
                    self._outgoing,
                    self._backoff,
                    self._request_timeout_s,
                    self._on_refused,
                )
                _open.add(self)
            return self._sender
