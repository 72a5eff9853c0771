"""RouterProcess: the router as a child process that is killed and started again on the same two ports."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import aiohttp

from .plan import Tally

__all__ = ["RouterProcess", "RunFailed"]

_START_S = 30.0
_STOP_S = 40.0
_REPOSITORY = Path(__file__).parents[2]
_PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections. A client that knocks at the port of a dead router may be
given that very port as its own, and is then connected to itself."""

_KEEP_ALL = {"POSTROOM_HISTORY_EVENTS": "1000000", "POSTROOM_HISTORY_S": "86400"}
"""Room for every event, so that no position expires."""


class RunFailed(Exception):
    """The run cannot go on: the router ended by itself, or was not ready in time. Says what it logged last."""


class RouterProcess:
    """A router.

    Args:
        folder: Where its log goes.
        journal: What `--journal` gets.
        tally: Where kills and starts are counted.
        settings: Its settings, by the names of their variables.
        plugins: What it runs beside its own.
    """

    def __init__(
        self,
        folder: Path,
        journal: str,
        tally: Tally,
        *,
        settings: Mapping[str, str] = _KEEP_ALL,
        plugins: Sequence[str] = (),
    ) -> None:
        self.log = folder / "router.log"
        self._settings = settings
        self._plugins = [argument for plugin in plugins for argument in ("--plugin", plugin)]
        self._journal = journal
        self._tally = tally
        port, api_port = itertools.islice(_free_ports(), 2)
        self.url = f"ws://127.0.0.1:{port}/v1/ws"
        self.api_url = f"http://127.0.0.1:{api_port}"
        self._ports = (port, api_port)
        self._process: asyncio.subprocess.Process | None = None

    async def spawn(self) -> None:
        """Start it, and do not wait."""
        # Without the caller's own settings.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
        environment |= {**self._settings, "POSTROOM_LOG_FORMAT": "json"}
        port, api_port = self._ports
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "server.cli", "serve", "--dev", "--journal", self._journal),
                *("--port", str(port), "--api-port", str(api_port), *self._plugins),
                cwd=_REPOSITORY,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the torture alone, which then ends its router
            )

    async def start(self, *, patient: bool = False) -> None:
        """Start it and wait until it answers.

        Args:
            patient: Whether to start it again when it ends by itself, as an init system does.

        Raises:
            RunFailed: It ended by itself, or was not ready within 30 s.
        """
        began = time.monotonic()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as session:
            await self.spawn()
            while not await self._ready(session):
                if time.monotonic() - began > _START_S:
                    raise RunFailed(f"the router was not ready within {_START_S:g} s\n{self.last_lines()}")
                assert self._process is not None
                if self._process.returncode is not None:
                    if not patient:
                        raise RunFailed(f"the router ended with {self._process.returncode}\n{self.last_lines()}")
                    self._tally.failed_starts += 1
                    await asyncio.sleep(0.25)
                    await self.spawn()
                await asyncio.sleep(0.02)
        if not patient:
            self._tally.longest_start_s = max(self._tally.longest_start_s, time.monotonic() - began)

    async def _ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            for port in self._ports:
                async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                    if answer.status != 200:
                        return False
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        return True

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    async def pause(self, seconds: float) -> None:
        """Let it stand still for a while, as a machine that swaps or a virtual one that is moved does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it without a word."""
        assert self._process is not None
        if self._process.returncode is not None:
            raise RunFailed(f"the router ended with {self._process.returncode} by itself\n{self.last_lines()}")
        self._process.kill()
        await self._process.wait()
        self._tally.kills += 1

    async def stop(self) -> None:
        """End it as an operator does, or at once if it does not."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def last_lines(self, count: int = 15) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


def _free_ports() -> Iterator[int]:
    for port in random.SystemRandom().sample(_PORTS, 1000):  # by chance: another run may look for ports right now
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
