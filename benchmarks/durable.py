"""`durable`: publishes that are acknowledged, and so committed to the journal, as fast as it goes.

In: a request. Out: its figures. The measured span starts and ends with nothing under way; before and afterwards the
rooms are asked how many events there are.
"""

import gc
import time
from dataclasses import dataclass

from . import native
from .benchmark import CPU_COLUMNS, Benchmark, Column, Load, Shares
from .deliveries import event
from .generator import Invalid, Request, Span, answer
from .publishers import BATCH, HTTP_CONNECTIONS, IN_FLIGHT, Batches, HttpConnection, Pipeline, Publishers
from .running import Server
from .websocket import connect, exchange

__all__ = ["DURABLE", "Figures", "measure"]

_ROOMS = 10
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Shares):
    """What one measurement gave."""

    publishes: float
    publishes_per_s: float
    cpu_us_per_publish: float
    """User and system time of the server process."""
    p50_ms: float
    p99_ms: float


def measure(request: Request) -> Figures:
    """Connect, warm up, publish and verify that every receipt stands for an event.

    Raises:
        Invalid: a publish was refused, not answered or answered twice, or a receipt had no event.
        OSError: the server could not be reached, or went away.
    """
    rooms = [f"session:bench-{request.load}-{number}" for number in range(_ROOMS)]
    publishers = _publishers(request, rooms)
    _publish_one(request.server, rooms[0])
    stored = _stored(request.server, rooms)
    try:
        gc.disable()
        publishers.run(request.warm_up_s)
        before, waits_before = publishers.acknowledged, len(publishers.waits_ms)
        span = Span(request.server)
        publishers.run(request.settings.seconds)
        span.end()
    finally:
        publishers.close()
    if (kept := _stored(request.server, rooms) - stored) != publishers.acknowledged:
        raise Invalid(f"{publishers.acknowledged} publishes were acknowledged, and {kept} events stored")
    publishes = publishers.acknowledged - before
    waits_ms = sorted(publishers.waits_ms[waits_before:])
    return Figures(
        publishes=publishes,
        publishes_per_s=publishes / span.elapsed_s,
        cpu_us_per_publish=span.server_s * 1e6 / publishes,
        p50_ms=waits_ms[len(waits_ms) // 2],
        p99_ms=waits_ms[len(waits_ms) * 99 // 100],
        **span.shares,
    )


def _publishers(request: Request, rooms: list[str]) -> Publishers:
    if request.load == "ws":
        return Pipeline(request.server, rooms)
    return Batches(request.server, rooms, named=request.load == "named")


def _publish_one(server: Server, room: str) -> None:
    """Publish an event; behind it, nobody else's event comes into the log that all rooms of a cluster share."""
    service = HttpConnection(server.api_port, native.token(server.secret, "bench", "service"))
    service.ask([native.item(room.encode(), event(time.monotonic_ns()))])
    service.sock.close()


def _stored(server: Server, rooms: list[str]) -> int:
    """Return how many events the log has been given: an offset counts those of a room, in a cluster those of all."""
    with connect(server.port, native.PATH, _TIMEOUT_S) as sock:
        exchange(sock, native.hello(native.token(server.secret, "bench", "user", "session:*")), b'"welcome"')
        tops = [native.top(sock, room).offset for room in rooms]
        return max(tops) if server.nats else sum(tops)


def _progress(figures: Shares) -> str:
    assert isinstance(figures, Figures)
    return f"{figures.publishes_per_s:>11,.0f} publishes/s {figures.cpu_us_per_publish:>7.2f} us"


_HTTP = f"{HTTP_CONNECTIONS} HTTP connections, batches of {BATCH} to {_ROOMS} rooms"

DURABLE = Benchmark(
    name="durable",
    generator="benchmarks.durable",
    figures=Figures,
    loads=(
        Load(name="http", title=lambda _: _HTTP, compared="publishes_per_s"),
        Load(name="named", title=lambda _: f"{_HTTP}, each event with an `event_id`", compared="publishes_per_s"),
        Load(
            name="ws",
            title=lambda _: f"1 WebSocket of a service, {IN_FLIGHT:,} publishes in flight to {_ROOMS} rooms",
            compared="publishes_per_s",
        ),
    ),
    peers=("postroom", "sqlite", "nats"),
    columns=(
        Column("publishes/s", 14, "publishes_per_s", ",.0f", generator_bound=True),
        Column("CPU us/publish", 17, "cpu_us_per_publish", ".1f"),
        Column("p50 ms", 9, "p50_ms", ".1f"),
        Column("p99 ms", 9, "p99_ms", ".1f"),
        *CPU_COLUMNS,
    ),
    progress=_progress,
    same=(),
    notes=(
        "publishes/s: those with a receipt, one for each event; p50 and p99: from sending to the receipt.",
        "CPU us/publish: user and system time of the server process, its journal's thread included, by receipts.",
    ),
)


if __name__ == "__main__":
    answer(measure)
