"""Routers for tests: one in the test's own loop, and real processes."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pykka
import pytest
import structlog

from server.app import Router
from server.auth import issue_token
from server.settings import Settings

from .node import node_modules  # noqa: F401  # a fixture, for every test

SECRET = "a-secret-for-tests-of-forty-characters--"
START_S = 20.0
_TOKEN = re.compile(r"eyJ[\w-]{6,}")
"""How every JSON Web Token begins."""


@asynccontextmanager
async def running_router(plugins: tuple[Callable[[Router], Any], ...] = (), **settings: Any) -> AsyncIterator[Router]:
    """Run a router in this loop on free ports; at the end nothing may be left of it."""
    with tempfile.TemporaryDirectory() as folder:
        defaults: dict[str, Any] = {
            "port": 0,
            "api_port": 0,
            "secret": SECRET,
            "drain_s": 1.0,
            "journal": f"{folder}/journal.db",
        }
        router = Router(Settings(**{**defaults, **settings}), plugins)
        await router.start()
        started = asyncio.Event()
        router.report.when_kept(started.set)  # an event of its own: it is over before those of the test
        await started.wait()
        try:
            yield router
        finally:
            async with asyncio.timeout(START_S):
                await router.stop()
    assert not len(router.ledger), "subscriptions left in the ledger"
    assert not len(router.registry), "connections left in the registry"
    left = [ref for ref in pykka.ActorRegistry.get_all() if ref.is_alive()]
    assert not left, f"actors left: {left}"


@pytest.fixture
async def router() -> AsyncIterator[Router]:
    """A router with `--dev`: whoever comes without a token may do everything."""
    async with running_router(dev=True) as router:
        yield router


@pytest.fixture
async def guarded_router() -> AsyncIterator[Router]:
    """A router that asks for tokens, signed with `SECRET`."""
    async with running_router() as router:
        yield router


@pytest.fixture
def token() -> Callable[..., str]:
    """Make tokens: `token("ann", "user", rooms=["team:*"], publish=[], ttl_s=3600)`."""

    def make(
        user: str,
        role: str = "user",
        *,
        rooms: tuple[str, ...] = (),
        publish: tuple[str, ...] = (),
        subs: tuple[str, ...] = (),
        ttl_s: float = 3600,
    ) -> str:
        return issue_token(SECRET, user, role, rooms, publish, ttl_s, subs=subs)

    return make


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """Every structured log line of the test, as dictionaries."""
    with structlog.testing.capture_logs() as lines:
        yield lines  # type: ignore[misc]  # structlog's own mapping types


class RouterProcess:
    """A router as a process of its own, on free ports. At its end no token may be in its log, whatever was tested.

    Args:
        arguments: For `postroom serve`.
        log: Where its log goes.
        environment: Variables beyond those of the test.
        cwd: Its working directory.
        files: How many files it may have open; None: as many as the test.
        program: The command `postroom`; by default this repository's.
    """

    def __init__(
        self,
        arguments: list[str],
        log: Path,
        environment: dict[str, str],
        cwd: Path,
        files: int | None = None,
        program: Sequence[str] = (sys.executable, "-m", "server.cli"),
    ) -> None:
        self.log_path = log
        self._log = log.open("ab")
        limited = [] if files is None else ["sh", "-c", f'ulimit -n {files} && exec "$@"', "router"]
        self._process = subprocess.Popen(
            [*limited, *program, "serve", "--port", "0", "--api-port", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=cwd,
            env={**os.environ, "POSTROOM_LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1", **environment},
            text=True,
        )
        self.pid = self._process.pid
        self.ws_url, self.api_url = self._read_addresses()

    def _read_addresses(self) -> tuple[str, str]:
        assert self._process.stdout is not None
        text = ""
        for line in self._process.stdout:
            text += line
            ws = re.search(r"ws://[\w.:\[\]]+/v1/ws", text)
            api = re.search(r"http://[\w.:\[\]]+", text)
            if ws and api:
                return ws.group(), api.group()
        self.stop()
        raise AssertionError(f"the router did not start: {self.log}")

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.log_path.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Wait for its end; return the exit code."""
        return self._process.wait(timeout_s)

    def stop(self) -> int:
        """Stop it as an operator does, and return the exit code; kill it when it does not end."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(30.0)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._log.close()
            assert _TOKEN.search(self.log) is None, "a token is in the log"
            assert SECRET not in self.log, "the secret is in the log"


@pytest.fixture
def start_router(tmp_path: Path) -> Iterator[Callable[..., RouterProcess]]:
    """Start routers as processes: `start_router("--dev", environment={...})`; they are stopped at the end."""
    started = ExitStack()  # one that ends badly keeps none of the others
    count = itertools.count()

    def start(
        *arguments: str,
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
        files: int | None = None,
    ) -> RouterProcess:
        name = f"router-{next(count)}"
        if cwd is None:
            cwd = Path.cwd()
            if "--journal" not in arguments:
                arguments = (*arguments, "--journal", str(tmp_path / f"{name}.db"))
        process = RouterProcess(list(arguments), tmp_path / f"{name}.log", environment or {}, cwd, files)
        started.callback(process.stop)
        return process

    with started:
        yield start


@pytest.fixture
def router_process(start_router: Callable[..., RouterProcess]) -> RouterProcess:
    """A router process with `--dev`."""
    return start_router("--dev")
