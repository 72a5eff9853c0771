"""`fanout`: events of one publisher to many subscribers of one room, steadily and as fast as it goes.

In: a request. Out: its figures. Load A comes at 100 events/s, B as fast as it goes, and `half` at half the rate that B
reached just before on the same server.
"""

from collections.abc import Callable

from .audience import Audience
from .benchmark import Benchmark, Load
from .dialects import DIALECTS
from .driven import COLUMNS, NOTE, Figures, as_fast_as_it_goes, drive, progress, steadily
from .generator import Invalid, Request, answer

__all__ = ["FANOUT", "IN_FLIGHT", "measure"]

_ROOM = "session:bench"
_EVENTS_PER_S = 100
IN_FLIGHT = 64

# The more events, the fewer subscribers are sampled: 5,000 stamps/s in A, and 2 % of all deliveries in the others.
_SAMPLE_EVERY = {"A": 10, "B": 50, "half": 50}


def measure(request: Request) -> Figures:
    """Connect, warm up, apply the load and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    apply, settings = _load(request), request.settings
    with Audience(
        request.server.port,
        DIALECTS[request.dialect],
        [_ROOM],
        size=settings.subscribers,
        sample_every=_SAMPLE_EVERY[request.load],
    ) as audience:
        return drive(request, audience, apply)


def _load(request: Request) -> Callable[[Audience, float], None]:
    if request.load == "A":
        return steadily(_EVENTS_PER_S)
    if request.load == "B":
        return as_fast_as_it_goes(IN_FLIGHT)
    if "B" not in request.earlier:
        raise Invalid("load B gave no rate to take half of")
    return steadily(request.earlier["B"]["events_per_s"] / 2)


FANOUT = Benchmark(
    name="fanout",
    generator="benchmarks.fanout",
    figures=Figures,
    loads=(
        Load(
            name="A",
            title=lambda settings: f"1 room x {settings.subscribers} subscribers, {_EVENTS_PER_S} events/s",
            compared="cpu_us_per_delivery",
        ),
        Load(
            name="B",
            title=lambda settings: (
                f"1 room x {settings.subscribers} subscribers, as fast as it goes, {IN_FLIGHT} events in flight"
            ),
            compared="deliveries_per_s",
        ),
        Load(
            name="half",
            title=lambda settings: f"1 room x {settings.subscribers} subscribers, half of the events/s that B reached",
            compared="p99_ms",
            peers=("postroom",),
        ),
    ),
    peers=("postroom", "sqlite", "ws", "socketio", "broadcast", "socketio-py"),
    columns=COLUMNS,
    progress=progress,
    same=("subscribers",),
    notes=(NOTE,),
)


if __name__ == "__main__":
    answer(measure)
