"""The thread that sends a service's events: batches of `Outgoing` in, HTTP requests out, outcomes back.

One request at a time, so the order that the application gave is the order that the router gets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable

import aiohttp
import msgspec

from ._backoff import Backoff
from ._errors import ClientClosed, CommandError, PostroomError
from ._events import Receipt
from ._messages import Message
from ._names import Names
from ._outcomes import Answer, Outcome, read_answer
from ._outgoing import Entry, Outgoing
from ._tokens import Tokens
from ._version import __version__

__all__ = ["Refused", "Sender"]

_logger = logging.getLogger("postroom_client")

_INTERNAL_ATTEMPTS = 8
"""How often an event may make the router fail before it counts as refused: it may be what breaks it."""

_INTERNAL = frozenset({"internal", "http_500"})

_NOBODYS_FAULT = frozenset({"unauthenticated", "token_expired", "http_401", "http_403", "http_404", "http_405"})
"""Refusals that hold for every event of a batch. After any other, its events are tried one by one."""

_UNREACHABLE = " (is a router there, and is this the port of its HTTP API, 8001 unless set otherwise?)"


class Refused(msgspec.Struct, frozen=True):
    """An event that will not be delivered."""

    message: Message
    event_id: str
    error: PostroomError
    """The router's `CommandError`, or `ClientClosed` where the service was closed before it was sent."""


class Sender:
    """Sends what is in a buffer until it is stopped.

    Args:
        url: The router's HTTP address.
        tokens: Where tokens come from; called on the sender's thread.
        outgoing: The buffer.
        backoff: Delays between attempts.
        timeout_s: How long one request may take, in seconds.
        on_refused: Called on the sender's thread with every event that nobody waits for and that is refused.
    """

    def __init__(
        self,
        url: str,
        tokens: Tokens,
        outgoing: Outgoing,
        backoff: Backoff,
        timeout_s: float,
        on_refused: Callable[[Refused], None] | None,
    ) -> None:
        self._url = url.rstrip("/") + "/v1/publish"
        self._tokens = tokens
        self._outgoing = outgoing
        self._backoff = backoff
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._on_refused = on_refused
        self._token: str | None = None
        self._failures = 0
        self._reached = False
        self._idle = False
        self._stopping = False
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        self._hurried = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="postroom service", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that something was added. Any thread."""
        if self._idle:
            self._idle = False
            self._call(self._wake.set)

    def hurry(self) -> None:
        """From now on wait as briefly as the back-off allows: the end is near. Any thread."""
        self._call(self._hurry)

    def stop(self) -> None:
        """Stop after the request that is under way was given up, and wait for the thread. Any thread but its own."""
        self._stopping = True
        self._call(self._interrupt)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _call(self, function: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def _hurry(self) -> None:
        self._hurried.set()
        self._outgoing.hurry()
        self._wake.set()

    def _interrupt(self) -> None:
        self._main.cancel()

    def _run(self) -> None:
        self._main = self._loop.create_task(self._send_all())
        try:
            self._loop.run_until_complete(self._main)
        except asyncio.CancelledError:
            pass
        except Exception:
            _logger.exception("the service's sender failed")
        finally:
            self._outgoing.close()
            for entry in self._outgoing.leftovers():
                self._refuse(entry, ClientClosed())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _send_all(self) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": f"postroom-client-python/{__version__}"}
        connector = aiohttp.TCPConnector(resolver=Names())
        async with aiohttp.ClientSession(connector=connector, timeout=self._timeout, headers=headers) as session:
            while not self._stopping:
                self._wake.clear()
                self._idle = True
                batch = self._outgoing.next_batch(time.monotonic())
                if batch.entries:
                    self._idle = False
                    answer = await self._post(session, batch.body, len(batch.entries))
                    await self._pause(self._take(batch.entries, answer), answer)
                else:
                    await self._wait(batch.wait_s)

    async def _pause(self, delay_s: float, answer: Answer) -> None:
        """Wait before the next request: when there is a hurry, only as long as the router said."""
        if not delay_s or self._hurried.is_set():
            await asyncio.sleep(delay_s)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._hurried.wait()
                await asyncio.sleep(_told_s(answer))

    async def _wait(self, timeout_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):  # a room that was held back may be sent to again
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()

    async def _post(self, session: aiohttp.ClientSession, body: bytes, events: int) -> Answer:
        """Send one batch; a token that the router takes no longer is fetched anew, once."""
        fresh = False
        while True:
            if self._token is None:
                fresh = True
                try:
                    self._token = await self._tokens.fetch()
                except Exception as error:
                    _logger.warning("no fresh token", exc_info=error)
                    return Answer(error=CommandError("unauthenticated", f"no token: {type(error).__name__}", True))
            headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
            try:
                async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                    content = await response.read()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                return Answer(error=CommandError("unreachable", str(error) or type(error).__name__, True))
            if response.status == 401:
                self._token = None
                if self._tokens.renewable and not fresh:
                    continue
            return read_answer(response.status, response.headers.get("Retry-After"), content, events)

    def _take(self, entries: list[Entry], answer: Answer) -> float:
        """Give every event its outcome, or put it back; return the seconds to wait before the next request."""
        if answer.outcomes is not None:
            self._failures = 0
            self._reached = True
            self._take_each(entries, answer.outcomes)
            return 0
        error = answer.error or CommandError("internal", "no outcome", True)
        worn_out = error.code in _INTERNAL and all([self._fails(entry) for entry in entries])
        if error.temporary and not worn_out:
            self._outgoing.put_back(entries)
            self._failures += 1
            delay_s = max(self._backoff_s(self._failures), _told_s(answer))
            self._say_that_events_wait(error, delay_s)
            return delay_s
        self._failures = 0
        if len(entries) > 1 and error.code not in _NOBODYS_FAULT:
            for entry in entries:
                entry.alone = True
                entry.failures = 0
            self._outgoing.put_back(entries)
        else:
            for entry in entries:
                self._refuse(entry, error)
                self._outgoing.settle(entry)
        return 0

    def _say_that_events_wait(self, error: CommandError, delay_s: float) -> None:
        """Warn once for each time that the router is away: a program that only waits would not say why."""
        level = logging.WARNING if self._failures == 1 else logging.INFO
        hint = _UNREACHABLE if error.code == "unreachable" and not self._reached else ""
        words = "%d events wait for %s, next attempt in %.1f s: %s%s"
        _logger.log(level, words, len(self._outgoing), self._url, delay_s, error, hint)

    def _take_each(self, entries: list[Entry], outcomes: list[Outcome]) -> None:
        again: list[Entry] = []
        for entry, outcome in zip(entries, outcomes, strict=True):
            if isinstance(outcome, Receipt):
                entry.resolve(outcome)
                self._outgoing.settle(entry)
            elif outcome.temporary and not (outcome.code in _INTERNAL and self._fails(entry)):
                entry.attempts += 1
                now, told_s = time.monotonic(), _retry_after_s(outcome)
                self._outgoing.hold(entry.room, now + max(self._backoff_s(entry.attempts), told_s), now + told_s)
                again.append(entry)
            else:
                self._refuse(entry, outcome)
                self._outgoing.settle(entry)
        self._outgoing.put_back(again)

    def _backoff_s(self, attempt: int) -> float:
        return self._backoff.floor_s if self._hurried.is_set() else self._backoff.delay_s(attempt)

    def _fails(self, entry: Entry) -> bool:
        """Count that the router failed over an event; return whether that was once too often."""
        entry.failures += 1
        return entry.failures >= _INTERNAL_ATTEMPTS

    def _refuse(self, entry: Entry, error: PostroomError) -> None:
        if entry.resolve(error):
            return
        _logger.error(
            "not delivered: %s to %s, event id %s: %s",
            type(entry.message).__name__,
            entry.room,
            entry.event_id,
            error,
        )
        if self._on_refused is not None:
            try:
                self._on_refused(Refused(entry.message, entry.event_id, error))
            except Exception:
                _logger.exception("on_refused failed")


def _told_s(answer: Answer) -> float:
    return max(answer.retry_after_s, 0 if answer.error is None else _retry_after_s(answer.error))


def _retry_after_s(error: CommandError) -> float:
    return (error.retry_after_ms or 0) / 1000
