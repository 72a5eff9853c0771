"""Client: one connection to one NATS server, by nats-py. How to get in, in; a client that is connected, out.

nats-py could connect again by itself; `link.Link` does, as it must know what was said on which connection.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import ParseResult, SplitResult

import nats.aio.client
import nats.errors

__all__ = ["CONNECT_S", "Access", "Client", "connect", "cut", "place_of"]

CONNECT_S = 2.0
"""How long one server may take to let a router in."""
_PING_S = 1.0
_PINGS = 2
"""So many pings without an answer: the connection is dead. Found out in three seconds at most."""


class Access(NamedTuple):
    """Where NATS is, and how one gets in."""

    urls: tuple[str, ...]
    user: str | None = None
    password: str | None = None
    credentials: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None


class Client(nats.aio.client.Client):
    """nats-py's client, but for two things.

    It says nothing of itself in clear where TLS was asked for. And a ping stays behind what was said before it, where
    nats-py's overtakes the subscriptions of the same turn: `flush` would end before the server knows of them.
    """

    def _connect_command(self) -> bytes:
        assert self._current_server is not None
        wanted = self.options.get("tls") is not None and self._current_server.uri.scheme not in ("ws", "wss")
        if wanted and not self._server_info.get("tls_required"):
            raise nats.errors.Error("it does not ask for TLS, which this router does")
        return super()._connect_command()

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        if self._pending:
            assert self._transport is not None
            self._transport.writelines(self._pending)
            self._pending, self._pending_data_size = [], 0
        await super()._send_ping(future)


async def connect(
    access: Access,
    urls: list[str],
    name: str,
    *,
    on_error: Callable[[Exception], object],
    on_end: Callable[[], object],
) -> Client:
    """Connect to the first server that lets the router in.

    Args:
        access: How one gets in.
        urls: The servers, in the order in which they are tried.
        name: How this router is called in the server's own lists.
        on_error: Is told what goes wrong, then and later.
        on_end: Is told when the connection has ended.

    Raises:
        nats.errors.Error, OSError, TimeoutError: None does.
    """
    client = Client()

    async def note(error: Exception) -> None:
        on_error(error)

    async def closed() -> None:
        on_end()

    try:
        await client.connect(
            urls,
            name=name,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=round(CONNECT_S),
            dont_randomize=True,
            ping_interval=_PING_S,  # type: ignore[arg-type]  # it is only slept for
            max_outstanding_pings=_PINGS,
            error_cb=note,
            closed_cb=closed,
            user=access.user,
            password=access.password,
            user_credentials=None if access.credentials is None else str(access.credentials),
            tls=_tls(access),
        )
    except BaseException:
        if client._transport is not None:  # which nats-py leaves open when it is refused
            client._transport.close()  # type: ignore[no-untyped-call]  # nats-py types it not
        raise
    return client


def cut(client: Client) -> None:
    """Drop what waits to be written: a server that stands still may never take it, and nats-py would wait for that."""
    client._pending, client._pending_data_size = [], 0
    writer = getattr(client._transport, "_io_writer", None)
    if writer is not None:  # a WebSocket has none
        writer.transport.abort()


def place_of(url: SplitResult | ParseResult) -> str:
    """Return host and port of a URL, without user and password."""
    return url.netloc.rpartition("@")[2]


def _tls(access: Access) -> ssl.SSLContext | None:
    if access.ca is None and access.certificate is None and not any(url.startswith("tls:") for url in access.urls):
        return None
    context = ssl.create_default_context(cafile=access.ca)
    if access.certificate is not None:
        context.load_cert_chain(access.certificate)
    return context
