"""Postroom: a running router as tests see it, with tokens, clients and services for it, and faults."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar
from weakref import WeakKeyDictionary

from .._backoff import Backoff
from .._client import Client
from .._connect import connect
from .._errors import ConnectFailed
from .._messages import Custom
from .._service import Service
from .._subscription import Subscription
from ._assertions import assert_none
from ._control import Control
from ._line import Line, line
from ._opening import Opening
from ._process import RouterProcess

__all__ = ["MARKER", "Postroom"]

_Open = TypeVar("_Open")

MARKER = "postroom_testing.marker"
"""Kind of the event behind which `Postroom.assert_no_event` looks no further."""
_QUICK = Backoff(floor_s=0.02, cap_s=0.5)
_CLOSE_S = 2.0


class Postroom:
    """A router under test. Made by `router` and by the fixtures; use it on one loop.

    Args:
        process: The router; it runs.
    """

    def __init__(self, process: RouterProcess) -> None:
        self.process = process
        """The router's process, for what is not here."""
        self._control = Control(str(process.log_path.with_name("control")))
        self._lines: WeakKeyDictionary[Client, Line] = WeakKeyDictionary()
        self._kept = AsyncExitStack()
        self._services: list[Service] = []
        self._turning = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Postroom {self.url}>"

    @property
    def url(self) -> str:
        """Where WebSocket clients connect to."""
        return self.process.url

    @property
    def api_url(self) -> str:
        """Where services publish to."""
        return self.process.api_url

    @property
    def log(self) -> str:
        """What the router has logged so far: lines of JSON."""
        return self.process.log

    # --- who takes part

    def token(
        self,
        user: str = "tester",
        role: str = "user",
        *,
        rooms: Sequence[str] = ("*",),
        publish: Sequence[str] = ("*",),
        ttl_s: float = 3600.0,
    ) -> str:
        """Make a token that this router takes: a real one, signed with its secret.

        Args:
            user: Who it is for.
            role: `user`, `admin` or `service`.
            rooms: Patterns of rooms that may be subscribed to. `*` is any text.
            publish: Patterns of rooms that may be published to over a WebSocket.
            ttl_s: How long it counts from now, in seconds; less than zero: it has ended.
        """
        import jwt

        now = time.time()
        claims = {"sub": user, "role": role, "iat": now, "exp": now + ttl_s, "rooms": [*rooms], "publish": [*publish]}
        settings = self.process.settings
        claims |= {
            claim: settings[name] for claim, name in (("aud", "audience"), ("iss", "issuer")) if name in settings
        }
        return jwt.encode(claims, str(settings["secret"]), algorithm="HS256")

    def room(self, prefix: str = "session") -> str:
        """Return the name of a room that nobody has used yet, for example `session:3f0c9a51d2e4`."""
        return f"{prefix}:{uuid.uuid4().hex[:12]}"

    def client(
        self,
        user: str = "tester",
        role: str = "user",
        *,
        rooms: Sequence[str] = ("*",),
        publish: Sequence[str] = ("*",),
        ttl_s: float = 3600.0,
        buffer: int = 256,
    ) -> Opening[Client]:
        """Connect a client: `await` it and it is closed at the end, or `async with` it.

        It has a network of its own, which `cut_connection` and `stall` break, and it comes back quickly.

        Args:
            user: As for `token`, like all but the last one.
            role: See there.
            rooms: See there.
            publish: See there.
            ttl_s: See there.
            buffer: How many events wait for each room before the client stops reading its socket.

        Raises:
            ConnectFailed: When it is opened: the router is stopped.
        """
        token = self.token(user, role, rooms=rooms, publish=publish, ttl_s=ttl_s)
        return Opening(self._connected(token, buffer), self._keep)

    def service(self, user: str = "test-service", *, token: str | None = None) -> Service:
        """Return a service that publishes to this router. It is closed at the end.

        Args:
            user: Who publishes.
            token: Its token. None: one of role `service` for the user.
        """
        service = Service(
            self.api_url,
            token=token or self.token(user, "service"),
            backoff=_QUICK,
            close_timeout_s=_CLOSE_S,
        )
        self._services.append(service)
        return service

    # --- faults

    async def kill_connection(self, client: Client) -> None:
        """Make the actor that serves a client fail inside the router, and wait until the supervisor has replaced it.

        The socket stays open: the client must not notice, and must miss nothing. The supervisor replaces it three
        times within five seconds, as in every router; what fails once more is given up, and its socket closed.

        Raises:
            LookupError: The router does not know the client's connection; it is just coming back, perhaps.
            RuntimeError: The supervisor has given the connection up; the client comes back on another one.
        """
        answer = await self._control.do("fail_connection", connection=client.connection_id)
        if not answer["failed"]:
            raise LookupError(
                f"the router has no connection {client.connection_id}, which {client!r} has: the client is "
                "closed, or was cut or given up and is not back yet"
            )
        if answer["given_up"]:
            raise RuntimeError(
                f"the supervisor has given {client.connection_id} up and closed its socket, as it does with what fails "
                "more than 3 times within 5 s: kill one connection less often"
            )

    def cut_connection(self, client: Client) -> None:
        """Reset the TCP connection of a client: it has to come back and to go on from its positions."""
        self._line(client).cut()

    def stall(self, client: Client) -> None:
        """Let nothing through between a client and the router, in either direction, until `resume`.

        The router sees a client that reads nothing. Once something waits for it for longer than `stall_s`, it is cut.
        """
        self._line(client).stall()

    def resume(self, client: Client) -> None:
        """Let everything through again."""
        self._line(client).resume()

    async def restart_router(self, *, hard: bool = False) -> None:
        """Stop the router and start it again on the same ports and the same journal; return when it is ready.

        Args:
            hard: Whether it is killed (`kill -9`), and not stopped as an operator does.
        """
        async with self._turning:
            await self._stop(hard=hard)
            await asyncio.to_thread(self.process.start)

    async def stop_router(self, *, hard: bool = False) -> None:
        """Stop the router, so that there is none for a while.

        Args:
            hard: As for `restart_router`.
        """
        async with self._turning:
            await self._stop(hard=hard)

    async def start_router(self) -> None:
        """Start it again.

        Raises:
            RouterFailed: It does not start.
        """
        async with self._turning:
            await asyncio.to_thread(self.process.start)

    # --- assertions that need the router

    async def assert_no_event(
        self, subscription: Subscription, kind: str | None = None, *, within_s: float = 5.0, **matching: object
    ) -> None:
        """Assert that an event has not come and is not on its way.

        It is not waited for a time and hoped for the best: a marker is published to the room, and whatever the router
        took before it comes before it. What comes before the marker is taken from the subscription.

        Args:
            subscription: Where it should not come. If it was made with `kinds`, they must include `MARKER`'s.
            kind: The event's kind. None: any.
            within_s: How long to wait for the marker, in seconds.
            matching: What its data would have, as for `assert_event`.

        Raises:
            AssertionError: It came; or the marker did not.
            ValueError: The subscription leaves the marker out.
        """
        if subscription.kinds is not None and MARKER not in subscription.kinds:
            raise ValueError(f"a subscription to {subscription.kinds} never gets the marker: add {MARKER!r} to kinds")
        async with Service(self.api_url, token=self.token("marker", "service"), backoff=_QUICK) as service:
            receipt = await service.ask(Custom(subscription.room, MARKER, {}), timeout=within_s)
        await assert_none(subscription, receipt, kind, within_s=within_s, matching=matching)

    # --- the end

    async def close(self) -> None:
        """Close every client and service that is still open. The router goes on."""
        services, self._services = self._services, []
        await asyncio.gather(*(service.aclose() for service in services))
        await self._kept.aclose()

    async def _stop(self, *, hard: bool) -> None:
        await asyncio.to_thread(self.process.kill if hard else self.process.stop)

    @asynccontextmanager
    async def _connected(self, token: str, buffer: int) -> AsyncIterator[Client]:
        async with self._turning:  # a router that is just being restarted is waited for
            if not self.process.running:
                raise ConnectFailed(self.url, "the router is stopped: start it with `await postroom.start_router()`")
        async with (
            line(self.process.port) as between,
            connect(between.url, token=token, buffer=buffer, backoff=_QUICK, proxy=None) as client,
        ):
            self._lines[client] = between
            try:
                yield client
            finally:
                between.resume()

    async def _keep(self, context: AbstractAsyncContextManager[_Open]) -> _Open:
        return await self._kept.enter_async_context(context)

    def _line(self, client: Client) -> Line:
        found = self._lines.get(client)
        if found is None:
            raise LookupError(f"{client!r} was not made by this Postroom's client(): its network cannot be broken")
        return found
