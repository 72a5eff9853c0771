"""`idle`: thousands of subscribed clients that get nothing but pings: what each costs in memory, and all in CPU time.

In: a request. Out: its figures. A server that pings is watched for whole heartbeats, so that every client is pinged
equally often; the peers have no heartbeat, and are watched as long as a measurement takes.
"""

import math
import re
import time
from dataclasses import dataclass
from pathlib import Path

from . import native
from .audience import Audience
from .benchmark import Benchmark, Column, Load, Settings, Shares
from .dialects import DIALECTS
from .driven import idle
from .generator import Invalid, Request, Span, allow_sockets, answer
from .websocket import connect, exchange

__all__ = ["IDLE", "Figures", "measure"]

_IN_ROOM = 100
_TIMEOUT_S = 10.0
_HEARTBEAT = re.compile(rb'"heartbeat_s":([\d.]+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Shares):
    """What one measurement gave."""

    connect_s: float
    """Until all were subscribed, fifty at a time."""
    connect_cpu_us: float
    """User and system time of the server process, by connections."""
    kb_per_connection: float
    """By how much the server's resident memory grew, by connections; 1 KB is 1,024 bytes."""


def measure(request: Request) -> Figures:
    """Connect and subscribe, and leave the clients alone.

    Raises:
        Invalid: the server closed a client.
        OSError: the server could not be reached, or went away.
    """
    settings, pid = request.settings, request.server.pid
    allow_sockets(settings.connections)
    rooms = [f"session:bench-{number}" for number in range(max(1, settings.connections // _IN_ROOM))]
    watched_s = _whole_heartbeats(request)
    before_kb = _resident_kb(pid)
    connecting = Span(request.server)
    size = settings.connections // len(rooms)
    with Audience(request.server.port, DIALECTS[request.dialect], rooms, size=size, sample_every=_IN_ROOM) as audience:
        connecting.end()
        idle(audience, request.warm_up_s)
        span = Span(request.server)
        idle(audience, watched_s)
        span.end()
        after_kb = _resident_kb(pid)
    connections = len(rooms) * size
    return Figures(
        connect_s=connecting.elapsed_s,
        connect_cpu_us=connecting.server_s * 1e6 / connections,
        kb_per_connection=(after_kb - before_kb) / connections,
        **span.shares,
    )


def _whole_heartbeats(request: Request) -> float:
    seconds = request.settings.seconds
    if request.dialect != "postroom":
        return seconds
    with connect(request.server.port, native.PATH, _TIMEOUT_S) as sock:
        welcome = exchange(sock, native.hello(None), b'"heartbeat_s"')
    if (told := _HEARTBEAT.search(welcome)) is None:
        raise Invalid(f"no heartbeat in {welcome[:300]!r}")
    return math.ceil(seconds / float(told[1])) * float(told[1])


def _resident_kb(pid: int) -> int:
    time.sleep(0.1)
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def _progress(figures: Shares) -> str:
    assert isinstance(figures, Figures)
    return f"{figures.kb_per_connection:>11.1f} KB/connection {figures.server_cpu_percent:>7.2f} % of a core"


def _title(settings: Settings) -> str:
    return f"{settings.connections:,} subscribed connections, no events"


IDLE = Benchmark(
    name="idle",
    generator="benchmarks.idle",
    figures=Figures,
    loads=(Load(name="idle", title=_title, compared="kb_per_connection"),),
    peers=("postroom", "ws", "broadcast"),
    columns=(
        Column("KB/connection", 15, "kb_per_connection", ".1f"),
        Column("idle CPU %", 12, "server_cpu_percent", ".2f"),
        Column("connect s", 11, "connect_s", ".1f"),
        Column("connect CPU us", 16, "connect_cpu_us", ".0f"),
        Column("generator CPU %", 17, "generator_cpu_percent", ".0f"),
    ),
    progress=_progress,
    same=("connections",),
    most_rounds=1,
    notes=(
        "KB/connection: growth of the server's resident memory by connections, after the last heartbeat watched.",
        "idle CPU: over whole heartbeats (25 s by default) of Postroom, unscaled; the peers send no pings.",
        "connect: until all are subscribed, fifty at a time, and the server's CPU time by connections.",
    ),
)


if __name__ == "__main__":
    answer(measure)
