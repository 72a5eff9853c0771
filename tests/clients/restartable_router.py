"""The real router in a process of its own, and a proxy that can cut the connections to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

START_BOUND_S = 20.0
STOP_BOUND_S = 30.0


class RestartableRouter:
    """A router that can be stopped and started again on the same ports.

    Args:
        folder: Where it runs and writes its log.
        journal: What `--journal` gets.
    """

    def __init__(self, folder: Path, journal: str = "memory") -> None:
        self._folder = folder
        self._journal = journal
        self.port, self.api_port = free_port(), free_port()
        self.url = f"ws://127.0.0.1:{self.port}/v1/ws"
        self.api_url = f"http://127.0.0.1:{self.api_port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [Path(sys.executable).with_name("postroom"), "serve", "--dev", "--journal", self._journal]
        with (self._folder / "router.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port), "--api-port", str(self.api_port)],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        for port in (self.port, self.api_port):
            self._wait_for_answer(f"http://127.0.0.1:{port}/healthz")

    def stop(self) -> int:
        """Ask it to drain, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_BOUND_S)

    def kill(self) -> None:
        """End it without a word, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_BOUND_S)

    def _wait_for_answer(self, url: str) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_BOUND_S
        while True:
            try:
                with urllib.request.urlopen(url, timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                log = (self._folder / "router.log").read_text()
                assert self._process.poll() is None, log
                assert time.monotonic() < deadline, log
                time.sleep(0.02)


class CuttingProxy:
    """Passes bytes on to a port until it is told to cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.connections = 0

    def cut(self) -> None:
        """Break every connection, as a failing network does."""
        for writer in self._writers:
            writer.transport.abort()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ours = {writer, inner_writer}
        self._writers |= ours
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, inner_writer))
                group.create_task(_pump(inner_reader, writer))
        finally:
            self._writers -= ours
            for each in ours:
                each.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@contextlib.asynccontextmanager
async def cutting_proxy(port: int) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(port)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/ws"
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await server.wait_closed()


@contextlib.contextmanager
def restartable_router(folder: Path, journal: str = "memory") -> Iterator[RestartableRouter]:
    router = RestartableRouter(folder, journal)
    try:
        router.start()
        yield router
    finally:
        router.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
