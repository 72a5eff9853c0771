"""RouterProcess: a real router as a child process, started, stopped and killed on the same two ports."""

from __future__ import annotations

import http.client
import importlib.metadata
import itertools
import json
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
_OURS = {"host": "url", "port": "url", "api_host": "api_url", "api_port": "api_url"}
"""What is not for others to set, and where it can be read."""


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
            Paths start from the caller's working directory.
        plugins: What it runs beside its own and those of the settings, as `MODULE:FUNCTION`.
        environment: More variables for it.
        cwd: Its working directory, where it finds modules of plug-ins besides the installed ones; None: the caller's.

    Raises:
        RouterMissing: `postroom` is not installed.
        ValueError: A setting is the kit's own.
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
        self.settings = {"journal": folder / "journal.db", "log_format": "json", **(settings or {})}
        for name in self.settings:
            if name in _OURS:
                raise ValueError(f"{name} cannot be set: the kit finds free ports on loopback; read `{_OURS[name]}`")
        self.port, self.api_port = itertools.islice(_free_ports(), 2)
        self.url = f"ws://127.0.0.1:{self.port}/v1/ws"
        self.api_url = f"http://127.0.0.1:{self.api_port}"
        self.log_path = folder / "router.log"
        self._config_path = folder.absolute() / "settings.toml"
        self._cwd = cwd
        # A caller's own settings do not count, and neither does a folder of its that may hold a package `server`.
        inherited = {
            name: value for name, value in os.environ.items() if name != "PYTHONPATH" and name[:9] != "POSTROOM_"
        }
        self._environment = {**inherited, **(environment or {})}
        self._plugins = plugins
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
        self._config_path.write_text(_toml(self.settings, self._plugins), encoding="utf-8")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "server.cli", "serve", "--config", str(self._config_path)),
                    *("--port", str(self.port), "--api-port", str(self.api_port)),
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


def _toml(settings: Mapping[str, object], plugins: Sequence[str]) -> str:
    """Write the settings file; the router refuses what it does not know there."""
    values = {name: value for name, value in settings.items() if value is not None}
    theirs = values.get("plugins", ())
    values["plugins"] = [*plugins, *theirs] if isinstance(theirs, list | tuple) else theirs
    for name in ("journal", "key_file"):
        if name in values and values[name] != "memory":
            values[name] = Path(str(values[name])).absolute()
    # JSON's strings, numbers, truth values and lists are TOML's too.
    return "".join(
        f"{json.dumps(name)} = {json.dumps(value, default=str, ensure_ascii=False)}\n" for name, value in values.items()
    )


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
