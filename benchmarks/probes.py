"""What an operator and a client that publishes nothing wait for while a server is flooded; a process of its own.

In: a server, rooms and for how long, as JSON. Out: one line of JSON, the waits of each kind in ms, and the server's
resident memory over the time.
"""

import http.client
import itertools
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from . import native
from .running import Server
from .websocket import connect, exchange

__all__ = ["Probes", "Seen", "resident_mib"]

_TIMEOUT_S = 15.0
_FEWEST = 4
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Probes:
    """What to ask, and for how long."""

    server: Server
    rooms: list[str]
    """Busy ones."""
    seconds: float


@dataclass(slots=True)
class Seen:
    """What was seen."""

    waits_ms: dict[str, list[float]] = field(default_factory=dict)
    """By kind: `ping`, `subscribe`, `join`, `http`."""
    failed: list[str] = field(default_factory=list)
    """What was not answered as it should have been."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, MiB)."""


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process (proc_pid_status(5))."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def probe(probes: Probes) -> Seen:
    """Ask each kind over and over, side by side; the first failure of a kind is its last."""
    seen = Seen()
    started = time.monotonic()
    ask = _Asking(probes)

    def repeat(kind: str, once: Callable[[], object]) -> None:
        waits = seen.waits_ms[kind] = []
        try:
            while not waits or time.monotonic() < started + probes.seconds:
                before = time.monotonic()
                once()
                waits.append((time.monotonic() - before) * 1000)
                time.sleep(_PAUSE_S)
        except Exception as problem:
            seen.failed.append(f"{kind}: {problem!r}")

    threads = [
        threading.Thread(target=repeat, args=(kind, once))
        for kind, once in (
            ("ping", ask.ping),
            ("subscribe", ask.subscribe),
            ("join", ask.join),
            ("http", ask.ready),
        )
    ]
    for thread in threads:
        thread.start()
    while len(seen.memory) < _FEWEST or time.monotonic() < started + probes.seconds:
        seen.memory.append((time.monotonic() - started, resident_mib(probes.server.pid)))
        time.sleep(min(0.1, probes.seconds / 10))
    for thread in threads:
        thread.join()
    return seen


class _Asking:
    """One question of each kind; each has a connection of its own, made before time counts.

    Args:
        probes: What to ask.
    """

    def __init__(self, probes: Probes) -> None:
        self._server = probes.server
        self._hello = native.hello(native.token(probes.server.secret, "operator", "admin"))
        self._pings, self._subscriptions = self._open(), self._open()
        self._http = http.client.HTTPConnection("127.0.0.1", probes.server.api_port, timeout=_TIMEOUT_S)
        self._rooms = itertools.cycle(probes.rooms)

    def ping(self) -> None:
        """Have a ping answered on a connection that is there."""
        exchange(self._pings, b'{"type":"ping","id":1}', b'"pong"')

    def subscribe(self) -> None:
        """Join a busy room, with its state, and leave it, on a connection that is there."""
        self._join_and_leave(self._subscriptions)

    def join(self) -> None:
        """Connect, say hello, join a busy room and leave it."""
        with self._open() as sock:
            self._join_and_leave(sock)

    def ready(self) -> None:
        """Ask whether the router is ready."""
        self._http.request("GET", "/readyz")
        answer = self._http.getresponse()
        answer.read()
        if answer.status != 200:
            raise ConnectionError(f"/readyz answered {answer.status}")

    def _open(self) -> socket.socket:
        sock = connect(self._server.port, native.PATH, _TIMEOUT_S)
        exchange(sock, self._hello, b'"welcome"')
        return sock

    def _join_and_leave(self, sock: socket.socket) -> None:
        room = next(self._rooms)
        exchange(sock, b'{"type":"subscribe","id":1,"room":"%b"}' % room.encode(), b'"subscribed"')
        exchange(sock, b'{"type":"unsubscribe","id":2,"room":"%b"}' % room.encode(), b'"unsubscribed"')


def main() -> None:
    """Probe as told on the command line."""
    print(json.dumps(asdict(probe(msgspec.json.decode(sys.argv[1], type=Probes)))))


if __name__ == "__main__":
    main()
