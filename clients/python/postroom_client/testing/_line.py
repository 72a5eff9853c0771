"""Line: what lies between one client and the router. It passes bytes on until it is told to stall or to cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Line", "line"]

_READ_BYTES = 16 * 1024
"""How much it takes at a time. A stalled line holds twice that, and then the sender's system has to."""


class Line:
    """A line to a port of this machine.

    Args:
        port: The router's.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.url = ""
        """Where the client connects to."""
        self.connections = 0
        """How often it has."""

    def stall(self) -> None:
        """Let nothing through in either direction, and no end of a connection either."""
        self._flowing.clear()

    def resume(self) -> None:
        """Let everything through again, what waits first."""
        self._flowing.set()

    def cut(self) -> None:
        """Reset every connection at both ends, as a failing network does."""
        for end in self._ends:
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            end.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, from its first byte to its end."""
        self.connections += 1
        self._ends.add(writer)
        try:
            await self._flowing.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_READ_BYTES)
        except OSError:  # no router there: so the client finds none either
            self._ends.discard(writer)
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._ends |= ends
        try:
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._pump(reader, far_writer))
                directions.create_task(self._pump(far_reader, writer))
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_READ_BYTES):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        await self._flowing.wait()
        writer.close()


@asynccontextmanager
async def line(port: int) -> AsyncIterator[Line]:
    """Lay a line to a port, and take it away at the end."""
    between = Line(port)
    carrying: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        carrying.add(task)
        try:
            await between.carry(reader, writer)
        finally:
            carrying.discard(task)

    server = await asyncio.start_server(carry, "127.0.0.1", 0, limit=_READ_BYTES)
    between.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/ws"
    try:
        yield between
    finally:
        server.close()
        between.resume()
        between.cut()
        if carrying:
            await asyncio.wait(carrying)
        await server.wait_closed()
