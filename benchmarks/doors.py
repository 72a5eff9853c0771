"""`doors`: load A at each protocol that a room is open to, one after the other on the same router.

In: a request; its load names the door. Out: its figures. Every subscriber and the publisher come through that door, so
what is compared is the whole way of an event: the room, its policy and its history are the same for all of them.
"""

from .audience import Audience
from .benchmark import Benchmark, Load
from .dialects import DIALECTS
from .driven import COLUMNS, NOTE, Figures, drive, progress, steadily
from .generator import Request, answer

__all__ = ["DOORS", "measure"]

_ROOM = "session:bench"
_EVENTS_PER_S = 100
_SAMPLE_EVERY = 10
_TITLES = {"native": "Postroom's own protocol", "centrifuge": "Centrifuge's JSON protocol", "socketio": "Socket.IO"}
_DIALECTS = {"native": "postroom", "centrifuge": "postroom-centrifuge", "socketio": "postroom-socketio"}


def measure(request: Request) -> Figures:
    """Connect through one door, warm up, apply the load and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    dialect, size = DIALECTS[_DIALECTS[request.load]], request.settings.subscribers
    with Audience(request.server.port, dialect, [_ROOM], size=size, sample_every=_SAMPLE_EVERY) as audience:
        return drive(request, audience, steadily(_EVENTS_PER_S))


def _load(door: str) -> Load:
    return Load(
        name=door,
        title=lambda settings: (
            f"1 room x {settings.subscribers} subscribers, {_EVENTS_PER_S} events/s, all by {_TITLES[door]}"
        ),
        compared="cpu_us_per_delivery",
    )


DOORS = Benchmark(
    name="doors",
    generator="benchmarks.doors",
    figures=Figures,
    loads=tuple(_load(door) for door in _TITLES),
    peers=("postroom",),
    columns=COLUMNS,
    progress=progress,
    same=("subscribers",),
    notes=(NOTE,),
)


if __name__ == "__main__":
    answer(measure)
