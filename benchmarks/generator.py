"""The frame of every load generator, a process of its own: `python -m benchmarks.NAME REQUEST`.

In: a request as JSON (server, load, settings). Out: one line of JSON, the figures of one measurement or why it is
invalid.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from .benchmark import Settings, Shares
from .running import Server

__all__ = ["Invalid", "Request", "Span", "allow_sockets", "answer"]

_WARM_UP_S = 0.5
_OTHER_FILES = 50
_SCHEDULER = 2
"""The clock of a process that counts what the scheduler gave it (CPUCLOCK_SCHED of Linux)."""


class Invalid(Exception):
    """The measurement is worth nothing: something is missing, or came twice, or out of order."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure."""

    server: Server
    dialect: str
    load: str
    settings: Settings
    earlier: dict[str, dict[str, float]]
    """The figures of the loads before this one in this round, by load, on the same server."""

    @property
    def warm_up_s(self) -> float:
        """How long the load is applied before it counts."""
        return min(_WARM_UP_S, self.settings.seconds)


class Span:
    """Time, and CPU time of the server and of this process, from creation to `end`.

    Args:
        server: All its routers count, where it has several.
    """

    def __init__(self, server: Server) -> None:
        self._routers = tuple(router.pid for router in server.routers)
        self._nats = server.nats
        self.router_s: tuple[float, ...] = ()
        """CPU time of each router."""
        self.server_s = self.nats_s = self.own_s = self.elapsed_s = 0.0
        self._before, self._own_before = self._read(), time.process_time()
        self.started = time.monotonic()

    def end(self, at: float | None = None) -> None:
        """Stop the clock, which may have stopped before (`at`, as `time.monotonic` tells it)."""
        self.elapsed_s = (time.monotonic() if at is None else at) - self.started
        used = [now - before for now, before in zip(self._read(), self._before, strict=True)]
        self.router_s = tuple(used[: len(self._routers)])
        self.server_s, self.nats_s = sum(self.router_s), sum(used[len(self._routers) :])
        self.own_s = time.process_time() - self._own_before

    def _read(self) -> list[float]:
        return [_process_cpu_s(pid) for pid in (*self._routers, *self._nats)]

    @property
    def shares(self) -> dict[str, float]:
        """Return the fields of `Shares`."""
        return {
            "server_cpu_percent": 100 * self.server_s / self.elapsed_s,
            "generator_cpu_percent": 100 * self.own_s / self.elapsed_s,
        }


def allow_sockets(count: int) -> None:
    """Let this process open so many.

    Raises:
        Invalid: it may not.
    """
    needed = count + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < needed:
        raise Invalid(f"{count} sockets are needed, and {hard} files may be open: see `ulimit -Hn`")
    if 0 <= soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def answer(measure: Callable[[Request], Shares]) -> None:
    """Measure as told on the command line and print the figures, or `{"invalid": why}`."""
    request = msgspec.json.decode(sys.argv[1], type=Request)
    outcome: Shares | dict[str, str]
    try:
        outcome = measure(request)
    except (Invalid, OSError) as problem:
        outcome = {"invalid": f"{problem}"}
    print(msgspec.json.encode(outcome).decode())


def _process_cpu_s(pid: int) -> float:
    """Return the user and system time of a process, all threads, to the nanosecond (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | _SCHEDULER)
