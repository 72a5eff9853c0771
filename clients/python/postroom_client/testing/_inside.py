"""The kit's plug-in inside the router's process: it makes actors fail as it is told, and ends with its parent.

Commands come as one line of JSON each over the Unix socket that `CONTROL_SOCKET` names; each is answered with one.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import json
import os
import shutil
import signal
import sys
from typing import Any

from pykka.messages import ProxyCall

__all__ = ["Inside", "control"]

_REPAIR_S = 10.0
_servers: list[asyncio.AbstractServer] = []


class Inside:
    """What can be done in the router's process, each method a command.

    Args:
        router: The router.
    """

    def __init__(self, router: Any) -> None:
        self.router = router

    async def listen(self) -> None:
        """Take commands from now on."""
        _servers.append(await asyncio.start_unix_server(self._serve, os.environ["CONTROL_SOCKET"]))

    async def fail_connection(self, connection: str) -> dict[str, int]:
        """Make a connection's actor fail, and wait until the supervisor has replaced it, or given the connection up."""
        for state in self.router.registry.states:
            if state.id == connection:
                await _fail(state.mailbox)
                return {"failed": 1, "given_up": int(state.mailbox.closed)}
        return {"failed": 0}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Obey one command and hang up."""
        command = json.loads(await reader.readline())
        answer = getattr(self, command.pop("do"))(**command)
        writer.write(json.dumps(await answer if inspect.isawaitable(answer) else answer).encode() + b"\n")
        writer.close()


async def _fail(mailbox: Any) -> None:
    """Send a message that the actor fails on, and wait for its successor."""
    failed = mailbox.monitor
    gone = asyncio.Event()

    def ended(how: Any) -> None:
        mailbox.monitor = failed
        failed(how)
        gone.set()

    mailbox.monitor = ended
    mailbox.tell(ProxyCall(("explode",), (), {}))
    async with asyncio.timeout(_REPAIR_S):
        await gone.wait()
        while not (mailbox.occupied or mailbox.closed):  # noqa: ASYNC110  # nothing tells that somebody has moved in
            await asyncio.sleep(0.002)


def _end_with_parent() -> None:
    """Stop as an operator would, once the other end of stdin is gone, and tidy up: nobody is left to do it."""

    def readable() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin.fileno())
            atexit.register(shutil.rmtree, os.environ["TEMPORARY_FOLDER"], ignore_errors=True)
            os.kill(os.getpid(), signal.SIGTERM)

    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), readable)


async def control(router: Any) -> None:
    """Listen for commands (the plug-in)."""
    await Inside(router).listen()
    _end_with_parent()
