"""A socket for which there is no room: a connection in, the HTTP answer that says so and its end out."""

from __future__ import annotations

import asyncio
from typing import cast

__all__ = ["FULL", "TurnedAway"]

FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class TurnedAway(asyncio.Protocol):
    """Says that the client may come back in a second, and hangs up: a descriptor for a moment."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer before anything was asked."""
        socket = cast(asyncio.WriteTransport, transport)  # uvloop's is one without being of the class
        socket.write(FULL)
        socket.close()
