"""`nodes`: what an event costs each router of a cluster: where it is published, where somebody reads it, and elsewhere.

In: a request. Out: its figures. Three routers: the first has the publisher, the second a subscriber, the third nobody
that is in the room, unless the load says that each has a subscriber.
"""

import time
from dataclasses import dataclass

from .audience import Audience
from .benchmark import Benchmark, Column, Load, Shares
from .dialects import DIALECTS
from .driven import as_fast_as_it_goes, steadily, watched
from .generator import Request, Span, answer

__all__ = ["NODES", "Figures", "measure"]

_EVENTS_PER_S = 1000
_IN_FLIGHT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Shares):
    """What one measurement gave; the server's share is that of all routers."""

    events_per_s: float
    first_us_per_event: float
    """CPU time of the publisher's router."""
    second_us_per_event: float
    """Of a subscriber's."""
    third_us_per_event: float
    nats_us_per_event: float
    idle_percent: float
    """CPU time of the third router, of a core, before anything is published."""
    loaded_percent: float
    """And while events are."""
    p50_ms: float
    p99_ms: float


def measure(request: Request) -> Figures:
    """Connect, wait, warm up, apply the load and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    ports = [router.port for router in request.server.routers]
    at = ports if request.load == "everywhere" else ports[1:2]
    with Audience(
        request.server.port,
        DIALECTS[request.dialect],
        [f"session:{request.load}"],
        size=len(at),
        sample_every=1,
        at=at,
    ) as audience:
        idle = Span(request.server)
        time.sleep(request.settings.seconds)
        idle.end()
        steady = steadily(_EVENTS_PER_S, asking=False)
        apply = as_fast_as_it_goes(_IN_FLIGHT) if request.load == "batches" else steady
        figures, span = watched(request, audience, apply)
    first, second, third, nats = (used * 1e6 / figures.events for used in (*span.router_s, span.nats_s))
    return Figures(
        events_per_s=figures.events_per_s,
        first_us_per_event=first,
        second_us_per_event=second,
        third_us_per_event=third,
        nats_us_per_event=nats,
        idle_percent=100 * idle.router_s[-1] / idle.elapsed_s,
        loaded_percent=100 * span.router_s[-1] / span.elapsed_s,
        p50_ms=figures.p50_ms,
        p99_ms=figures.p99_ms,
        **span.shares,
    )


def _progress(figures: Shares) -> str:
    assert isinstance(figures, Figures)
    costs = figures.first_us_per_event, figures.second_us_per_event, figures.third_us_per_event
    return f"{figures.events_per_s:>11,.0f} events/s {' '.join(f'{cost:>7.1f} us' for cost in costs)}"


_STEADY = f"1 room, {_EVENTS_PER_S:,} events/s"

NODES = Benchmark(
    name="nodes",
    generator="benchmarks.nodes",
    figures=Figures,
    loads=(
        Load(
            name="elsewhere",
            title=lambda _: f"{_STEADY}, published at the first router, read by one client at the second",
            compared="second_us_per_event",
        ),
        Load(
            name="everywhere",
            title=lambda _: f"{_STEADY}, published at the first router, read by one client at each of the three",
            compared="third_us_per_event",
        ),
        Load(
            name="batches",
            title=lambda _: f"1 room, as fast as it goes, {_IN_FLIGHT} in flight, read by one client at the second",
            compared="second_us_per_event",
        ),
    ),
    peers=("routers-3",),
    columns=(
        Column("events/s", 11, "events_per_s", ",.0f"),
        Column("first us/event", 16, "first_us_per_event", ".1f"),
        Column("second us/event", 17, "second_us_per_event", ".1f"),
        Column("third us/event", 16, "third_us_per_event", ".1f"),
        Column("NATS us/event", 15, "nats_us_per_event", ".1f"),
        Column("third idle %", 14, "idle_percent", ".2f"),
        Column("third loaded %", 16, "loaded_percent", ".2f"),
        Column("p50 ms", 9, "p50_ms", ".1f"),
        Column("p99 ms", 9, "p99_ms", ".1f"),
    ),
    progress=_progress,
    same=(),
    notes=(
        "us/event: CPU time of each process, user and system, by events. third idle: CPU time of the third router, of "
        "a core, before anything is published; third loaded: while events are.",
    ),
)


if __name__ == "__main__":
    answer(measure)
