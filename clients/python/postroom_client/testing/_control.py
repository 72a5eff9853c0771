"""Control: a command for the plug-in inside the router's process in, its answer out."""

from __future__ import annotations

import asyncio
import json

__all__ = ["Control"]


class Control:
    """The end of the control socket that is in the tests.

    Args:
        path: The Unix socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    async def do(self, command: str, **arguments: object) -> dict[str, int]:
        """Give one command; return the answer."""
        async with asyncio.timeout(30.0):
            reader, writer = await asyncio.open_unix_connection(self._path)
            try:
                writer.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
                answer: dict[str, int] = json.loads(await reader.readline())
                return answer
            finally:
                writer.close()
                await writer.wait_closed()
