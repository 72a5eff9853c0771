"""The HTTP API, for services and operators: a server of its own for the calls that it is given."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterable

import structlog
from aiohttp import web

from server.turned_away import TurnedAway

from .access import Access
from .answers import REJECTED, problems
from .calls import Call, Forward, alone, serve
from .heads import IDLE_S, HeadTimer, head_is_there
from .publishing import MOST_BYTES
from .request_log import RequestLog

__all__ = ["Api"]

log = structlog.get_logger("postroom.http")

_SAY_AGAIN_S = 10.0


class Api:
    """The HTTP API.

    Args:
        calls: What it answers.
        access: Who may call.
        most_connections: Sockets that may be open at once.
        rejected: Counts what is refused, by where that was and why.
        reuse_port: Whether other processes of this user may listen on the same port.
        forward: Answers what concerns the whole cluster.
    """

    def __init__(
        self,
        calls: Iterable[Call],
        access: Access,
        *,
        most_connections: int,
        rejected: Counter[tuple[str, str]],
        reuse_port: bool = False,
        forward: Forward = alone,
    ) -> None:
        self._calls = list(calls)
        self._access = access
        self._most_connections = most_connections
        self._rejected = rejected
        self._reuse_port = reuse_port
        self._forward = forward
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._used_up_logged_at = -math.inf

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port.

        Raises:
            OSError: The address cannot be listened on.
        """
        app = web.Application(client_max_size=MOST_BYTES, middlewares=[head_is_there, problems])
        app[REJECTED] = self._rejected
        app.router.add_routes(
            [web.route(call.method, call.path, serve(call, self._access, self._forward)) for call in self._calls]
        )
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=2.0,
            keepalive_timeout=IDLE_S,
            logger=RequestLog(),
            auto_decompress=False,  # none is taken, and the library answers what it cannot unpack in its own way
        )
        await self._runner.setup()
        self._server = await asyncio.get_running_loop().create_server(
            self._protocol, host, port, reuse_address=True, reuse_port=self._reuse_port
        )
        return int(self._server.sockets[0].getsockname()[1])

    def _protocol(self) -> asyncio.Protocol:
        """Serve another socket, or turn it away."""
        assert self._runner is not None
        assert self._runner.server is not None
        if len(self._runner.server.connections) < self._most_connections:
            return HeadTimer(self._runner.server())
        self._rejected["http", "full"] += 1
        self._log_used_up()
        return TurnedAway()

    def _log_used_up(self) -> None:
        """Say that callers are turned away, once in a while: they may come back as often as they like."""
        now = asyncio.get_running_loop().time()
        if now >= self._used_up_logged_at + _SAY_AGAIN_S:
            self._used_up_logged_at = now
            log.warning("api_sockets_used_up", connections=self._most_connections)

    async def stop(self) -> None:
        """Stop listening, after the requests that are under way."""
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()
