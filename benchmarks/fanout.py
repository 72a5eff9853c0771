"""`fanout`: events of one publisher to many subscribers of one room, steadily (A) and as fast as it goes (B).

In: a request. Out: its figures. The measured span starts with nothing under way and ends when the last subscriber has
the last event, so its events and its CPU time belong together.
"""

import gc
import time
from dataclasses import dataclass

from .benchmark import CPU_COLUMNS, Benchmark, Column, Load, Shares
from .dialects import DIALECTS
from .generator import Invalid, Request, Span, answer
from .room import Room

__all__ = ["EVENTS_PER_S", "FANOUT", "IN_FLIGHT", "Figures", "measure"]

EVENTS_PER_S = 100
"""Load A."""
IN_FLIGHT = 64
"""Load B."""

_STALL_TIMEOUT_S = 10.0
# The more events, the fewer subscribers are sampled: 5,000 stamps/s in A, and 2 % of all deliveries in B.
_SAMPLE_EVERY = {"A": 10, "B": 50}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Shares):
    """What one measurement gave."""

    events: float
    deliveries: float
    deliveries_per_s: float
    cpu_us_per_delivery: float
    """User and system time of the server process."""
    p50_ms: float
    p99_ms: float


def measure(request: Request) -> Figures:
    """Connect, warm up, apply the load and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    apply = {"A": steadily, "B": as_fast_as_it_goes}[request.load]
    dialect, subscribers = DIALECTS[request.dialect], request.settings.subscribers
    with Room(request.server.port, dialect, subscribers, _SAMPLE_EVERY[request.load]) as room:
        # The only garbage here is what reference counting frees.
        gc.disable()
        apply(room, request.warm_up_s)
        room.settle()

        events_before, deliveries_before = len(room.published_ns), room.deliveries()
        span = Span(request.server.pid)
        apply(room, request.settings.seconds)
        room.settle()
        span.end()
        events, deliveries = len(room.published_ns) - events_before, room.deliveries() - deliveries_before

        room.verify()
        latencies = room.latencies_ms(since_ns=room.published_ns[events_before])
    return Figures(
        events=events,
        deliveries=deliveries,
        deliveries_per_s=deliveries / span.elapsed_s,
        cpu_us_per_delivery=span.server_s * 1e6 / deliveries,
        p50_ms=latencies[len(latencies) // 2],
        p99_ms=latencies[len(latencies) * 99 // 100],
        **span.shares,
    )


def steadily(room: Room, seconds: float) -> None:
    """Publish 100 events/s, each at its own time whatever became of those before.

    While an event is under way the sockets are asked again and again, so that no receipt is timed late and no server
    pays for waking this process.
    """
    start = time.monotonic()
    for n in range(int(EVENTS_PER_S * seconds)):
        while (wait_s := start + n / EVENTS_PER_S - time.monotonic()) > 0:
            room.pump(0 if room.in_flight() else wait_s)
        room.publish(1)


def as_fast_as_it_goes(room: Room, seconds: float) -> None:
    """Publish the next event whenever the one 64 before has reached every subscriber.

    The slowest subscriber sets the pace, so no server gains by the order in which it serves them.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (free := IN_FLIGHT - room.in_flight()) > 0:
            room.publish(free)
        if not room.pump(_STALL_TIMEOUT_S):
            raise Invalid(f"nothing came for {_STALL_TIMEOUT_S:g} s with {room.in_flight()} events in flight")


def _progress(figures: Shares) -> str:
    assert isinstance(figures, Figures)
    return f"{figures.deliveries_per_s:>11,.0f} deliveries/s {figures.cpu_us_per_delivery:>7.2f} us"


FANOUT = Benchmark(
    name="fanout",
    generator="benchmarks.fanout",
    figures=Figures,
    loads=(
        Load(
            name="A",
            title=lambda settings: f"1 room x {settings.subscribers} subscribers, {EVENTS_PER_S} events/s",
            compared="cpu_us_per_delivery",
        ),
        Load(
            name="B",
            title=lambda settings: (
                f"1 room x {settings.subscribers} subscribers, as fast as it goes, {IN_FLIGHT} events in flight"
            ),
            compared="deliveries_per_s",
        ),
    ),
    peers=("postroom", "sqlite", "ws", "socketio", "broadcast"),
    columns=(
        Column("deliveries/s", 14, "deliveries_per_s", ",.0f", generator_bound=True),
        Column("CPU us/delivery", 17, "cpu_us_per_delivery", ".2f"),
        Column("p50 ms", 9, "p50_ms", ".1f"),
        Column("p99 ms", 9, "p99_ms", ".1f"),
        *CPU_COLUMNS,
    ),
    progress=_progress,
    same=("subscribers",),
    notes=("CPU us/delivery: user and system time of the server process by events that reached subscribers.",),
)


if __name__ == "__main__":
    answer(measure)
