"""Server processes, each on a core of its own, and never left behind.

In: a peer. Out: a process that is ready, for as long as a `with` block lasts.
"""

import http.client
import os
import resource
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .peers import Peer

__all__ = ["LOAD_CORE", "SERVER_CORE", "Server", "StartFailed", "allow_files", "exit_on_signals", "on_core", "running"]

_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.05

_cores = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _cores[:2] if len(_cores) > 1 else (None, None)
"""One core each; `None` for both where there is only one."""


class StartFailed(Exception):
    """The server ended, or was not ready in time; says what it printed last."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs and is ready."""

    pid: int
    port: int
    api_port: int
    """Where Postroom's HTTP API is; nobody listens there otherwise."""
    secret: str
    """What Postroom's tokens are signed with."""
    journal: str | None
    """The file that it keeps events in, or `None`."""

    @property
    def kept_nothing(self) -> bool:
        """Whether there should be a journal and is none: then the figures are those of another server."""
        return self.journal is not None and not Path(self.journal).exists()


def allow_files() -> None:
    """Let the processes started from now on open as many files as they may: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def exit_on_signals() -> None:
    """Turn a termination or a closed terminal into `SystemExit`, so that every `finally` runs."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)


def _exit(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Let the processes started in the block run on `core` alone; `None` leaves them all cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if core is None else {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(peer: Peer) -> Iterator[Server]:
    """Start a server on free loopback ports, wait until it is ready, and end it after the block.

    For a peer without a server this is the process that measures, and nothing is started.

    Raises:
        StartFailed: it ended, or was not ready within 20 s.
    """
    if peer.command is None:
        yield Server(pid=0, port=0, api_port=0, secret="", journal=None)
        return
    port, api_port = _free_ports()
    secret = secrets.token_hex(32)
    # Its settings are the defaults, wherever the benchmark is called from.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
    environment |= {"NODE_ENV": "production", "POSTROOM_SECRET": secret, **peer.settings}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        with on_core(SERVER_CORE):
            process = subprocess.Popen(
                peer.command(port, api_port),
                cwd=Path(folder),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches the benchmark alone, which then ends its server in order.
                start_new_session=True,
            )
        try:
            _wait_until_ready(process, port, peer.health, output)
            journal = None if peer.journal is None else str(Path(folder) / peer.journal)
            yield Server(process.pid, port, api_port, secret, journal)
        finally:
            _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, health: str | None, output: BinaryIO) -> None:
    until = time.monotonic() + _START_TIMEOUT_S
    while not _is_ready(port, health):
        if process.poll() is not None:
            raise StartFailed(f"ended with code {process.returncode}: {_last_line(output)}")
        if time.monotonic() > until:
            raise StartFailed(f"not ready after {_START_TIMEOUT_S:g} s: {_last_line(output)}")
        time.sleep(_POLL_S)


def _is_ready(port: int, health: str | None) -> bool:
    try:
        if health is None:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", health)
            return connection.getresponse().status == 200
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # Also when a second Ctrl-C interrupts the wait; nothing happens to a process that has ended.
        process.kill()
        process.wait()


def _last_line(output: BinaryIO) -> str:
    output.seek(0)
    lines = output.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
