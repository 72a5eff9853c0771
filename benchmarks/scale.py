"""`scale`: the same deliveries/s to one room of 500 and to one of 10,000: does a delivery cost more among many?

In: a request. Out: its figures. Events come at a fixed rate, 100/s to the few and as many fewer to the many, so that
in both a delivery is one event in one write, and what differs is how many connections there are.
"""

from .audience import Audience
from .benchmark import Benchmark, Load, Settings
from .dialects import DIALECTS
from .driven import COLUMNS, NOTE, Figures, drive, progress, steadily
from .generator import Request, allow_sockets, answer

__all__ = ["SCALE", "measure"]

_EVENTS_PER_S = 100
"""To the few."""
_SAMPLE_EVERY = 50
_ACQUAINTANCE = 50
"""Events before anything counts: a router that finds out how fast a client reads does so at its beginning, and among
ten thousand that would be most of a short measurement."""


def measure(request: Request) -> Figures:
    """Connect, warm up, apply the load and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    size = _size(request.load, request.settings)
    allow_sockets(size)
    dialect = DIALECTS[request.dialect]
    room = f"session:bench-{request.load}"
    with Audience(request.server.port, dialect, [room], size=size, sample_every=_SAMPLE_EVERY) as audience:
        for _ in range(_ACQUAINTANCE):
            audience.publish(1)
            audience.settle()
        return drive(request, audience, steadily(_rate(request.load, request.settings)))


def _size(load: str, settings: Settings) -> int:
    return settings.subscribers if load == "few" else settings.connections


def _rate(load: str, settings: Settings) -> float:
    return _EVENTS_PER_S * settings.subscribers / _size(load, settings)


def _load(name: str) -> Load:
    def title(settings: Settings) -> str:
        return f"1 room x {_size(name, settings):,} subscribers, {_rate(name, settings):g} events/s"

    return Load(name=name, title=title, compared="cpu_us_per_delivery")


SCALE = Benchmark(
    name="scale",
    generator="benchmarks.scale",
    figures=Figures,
    loads=(_load("few"), _load("many")),
    peers=("postroom", "ws"),
    columns=COLUMNS,
    progress=progress,
    same=("subscribers", "connections"),
    most_rounds=2,
    notes=(NOTE,),
)


if __name__ == "__main__":
    answer(measure)
