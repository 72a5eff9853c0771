"""Where the bytes of one idle connection go: `python -m benchmarks.memory [CONNECTIONS]`.

In: a number of connections. Out: a table for `docs/explanation/performance.md`: resident memory without tracing, and
what Python allocated, by whose code allocated it (`tracemalloc`, which makes the process larger: hence two runs).
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import native
from .processes import allow_files
from .websocket import connect, exchange

if TYPE_CHECKING:
    from server.app import Router

__all__ = ["main", "watch"]

_ROOT = Path(__file__).parent.parent
_WARM = 50
_TIMEOUT_S = 10.0
_REPORT = "POSTROOM_MEMORY_REPORT"
_OWNERS = (
    ("/websockets/", "websockets: connection, protocol, handshake"),
    ("/actors/audience.py", "places in rooms: the one subscribed to, and four of its own"),
    ("/actors/", "the Connection actor: mailbox, state, outbox, desk, supervision"),
    ("/server/", "listener and wire"),
    ("/pykka/", "pykka: the actor's reference"),
    ("asyncio", "uvloop and asyncio: transport, task, futures"),
)


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("connections", nargs="?", type=int, default=5000, help="default 5000")
    connections = parser.parse_args().connections
    allow_files()
    resident, _ = _measure(connections, traced=False)
    _, owners = _measure(min(connections, 2000), traced=True)
    print("| what | bytes |\n| --- | ---: |")
    for owner, size in sorted(owners.items(), key=lambda item: -item[1]):
        print(f"| {owner} | {size:,} |")
    print(
        f"| outside Python's objects: the event loop's handles, what allocators hold | {resident - owners.total():,} |"
    )
    print(f"| resident memory of the process, by {connections:,} connections | {resident:,} |")
    return 0


def watch(router: "Router") -> None:
    """Trace what is allocated (the plug-in): SIGUSR1 begins to count, SIGUSR2 writes the report."""
    tracemalloc.start()
    before = tracemalloc.take_snapshot()
    loop = asyncio.get_running_loop()

    def begin() -> None:
        nonlocal before
        before = tracemalloc.take_snapshot()
        Path(os.environ[_REPORT]).write_text("{}")

    def report() -> None:
        sizes: Counter[str] = Counter()
        for each in tracemalloc.take_snapshot().compare_to(before, "filename"):
            file = each.traceback[0].filename
            sizes[next((owner for part, owner in _OWNERS if part in file), "the rest")] += each.size_diff
        Path(os.environ[_REPORT]).write_text(json.dumps(sizes))

    loop.add_signal_handler(signal.SIGUSR1, begin)
    loop.add_signal_handler(signal.SIGUSR2, report)


def _measure(connections: int, *, traced: bool) -> tuple[int, Counter[str]]:
    """Return the bytes by which the process grew, and those that each owner allocated, by connections."""
    with tempfile.TemporaryDirectory() as folder, _router(Path(folder), traced) as (process, port):
        report = Path(folder) / "report"
        socks = [_enter(port) for _ in range(_WARM)]
        if traced:
            _ask(process, signal.SIGUSR1, report)
        before = _resident(process.pid)
        socks += [_enter(port) for _ in range(connections)]
        resident = (_resident(process.pid) - before) // connections
        owners: Counter[str] = Counter()
        if traced:
            report.unlink()
            _ask(process, signal.SIGUSR2, report)
            owners.update({name: size // connections for name, size in json.loads(report.read_text()).items()})
        for sock in socks:
            sock.close()
    return resident, owners


@contextmanager
def _router(folder: Path, traced: bool) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        port, api_port = first.getsockname()[1], second.getsockname()[1]
    plugin = ["--plugin", "benchmarks.memory:watch"] if traced else []
    command = [sys.executable, "-m", "server.cli", "serve", "--dev", "--journal", "memory"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--api-port", str(api_port), *plugin],
        cwd=_ROOT,
        env={**os.environ, _REPORT: str(folder / "report")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield process, port
    finally:
        process.terminate()
        process.wait(_TIMEOUT_S)


def _enter(port: int) -> socket.socket:
    sock = connect(port, native.PATH, _TIMEOUT_S)
    exchange(sock, native.hello(None), b'"welcome"')
    native.top(sock, "session:bench")
    return sock


def _ask(process: "subprocess.Popen[bytes]", number: signal.Signals, report: Path) -> None:
    """Have the plug-in do something, and wait until it has written the report."""
    process.send_signal(number)
    until = time.monotonic() + _TIMEOUT_S
    while not (report.exists() and report.stat().st_size):
        if time.monotonic() > until:
            raise TimeoutError("the router does not report")
        time.sleep(0.05)


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024


if __name__ == "__main__":
    sys.exit(main())
