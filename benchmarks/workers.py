"""`workers`: one room's subscribers at one router, and the same ones at `--workers 2`, as the kernel spreads them.

In: a request. Out: its figures. The workers share one core, as one router has it, so the busiest one's CPU time tells
what two cores would bring: the time that passes does not.
"""

from dataclasses import asdict, dataclass

from . import driven, logs
from .audience import Audience
from .benchmark import Benchmark, Column, Load, Settings, Shares
from .dialects import DIALECTS
from .generator import Request, answer

__all__ = ["WORKERS", "Figures", "measure"]

_EVENTS_PER_S = 100
_IN_FLIGHT = 64
_SAMPLES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(logs.Figures):
    """What one measurement gave; where nothing else is said, of all routers together."""

    busiest_us_per_event: float
    """CPU time of the router that took most."""
    deliveries_per_busiest_s: float
    """Deliveries by the CPU time of that router: what all of them do in a second when each has a core for itself."""


def measure(request: Request) -> Figures:
    """Connect, warm up, apply the load and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    size = request.settings.subscribers
    steady = request.load == "steady"
    with Audience(
        request.server.port,
        DIALECTS[request.dialect],
        [f"session:{request.load}"],
        size=size,
        sample_every=max(1, size // _SAMPLES),
    ) as audience:
        apply = driven.steadily(_EVENTS_PER_S) if steady else driven.as_fast_as_it_goes(_IN_FLIGHT)
        figures, span = driven.watched(request, audience, apply)
    busiest_s = max(span.router_s)
    return Figures(
        **asdict(figures),
        nats_cpu_percent=100 * span.nats_s / span.elapsed_s,
        busiest_us_per_event=busiest_s * 1e6 / figures.events,
        deliveries_per_busiest_s=figures.deliveries / busiest_s,
    )


def _progress(figures: Shares) -> str:
    assert isinstance(figures, Figures)
    return f"{driven.progress(figures)} {figures.deliveries_per_busiest_s:>11,.0f}/s by the busiest"


def _room(settings: Settings) -> str:
    return f"1 room x {settings.subscribers} subscribers"


WORKERS = Benchmark(
    name="workers",
    generator="benchmarks.workers",
    figures=Figures,
    loads=(
        Load(
            name="steady",
            title=lambda settings: f"{_room(settings)}, {_EVENTS_PER_S} events/s",
            compared="deliveries_per_busiest_s",
        ),
        Load(
            name="full",
            title=lambda settings: f"{_room(settings)}, as fast as it goes, {_IN_FLIGHT} events in flight",
            compared="deliveries_per_busiest_s",
        ),
    ),
    peers=("postroom", "nats", "workers-2"),
    columns=(
        Column("a core each/s", 15, "deliveries_per_busiest_s", ",.0f"),
        Column("busiest us/event", 18, "busiest_us_per_event", ",.0f"),
        *logs.COLUMNS,
    ),
    progress=_progress,
    same=("subscribers",),
    notes=(
        "a core each/s: deliveries by the CPU seconds of the busiest router, which is what all of them would do in a "
        "second if each had a core. All other columns: workers on one core, of all of them together.",
        logs.NOTE,
    ),
)


if __name__ == "__main__":
    answer(measure)
