"""`logs`: what an event's way through each event log takes: memory, a file, NATS JetStream.

In: a request. Out: its figures. The publisher and all subscribers are at the same router, so that what differs is the
log alone: how long until it says that an event is kept, and what that costs.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from . import driven
from .audience import Audience
from .benchmark import Benchmark, Column, Load, Settings
from .dialects import DIALECTS
from .generator import Request, answer

__all__ = ["COLUMNS", "LOGS", "NOTE", "Figures", "measure"]

_EVENTS_PER_S = 100
_ROOMS = 100
_IN_ROOM = 10
_IN_FLIGHT = 2000
_SAMPLES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(driven.Figures):
    """What one measurement gave."""

    nats_cpu_percent: float
    """Of one core, all NATS servers together."""


COLUMNS = (*driven.COLUMNS, Column("NATS CPU %", 12, "nats_cpu_percent", ".0f"))

NOTE = "NATS servers share the load generator's core."


def measure(request: Request) -> Figures:
    """Connect, warm up, apply the load and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    rooms, size, apply = _load(request)
    with Audience(
        request.server.port,
        DIALECTS[request.dialect],
        [f"session:{request.load}-{number}" for number in range(rooms)],
        size=size,
        sample_every=max(1, rooms * size // _SAMPLES),
    ) as audience:
        figures, span = driven.watched(request, audience, apply)
    return Figures(**asdict(figures), nats_cpu_percent=100 * span.nats_s / span.elapsed_s)


def _load(request: Request) -> tuple[int, int, Callable[[Audience, float], None]]:
    if request.load == "alone":
        return 1, 1, driven.as_fast_as_it_goes(1)
    if request.load == "steady":
        return 1, request.settings.subscribers, driven.steadily(_EVENTS_PER_S)
    return _ROOMS, _IN_ROOM, driven.as_fast_as_it_goes(_IN_FLIGHT)


def _steady(settings: Settings) -> str:
    return f"1 room x {settings.subscribers} subscribers, {_EVENTS_PER_S} events/s"


LOGS = Benchmark(
    name="logs",
    generator="benchmarks.logs",
    figures=Figures,
    loads=(
        Load(name="alone", title=lambda _: "1 room x 1 subscriber, one event at a time", compared="p50_ms"),
        Load(name="steady", title=_steady, compared="p99_ms"),
        Load(
            name="rooms",
            title=lambda _: f"{_ROOMS} rooms x {_IN_ROOM} subscribers, as fast as it goes, {_IN_FLIGHT:,} in flight",
            compared="deliveries_per_s",
        ),
    ),
    peers=("postroom", "sqlite", "nats", "nats-synced", "nats-3"),
    columns=COLUMNS,
    progress=driven.progress,
    same=("subscribers",),
    notes=(
        driven.NOTE,
        "p50, p99: from publishing to delivery. NATS synced: an event is on the disk before it is acknowledged, as it "
        "is with sqlite; else the kernel has it. 3 NATS: each event on three servers.",
        NOTE,
    ),
)


if __name__ == "__main__":
    answer(measure)
