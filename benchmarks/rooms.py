"""`rooms`: events of one publisher to many small rooms, as fast as it goes, with few events in flight and with many.

In: a request. Out: its figures.
"""

from .audience import Audience
from .benchmark import Benchmark, Load, Settings
from .dialects import DIALECTS
from .driven import COLUMNS, NOTE, Figures, as_fast_as_it_goes, drive, progress
from .generator import Request, answer

__all__ = ["IN_FLIGHT", "IN_ROOM", "ROOMS", "measure"]

IN_ROOM = 10
IN_FLIGHT = {"C": 400, "D": 2000}
_SAMPLE_EVERY = 50


def measure(request: Request) -> Figures:
    """Connect, warm up, apply the load and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    with Audience(
        request.server.port,
        DIALECTS[request.dialect],
        [f"session:bench-{number}" for number in range(request.settings.rooms)],
        size=IN_ROOM,
        sample_every=_SAMPLE_EVERY,
    ) as audience:
        return drive(request, audience, as_fast_as_it_goes(IN_FLIGHT[request.load]))


def _load(name: str) -> Load:
    def title(settings: Settings) -> str:
        rooms = f"{settings.rooms} rooms x {IN_ROOM} subscribers"
        return f"{rooms}, as fast as it goes, {IN_FLIGHT[name]:,} events in flight"

    return Load(name=name, title=title, compared="deliveries_per_s")


ROOMS = Benchmark(
    name="rooms",
    generator="benchmarks.rooms",
    figures=Figures,
    loads=tuple(_load(name) for name in IN_FLIGHT),
    peers=("postroom", "sqlite", "ws", "socketio", "broadcast", "socketio-py"),
    columns=COLUMNS,
    progress=progress,
    same=("rooms",),
    notes=(NOTE,),
)


if __name__ == "__main__":
    answer(measure)
