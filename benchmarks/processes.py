"""Processes, each kind on a core of its own, and never left behind.

In: a command line. Out: a process that is ready, for as long as a `with` block lasts.
"""

import http.client
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "LOAD_CORE",
    "SERVER_CORE",
    "StartFailed",
    "allow_files",
    "exit_on_signals",
    "free_ports",
    "on_core",
    "started",
]

_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.05

_cores = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _cores[:2] if len(_cores) > 1 else (None, None)
"""One core each; `None` for both where there is only one."""


class StartFailed(Exception):
    """The process ended, or was not ready in time; says what it printed last."""


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
def started(
    command: Sequence[str],
    port: int,
    health: str | None,
    *,
    folder: Path,
    core: int | None = SERVER_CORE,
    environment: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Start a process, wait until it is ready, give its pid, and end it after the block.

    Args:
        command: its command line.
        port: where it listens, on loopback.
        health: the path that answers 200 when it is ready; `None`: it is when it accepts connections.
        folder: where it works.
        core: where it runs; `None`: anywhere.
        environment: `None`: that of this process.

    Raises:
        StartFailed: it ended, or was not ready within 20 s.
    """
    with tempfile.TemporaryFile() as output:
        with on_core(core):
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches the benchmark alone, which then ends its servers in order.
                start_new_session=True,
            )
        try:
            until = time.monotonic() + _START_TIMEOUT_S
            while not _is_ready(port, health):
                if process.poll() is not None:
                    raise StartFailed(f"ended with code {process.returncode}: {_last_line(output)}")
                if time.monotonic() > until:
                    raise StartFailed(f"not ready after {_START_TIMEOUT_S:g} s: {_last_line(output)}")
                time.sleep(_POLL_S)
            yield process.pid
        finally:
            _stop(process)


def free_ports(count: int) -> list[int]:
    """Return different ports of loopback that nobody uses now."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


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
