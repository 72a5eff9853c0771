"""`connect`: options in, a running client out, closed at the end of the block."""

from __future__ import annotations

import contextlib
import logging
import ssl as ssl_module
from collections.abc import AsyncIterator, Mapping
from typing import Literal

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.typing import Subprotocol

from ._backoff import Backoff
from ._client import Client
from ._positions import Position
from ._tokens import Tokens, TokenSource

__all__ = ["connect"]

_MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""A page of history or a welcome with many states is longer than any one event."""

_websocket_logger = logging.getLogger("postroom_client.websocket")
_websocket_logger.setLevel(logging.INFO)  # at DEBUG, websockets logs frames: tokens and payloads


@contextlib.asynccontextmanager
async def connect(
    url: str,
    *,
    token: TokenSource = None,
    resume: Mapping[str, Position] | None = None,
    buffer: int = 256,
    backoff: Backoff | None = None,
    connect_timeout_s: float = 20.0,
    command_timeout_s: float = 30.0,
    ssl: ssl_module.SSLContext | None = None,
    proxy: str | Literal[True] | None = True,
) -> AsyncIterator[Client]:
    """Connect to a router: `async with connect("ws://127.0.0.1:8000/v1/ws", token=...) as client`.

    Comes back by itself after every break, with the positions of all rooms: after a random, growing delay (`backoff`),
    or in the slot that a draining router gave. It does not come back where the router says not to (close codes 1003,
    1007, 1009, 4009, 4400, 4401, and 4410 without a callable `token`): then every iterator and command raises
    `ConnectionEnded`. The first connection is tried in the same way, for `connect_timeout_s`.

    Args:
        url: For example `ws://127.0.0.1:8000/v1/ws`. Never put a token into it.
        token: A token, or a callable (sync or async, on this loop) that returns a fresh one: called for every
            connection and when the router says that the token is about to end. None: no token (a `--dev` router).
        resume: Positions kept from an earlier run, by room; read those rooms with `Client.joined`. Useful for rooms
            that the router joins by itself; others can be subscribed with `after` just as well.
        buffer: How many events wait per room for an application that does not take them, before the client stops
            reading its socket; see `Subscription`.
        backoff: Delays between attempts. None: 0.5 to 20 s.
        connect_timeout_s: How long to try the first connection, in seconds.
        command_timeout_s: How long a command waits for its answer, through breaks, in seconds.
        ssl: For `wss:`. None: the system's certificates.
        proxy: As in websockets. True: from the environment. None: no proxy.

    Raises:
        ConnectFailed: No router welcomed this client in time.
        ConnectionEnded: The router refused it for good; `Unauthenticated` where it does not take the token.
    """

    async def open_socket() -> ClientConnection:
        return await open_websocket(
            url,
            ssl=(ssl or True) if url.lower().startswith("wss:") else None,
            proxy=proxy,
            subprotocols=[Subprotocol("postroom.v1")],
            compression=None,
            max_size=_MAX_MESSAGE_BYTES,
            close_timeout=2,
            logger=_websocket_logger,
        )

    client = Client(
        url,
        open_socket,
        Tokens(token),
        backoff=backoff or Backoff(),
        buffer=max(buffer, 1),
        command_timeout_s=command_timeout_s,
        resume=resume or {},
    )
    try:
        await client._open(connect_timeout_s)
        yield client
    finally:
        await client.close()
