"""`costs`: what the capacity model is made of, and mixed loads that it has to predict.

In: a request. Out: its figures. Bursts of 1 and of 8 events go to a room of many, a room of one, and 8 rooms of one:
five costs that can be solved for. The mixed loads play no part in that.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from . import driven
from .audience import Audience
from .benchmark import Benchmark, Load, Shares
from .dialects import DIALECTS
from .generator import Request, allow_sockets, answer

__all__ = ["BURSTS", "COSTS", "MANY", "MIXED", "Figures", "measure"]

MANY = 1000
"""Subscribers of the large room; the small one has one."""
BURST = 8
BURSTS = {
    "1x1": (1, 1, 1),
    f"1x{BURST}": (1, 1, BURST),
    f"{MANY}x1": (1, MANY, 1),
    f"{MANY}x{BURST}": (1, MANY, BURST),
    "rooms": (BURST, 1, BURST),
}
"""Rooms, subscribers of each and events of a burst over all, by load."""
MIXED = {"mixed-10": (40, 25, 400), "mixed-40": (40, 25, 1600), "mixed-70": (40, 25, 2800)}
"""Rooms, subscribers of each and events/s over all, by load."""

_SAMPLES = 50
_LOOPBACK = Path("/sys/class/net/lo/statistics/tx_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(driven.Figures):
    """What one measurement gave."""

    wire_bytes_per_delivery: float
    """Through the loopback interface: frames, TCP/IP headers and acknowledgements."""


def measure(request: Request) -> Figures:
    """Connect, apply the load and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    rooms, size, apply = _load(request)
    allow_sockets(rooms * size)
    with Audience(
        request.server.port,
        DIALECTS[request.dialect],
        [f"session:{request.load}-{number}" for number in range(rooms)],
        size=size,
        sample_every=max(1, rooms * size // _SAMPLES),
    ) as audience:
        before = int(_LOOPBACK.read_text())
        figures = driven.drive(request, audience, apply)
        wire_bytes = int(_LOOPBACK.read_text()) - before
        return Figures(**asdict(figures), wire_bytes_per_delivery=wire_bytes / audience.deliveries())


def _load(request: Request) -> tuple[int, int, Callable[[Audience, float], None]]:
    if request.load in MIXED:
        rooms, size, rate = MIXED[request.load]
        return rooms, size, driven.steadily(rate)
    rooms, size, burst = BURSTS[request.load]
    return rooms, min(size, request.settings.most), _bursts(burst)


def _bursts(size: int) -> Callable[[Audience, float], None]:
    """Return the load that publishes so many events at once whenever the last ones have all arrived."""

    def apply(audience: Audience, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            audience.publish(size)
            audience.settle()

    return apply


def _progress(figures: Shares) -> str:
    assert isinstance(figures, Figures)
    return f"{driven.progress(figures)} {figures.server_cpu_percent:>5.0f} % of a core"


def _burst_title(rooms: int, size: int, burst: int) -> str:
    events = "one event" if burst == 1 else f"{burst} events"
    return f"{_rooms(rooms, size)}, {events} at a time"


def _mixed_title(rooms: int, size: int, rate: int) -> str:
    return f"{_rooms(rooms, size)}, {rate:,} events/s over all"


def _rooms(rooms: int, size: int) -> str:
    return f"{rooms} room{'s' if rooms > 1 else ''} x {size:,} subscriber{'s' if size > 1 else ''}"


COSTS = Benchmark(
    name="costs",
    generator="benchmarks.costs",
    figures=Figures,
    loads=(
        *(Load(name, lambda _, of=of: _burst_title(*of), "cpu_us_per_delivery") for name, of in BURSTS.items()),
        *(Load(name, lambda _, of=of: _mixed_title(*of), "cpu_us_per_delivery") for name, of in MIXED.items()),
    ),
    peers=("postroom",),
    columns=driven.COLUMNS,
    progress=_progress,
    same=("most",),
    notes=(driven.NOTE,),
)


if __name__ == "__main__":
    answer(measure)
