"""A load balancer of layer 4 in miniature: connections in, each to the next router that answers, bytes both ways.

It stands for yours; docs/how-to/load-balancer.md says what that one must do.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import Iterable

CHUNK_BYTES = 65536


class Balancer:
    """Hands connections to the ports of routers in turn, and passes over those that do not answer.

    Args:
        ports: Of the routers, on this machine.
    """

    def __init__(self, ports: Iterable[int]) -> None:
        self._ports = deque(ports)

    async def take(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection to its end; for `asyncio.start_server`."""
        with contextlib.closing(writer), contextlib.suppress(asyncio.CancelledError):  # when the loop ends
            for port in tuple(self._ports):
                self._ports.rotate(-1)
                with contextlib.suppress(OSError):
                    from_router, to_router = await asyncio.open_connection("127.0.0.1", port)
                    break
            else:
                return  # nobody is there: the client tries again
            with contextlib.closing(to_router):
                # Whichever side ends first, both are over: a client must not wait for a router that is gone.
                copies = [
                    asyncio.create_task(_copy(reader, to_router)),
                    asyncio.create_task(_copy(from_router, writer)),
                ]
                try:
                    await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for copy in copies:
                        copy.cancel()


async def _copy(reader: StreamReader, writer: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
