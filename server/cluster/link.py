"""Link: one router's connection to NATS. Messages out and in; whether it is there, and why it is not.

A connection that ends is followed by another one, to whichever server answers; subscriptions are taken along.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from actors.errors import PostroomError

from .client import CONNECT_S, Access, Client, connect, cut, place_of

__all__ = ["AWAY", "NO_LEADER", "ApiError", "Link", "LinkDown", "Listening", "NotAnswered", "said_by_jetstream"]

log = structlog.get_logger("postroom.cluster")

NO_LEADER = (10008, 10009)
"""Errors of JetStream that pass: it is about to find a leader."""
_AGAIN_S = (0.05, 1.0)
"""Between two tries to connect: at first, and at most."""
_LOOK_S = 0.25
"""Between two looks whether a connection has ended."""
_STEADY_S = 10.0
"""A connection that is lost sooner than that is not followed by another one at once."""
_MOST_WAITING = 512 * 1024 * 1024
"""Bytes of one subscription that may wait to be handled. What is too much for it is missed, and found missing."""


class LinkDown(PostroomError):
    """There is no connection to NATS now; `str()` says why."""


class NotAnswered(PostroomError):
    """Nobody answered in time, or nobody is there to answer."""


class ApiError(PostroomError):
    """JetStream refused a request.

    Attributes:
        code: Its HTTP-like status.
        err_code: Which error, as JetStream numbers them.
    """

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(code, err_code, description)
        self.code = code
        self.err_code = err_code
        self.description = description

    def __str__(self) -> str:
        return self.description


AWAY = (ApiError, LinkDown, NotAnswered)
"""What a question to JetStream ends with where it has no answer."""


def said_by_jetstream(answer: Msg) -> dict[str, Any]:
    """Return what JetStream says of a call, or of a message that it was given.

    Raises:
        ApiError: It refuses.
        NotAnswered: It has no leader now.
    """
    said: dict[str, Any] = json.loads(answer.data)
    error = said.get("error")
    if error is not None:
        refusal = ApiError(error.get("code", 0), error.get("err_code", 0), error.get("description", "no reason given"))
        raise NotAnswered(str(refusal)) if refusal.err_code in NO_LEADER else refusal
    return said


class Listening:
    """A subscription that outlives connections."""

    __slots__ = ("_link", "handle", "subject", "subscription")

    def __init__(self, link: Link, subject: str, handle: Callable[[Msg], None]) -> None:
        self._link = link
        self.subject = subject
        self.handle = handle
        self.subscription: Subscription | None = None

    def stop(self) -> None:
        """Listen no more."""
        self._link._stop_listening(self)


class Link:
    """The connection to NATS. Used on the event loop only.

    Args:
        access: Where NATS is, and how one gets in.
        name: How this router is called in the server's own lists.
    """

    def __init__(self, access: Access, name: str) -> None:
        self._access = access
        self._name = name
        self._client: Client | None = None
        self._listenings: dict[Listening, None] = {}
        self._new: list[Listening] = []
        """Those that the server was not told of."""
        self._subscribing = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = asyncio.Event()
        self._outgoing: deque[tuple[str, bytes, str, dict[str, str] | None]] = deque()
        self._something_goes_out = asyncio.Event()
        self._waiting: set[asyncio.Timeout] = set()
        """Of those who wait for an answer on the connection that there is."""
        self._error: Exception | None = None
        self._lost: str | None = None
        """Host and port of the server that was lost: it is tried last."""
        self.trouble: str | None = "it was not connected to yet"
        """Why there is no connection; None: there is one."""
        self.on_up: list[Callable[[], None]] = []
        """Called when there is a connection again, and all that is listened to is listened to on it."""
        self.on_down: list[Callable[[], None]] = []
        """Called when the connection is lost."""

    async def start(self) -> None:
        """Connect, and stay connected until `stop`.

        Raises:
            LinkDown: No server can be reached, or none lets the router in; says why and what to do.
        """
        try:
            self._client = await self._connect()
        except _FAILURES as error:
            raise LinkDown(self._reason(error)) from error
        self.trouble = None
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Send what still goes out, and disconnect; does no harm when it was not started, or twice."""
        keeper, self._keeper = self._keeper, None
        self._stopping = True
        while keeper is not None and not keeper.done():  # nats-py may swallow a cancellation while it connects
            keeper.cancel()
            await asyncio.wait((keeper,), timeout=0.1)
        for task in self._tasks:
            task.cancel()
        client, self._client = self._client, None
        if client is not None and not client.is_closed:
            last = asyncio.create_task(self._send_last(client))
            await asyncio.wait((last,), timeout=CONNECT_S)
            if not last.done():
                cut(client)
            await client.close()
            last.cancel()
            await asyncio.wait((last,))
        self.trouble = "it is disconnected from"

    @property
    def most_bytes(self) -> int:
        """The largest message that the server takes, headers and all."""
        return self._client.max_payload if self._client is not None else 1024 * 1024

    @property
    def server_info(self) -> dict[str, Any]:
        """What the server said of itself when it was connected to."""
        return dict(self._client._server_info) if self._client is not None else {}

    def send(self, subject: str, payload: bytes, *, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Send a message, in the order of the calls. While there is no connection it is dropped.

        The caller bounds how much is under way: nothing here does.
        """
        if self.trouble is None:
            self._outgoing.append((subject, payload, reply, headers))
            self._something_goes_out.set()

    def listen(self, subject: str, handle: Callable[[Msg], None]) -> Listening:
        """Have each message on a subject handed to `handle`, from soon on; `settled` waits until it is so."""
        listening = Listening(self, subject, handle)
        self._listenings[listening] = None
        if not self._new:
            self._spawn(self._subscribe_new())
        self._new.append(listening)
        return listening

    @property
    def backlog(self) -> int:
        """How many messages wait to be sent."""
        return len(self._outgoing)

    async def settled(self) -> None:
        """Wait until the server knows all that is listened to so far.

        Raises:
            LinkDown: There is no connection, or it is lost meanwhile.
        """
        client = self._up()
        try:
            await self._subscribe_new()
            async with self._while_connected(CONNECT_S):
                await client.flush()
        except _FAILURES as error:
            raise LinkDown(self.trouble or self._reason(error)) from error

    async def request(
        self, subject: str, payload: bytes, *, headers: dict[str, str] | None = None, wait_s: float = 2.0
    ) -> Msg:
        """Ask, and return the one answer.

        Raises:
            LinkDown: There is no connection, or it is lost meanwhile.
            NotAnswered: Nobody answers.
        """
        client = self._up()
        try:
            async with self._while_connected(None):
                return await client.request(subject, payload, timeout=wait_s, headers=headers)
        except (TimeoutError, nats.errors.NoRespondersError) as error:
            if self.trouble is not None:
                raise LinkDown(self.trouble) from error
            raise NotAnswered(f"nobody answers on {subject}") from error
        except _FAILURES as error:
            raise LinkDown(self._reason(error)) from error

    async def ask(self, call: str, arguments: dict[str, Any] | None = None, *, wait_s: float = 2.0) -> dict[str, Any]:
        """Call JetStream's API: `ask("STREAM.INFO.name")`.

        Raises:
            ApiError: It refuses.
            LinkDown: There is no connection, or it is lost meanwhile.
            NotAnswered: Nobody answers: no JetStream, or it has no leader now.
        """
        payload = b"" if arguments is None else json.dumps(arguments).encode()
        return said_by_jetstream(await self.request(f"$JS.API.{call}", payload, wait_s=wait_s))

    async def gather(
        self, subject: str, payload: bytes, over: Callable[[list[Msg]], bool], *, wait_s: float = 2.0
    ) -> tuple[list[Msg], bool]:
        """Ask, and return the answers, and whether `over` said of them that they are all before the time was up.

        Raises:
            LinkDown: There is no connection, or it is lost meanwhile.
        """
        client = self._up()
        answers: list[Msg] = []
        changed = asyncio.Event()

        async def take(message: Msg) -> None:
            answers.append(message)
            changed.set()

        try:
            inbox = client.new_inbox()
            subscription = await client.subscribe(inbox, cb=take, pending_bytes_limit=_MOST_WAITING)
            try:
                await client.publish(subject, payload, reply=inbox)
                with contextlib.suppress(TimeoutError):
                    async with self._while_connected(wait_s):
                        while not over(answers):
                            changed.clear()
                            await changed.wait()
                        return answers, True
                if self._client is not client:
                    raise LinkDown(self.trouble or "the connection was lost")
            finally:
                with contextlib.suppress(*_FAILURES):
                    await subscription.unsubscribe()
        except _FAILURES as error:
            raise LinkDown(self._reason(error)) from error
        return answers, False

    def inbox(self) -> str:
        """Return a subject that nobody else listens to; a part may be added to it."""
        return f"_INBOX.{self._up().new_inbox().rpartition('.')[2]}"

    @contextlib.asynccontextmanager
    async def _while_connected(self, wait_s: float | None) -> AsyncIterator[None]:
        """Limit the block to so long, and to the connection: what was asked on one that is lost is never answered.

        Raises:
            TimeoutError: The block was broken off.
        """
        async with asyncio.timeout(wait_s) as waiting:
            self._waiting.add(waiting)
            try:
                yield
            finally:
                self._waiting.discard(waiting)

    def _break_off(self) -> None:
        now = asyncio.get_running_loop().time()
        for waiting in self._waiting:
            if not waiting.expired():
                waiting.reschedule(now)

    def _up(self) -> Client:
        if self._client is None or self.trouble is not None:
            raise LinkDown(self.trouble or "there is no connection")
        return self._client

    async def _connect(self) -> Client:
        """Connect to one of the servers; the one that was lost is tried last."""
        self._ended = asyncio.Event()
        self._error = None
        urls = sorted(self._access.urls, key=lambda url: (place_of(urlsplit(url)) == self._lost, random.random()))
        return await connect(self._access, urls, self._name, on_error=self._note, on_end=self._ended.set)

    def _note(self, error: Exception) -> None:
        self._error = error

    async def _keep(self) -> None:
        """Stay connected."""
        loop = asyncio.get_running_loop()
        again_s = _AGAIN_S[0]
        while not self._stopping:
            client = self._client
            assert client is not None
            up_at = loop.time()
            sender = asyncio.create_task(self._send(client))
            try:
                await self._end_of(client)
            finally:
                sender.cancel()
            self._outgoing.clear()
            url = client.connected_url
            self._lost = None if url is None else place_of(url)
            self.trouble = self._reason(self._error or client.last_error or nats.errors.UnexpectedEOF())
            self._client = None
            self._break_off()
            log.error("cluster_link_lost", reason=self.trouble)
            for call in self.on_down:
                call()
            again_s = _AGAIN_S[0] if loop.time() - up_at > _STEADY_S else min(_AGAIN_S[1], again_s * 2)
            self._client = await self._connect_again(again_s)
            self.trouble = None
            self._spawn(self._subscribe_new())  # what came while it was connecting
            log.info("cluster_link_up", server=self._server())
            for call in self.on_up:
                call()

    async def _end_of(self, client: Client) -> None:
        """Wait until a connection has ended; nats-py says so only when it has written what it still had."""
        ended = self._ended
        while not client.is_closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await ended.wait()
        if not ended.is_set():
            cut(client)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_S):
                    await ended.wait()

    async def _connect_again(self, wait_s: float) -> Client:
        """Try until there is a connection on which everything is listened to that was before.

        Args:
            wait_s: Between the first two tries, and before the first one where the last connection was short.
        """
        if wait_s > _AGAIN_S[0]:
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
        while True:
            client: Client | None = None
            try:
                client = await self._connect()
                async with self._subscribing:
                    self._new.clear()
                    for listening in list(self._listenings):
                        listening.subscription = None
                        await self._subscribe(client, listening)
                async with asyncio.timeout(CONNECT_S):
                    await client.flush()
                return client
            except _FAILURES as error:
                self.trouble = self._reason(error)
                if client is not None:
                    cut(client)
                    await client.close()
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(_AGAIN_S[1], wait_s * 2)

    async def _subscribe_new(self) -> None:
        """Tell the server what is listened to since it was told last; a new connection begins with all of it."""
        async with self._subscribing:
            client = self._client
            if client is not None:
                new, self._new = self._new, []
                for listening in new:
                    await self._subscribe(client, listening)

    async def _subscribe(self, client: Client, listening: Listening) -> None:
        if listening not in self._listenings:
            return
        handle = listening.handle

        async def take(message: Msg) -> None:
            handle(message)

        listening.subscription = await client.subscribe(
            listening.subject, cb=take, pending_msgs_limit=-1, pending_bytes_limit=_MOST_WAITING
        )

    def _stop_listening(self, listening: Listening) -> None:
        if self._listenings.pop(listening, self) is None and listening.subscription is not None and not self.trouble:
            self._spawn(_unsubscribe(listening.subscription))

    async def _send(self, client: Client) -> None:
        """Send what goes out on this connection and no other: nats-py may swallow a cancellation while it sends."""
        while not (client.is_closed or self._stopping):
            await self._something_goes_out.wait()
            self._something_goes_out.clear()
            with contextlib.suppress(*_FAILURES):  # the connection is lost: `_keep` sees to it
                await self._send_all(client)

    async def _send_last(self, client: Client) -> None:
        with contextlib.suppress(*_FAILURES):
            await self._send_all(client)
            await client.flush()

    async def _send_all(self, client: Client) -> None:
        outgoing = self._outgoing
        while outgoing and not client.is_closed:
            subject, payload, reply, headers = outgoing.popleft()
            await client.publish(subject, payload, reply=reply, headers=headers)

    def _spawn(self, work: Awaitable[None]) -> None:
        async def quietly() -> None:
            with contextlib.suppress(*_FAILURES):
                await work

        task = asyncio.create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _server(self) -> str:
        url = self._client.connected_url if self._client is not None else None
        return "" if url is None else place_of(url)

    def _reason(self, error: BaseException) -> str:
        """Say what is wrong with the connection, without a password."""
        where = ", ".join(filter(None, (place_of(urlsplit(url)) for url in self._access.urls)))
        inner = self._error if isinstance(error, nats.errors.NoServersError) and self._error is not None else error
        what = str(inner) or type(inner).__name__
        return f"NATS at {where}: {what}"


async def _unsubscribe(subscription: Subscription) -> None:
    await subscription.unsubscribe()


_FAILURES = (nats.errors.Error, OSError, TimeoutError, ssl.SSLError)
"""What nats-py raises when there is no connection, or not any more."""
