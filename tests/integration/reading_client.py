"""A client as a process of its own, so that a test can stop it: subscribes to a room, says so, and reads on."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from websockets.exceptions import ConnectionClosed

from ..native_client import NativeClient


async def read_on(url: str, room: str) -> None:
    """Read until the connection ends."""
    async with NativeClient(url) as client:
        await client.subscribe(room)
        print("subscribed", flush=True)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.socket.recv()


if __name__ == "__main__":
    asyncio.run(read_on(*sys.argv[1:]))
