"""Node for tests: the npm packages that they need, installed once, and scripts that speak JSON lines.

Scripts lie in `tests/clients/javascript`, for a module finds its packages in the folders above it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from .native_client import WAIT_S

__all__ = ["JAVASCRIPT", "NodeScript", "installed_modules", "node_modules", "running_node"]

JAVASCRIPT = Path(__file__).parent / "clients" / "javascript"
"""Where the scripts are, and the `package.json` of what they need."""

_INSTALL_S = 300.0
_LINE_BYTES = 32 * 1024 * 1024


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder of the installed npm packages; see `installed_modules`."""
    return installed_modules()


def installed_modules() -> Path:
    """Return the folder of the npm packages, installed on first use, from any thread.

    Without Node, the test that asks is skipped, but not where all has to be tested.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        _missing("Node 20 or newer and npm are needed, and they are not on the PATH")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=WAIT_S).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        _missing(f"Node 20 or newer is needed, and this is {version.strip()}")
    with (JAVASCRIPT / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # processes of one run of the tests may come at the same time
        return _installed(npm, hashlib.sha256(lock.read()).hexdigest())


def _installed(npm: str, wanted: str) -> Path:
    folder = JAVASCRIPT / "node_modules"
    stamp = folder / ".installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        try:
            done = subprocess.run(
                [npm, "ci", "--ignore-scripts", "--loglevel=error"],
                cwd=JAVASCRIPT,
                capture_output=True,
                text=True,
                timeout=_INSTALL_S,
            )
        except subprocess.TimeoutExpired:
            _missing(f"`npm ci` took longer than {_INSTALL_S:g} s")
        if done.returncode != 0:
            _missing(f"`npm ci` failed: {done.stderr.strip()[:500] or 'it does not say why'}")
        stamp.write_text(wanted)
    return folder


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class NodeScript:
    """A script that runs: JSON objects in, one a line, and JSON objects out. What it prints to stderr is kept.

    Every wait is bounded by `WAIT_S`; when it is over, or the script has ended, the test fails with what it printed.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._kept: deque[dict[str, Any]] = deque()
        self._stderr = bytearray()
        self._listening = asyncio.create_task(self._listen())

    async def send(self, do: str, **fields: Any) -> None:
        """Send `{"do": do, ...fields}`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        async with asyncio.timeout(WAIT_S):
            await self._process.stdin.drain()

    async def next(self, what: str | None = None) -> dict[str, Any]:
        """Return the next object (whose `what` is this one; others before it are kept, in order, for later calls)."""
        for place, message in enumerate(self._kept):
            if what is None or message.get("what") == what:
                del self._kept[place]
                return message
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    message = await self._read()
                    if what is None or message.get("what") == what:
                        return message
                    self._kept.append(message)
        except TimeoutError:
            raise AssertionError(f"no {what or 'line'} within {WAIT_S:g} s; kept {list(self._kept)}; {self}") from None

    async def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Send an order and return the next object whose `what` is the same word."""
        await self.send(do, **fields)
        return await self.next(do)

    async def ended(self) -> int:
        """Close its input, wait for its end and return its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(WAIT_S):
            return await self._process.wait()

    async def stop(self) -> None:
        """Let it end by itself, or kill it."""
        try:
            await self.ended()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        assert self._process.stdout is not None
        await self._process.stdout.read()  # to its end, or the loop would be closed before the pipe
        await self._listening

    def __str__(self) -> str:
        return f"stderr: {self._stderr.decode(errors='replace') or 'nothing'}"

    async def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            await self._process.wait()
            raise AssertionError(f"the script ended with {self._process.returncode}; {self}")
        message: dict[str, Any] = json.loads(line)
        return message

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(65536):
            self._stderr += data


@asynccontextmanager
async def running_node(script: str, *arguments: str) -> AsyncIterator[NodeScript]:
    """Run a script of `tests/clients/javascript`; at the end its input is closed, which it takes for its end.

    Needs the fixture `node_modules`.
    """
    process = await asyncio.create_subprocess_exec(
        "node",
        str(JAVASCRIPT / script),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
    )
    running = NodeScript(process)
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            await running.stop()
