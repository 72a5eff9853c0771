"""RouterProcess: a real router as a child process, started, stopped and killed on the same two ports."""

from __future__ import annotations

import http.client
import importlib.metadata
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .._errors import PostroomError

__all__ = ["RouterFailed", "RouterMissing", "RouterProcess"]

_START_S = 30.0
_STOP_S = 40.0
_PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections. A client that knocks at the port of a dead router may be
given that very port as its own, and is then connected to itself."""


class RouterMissing(PostroomError):
    """The router is not installed."""

    def __str__(self) -> str:
        return (
            "the test kit runs a real router, and the distribution 'postroom' is not installed in "
            f"{sys.prefix}: pip install 'postroom-client[testing]'"
        )


class RouterFailed(PostroomError):
    """The router did not start, or ended by itself; says what it logged last."""


class RouterProcess:
    """A router of this environment's `postroom`, in a process of its own on loopback ports. It ends with its parent.

    Nothing here needs a running loop; `start` and `stop` block.

    Args:
        folder: Where it runs: its log goes to `router.log`, and its journal to `journal.db`.
        settings: The router's settings by name, for example `{"history_s": 5}`; those of the environment do not count.
        plugins: What it runs beside its own, as `MODULE:FUNCTION`.
        environment: More variables for it.
        cwd: Its working directory; None: the folder.

    Raises:
        RouterMissing: `postroom` is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, object] | None = None,
        plugins: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        try:
            importlib.metadata.distribution("postroom")
        except importlib.metadata.PackageNotFoundError:
            raise RouterMissing from None
        self.port, self.api_port = itertools.islice(_free_ports(), 2)
        self.url = f"ws://127.0.0.1:{self.port}/v1/ws"
        self.api_url = f"http://127.0.0.1:{self.api_port}"
        self.log_path = folder / "router.log"
        self._cwd = cwd or folder
        self.settings = {"journal": folder / "journal.db", "log_format": "json", **(settings or {})}
        # A caller's own settings do not count, and neither does a folder of its that may hold a package `server`.
        inherited = {
            name: value for name, value in os.environ.items() if name != "PYTHONPATH" and name[:9] != "POSTROOM_"
        }
        variables = {f"POSTROOM_{name.upper()}": _text(value) for name, value in self.settings.items()}
        self._environment = {**inherited, **variables, **(environment or {})}
        self._plugins = [argument for plugin in plugins for argument in ("--plugin", plugin)]
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<RouterProcess {self.url} {'runs' if self.running else 'does not run'}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process, which runs or ran last."""
        assert self._process is not None, "the router was never started"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None: it runs, or was never started."""
        return None if self._process is None else self._process.poll()

    @property
    def log(self) -> str:
        """What it has logged so far, over all its lives."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def spawn(self) -> None:
        """Start it, and do not wait."""
        assert not self.running, "the router runs already"
        self._forget()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "server.cli", "serve"),
                    *("--port", str(self.port), "--api-port", str(self.api_port), *self._plugins),
                ],
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the tests alone, which then end their router
            )

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RouterFailed: It ended by itself, or was not ready within 30 s.
        """
        deadline = time.monotonic() + _START_S
        self.spawn()
        while not self.ready():
            if not self.running:
                raise RouterFailed(f"the router ended with {self.exit_code} at its start:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                self.kill()
                raise RouterFailed(f"the router was not ready within {_START_S:g} s:\n{self.last_lines()}")
            time.sleep(0.02)

    def ready(self) -> bool:
        """Tell whether it answers on both ports."""
        return all(_answers(port) for port in (self.port, self.api_port))

    def stop(self) -> int:
        """End it as an operator does, and return its exit code; one that does not end within 40 s is killed."""
        process = self._process
        assert process is not None, "the router was never started"
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            return process.wait(_STOP_S)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it without a word (`kill -9`), if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_S)
        self._forget()

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal: `SIGSTOP` and `SIGCONT` let it stand still and go on."""
        assert self._process is not None, "the router was never started"
        self._process.send_signal(number)

    def last_lines(self, count: int = 15) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.splitlines()[-count:])

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()


def _text(value: object) -> str:
    """Write a setting as its variable wants it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_ports() -> Iterator[int]:
    for port in random.SystemRandom().sample(_PORTS, 1000):  # by chance: others may look for ports right now
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
