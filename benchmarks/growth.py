"""`growth`: what a delivery costs as one thing grows: subscribers, rooms, events/s, or the history that a room keeps.

In: a request whose load is a point on one axis. Out: its figures. Most points are taken twice: with a few events in
flight in each room, which leave in batches, and with one event at a time, where every delivery is a write of its own.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from .audience import Audience
from .benchmark import CPU_COLUMNS, Benchmark, Column, Load, Settings, Shares
from .dialects import DIALECTS
from .driven import COLUMNS as RATE_COLUMNS
from .driven import NOTE, as_fast_as_it_goes, drive, progress, steadily
from .driven import Figures as RateFigures
from .generator import Invalid, Request, allow_sockets, answer
from .peers import HISTORIES

__all__ = ["AXES", "Figures", "measure"]

SUBSCRIBERS = (10, 100, 1000, 5000, 10_000)
ROOMS = (1, 10, 100, 1000, 10_000)
IN_ALL = 10_000
"""Subscribers over all rooms."""
RATES = (10, 30, 100, 300, 1000, 2000)
"""Events/s to one room."""
IN_ROOM = 500
HISTORY_IN_ROOM = 100

_FULL = "full"
_IN_FLIGHT = 8
"""In each room. The largest ones have 80,000 deliveries under way then, which the generator reads in time to be taken
for quick by the server."""
_MOST_IN_FLIGHT = 2000
"""Over all rooms."""
_FULL_IN_FLIGHT = 64
_FILL_IN_FLIGHT = 500
_SAMPLES = 100
"""Subscribers whose events are timed, at most."""
_FEW_EVENTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Shares):
    """What one point gave; the shares are those of the batches."""

    deliveries_per_s: float
    cpu_us_per_delivery: float
    """In batches: user and system time of the server process."""
    p99_ms: float
    alone_deliveries_per_s: float
    alone_cpu_us_per_delivery: float
    """One event at a time."""
    alone_p99_ms: float


def measure(request: Request) -> Shares:
    """Connect, fill the history if that is what grows, apply the load and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    axis, _, point = request.load.partition(" ")
    return _AXES[axis](request, point)


def _subscribers(request: Request, point: str) -> Shares:
    with _audience(request, rooms=1, size=_at_most(request, point)) as audience:
        return _both(request, audience, rooms=1)


def _rooms(request: Request, point: str) -> Shares:
    rooms, in_all = _at_most(request, point), min(IN_ALL, request.settings.most)
    with _audience(request, rooms=rooms, size=in_all // rooms) as audience:
        return _both(request, audience, rooms=rooms)


def _rate(request: Request, point: str) -> Shares:
    apply = as_fast_as_it_goes(_FULL_IN_FLIGHT) if point == _FULL else steadily(int(point))
    if point != _FULL and int(point) < _FEW_EVENTS:
        request = _lasting(request, 2 * request.settings.seconds)  # so few events take longer to tell anything
    with _audience(request, rooms=1, size=request.settings.subscribers) as audience:
        return drive(request, audience, apply)


def _history(request: Request, point: str) -> Shares:
    with _audience(request, rooms=1, size=HISTORY_IN_ROOM) as audience:
        while (missing := _at_most(request, point) - audience.published) > 0:
            audience.publish(min(missing, audience.free(_FILL_IN_FLIGHT)))
            if not audience.pump(10.0):
                raise Invalid("nothing came for 10 s while the history was filled")
        audience.settle()
        return _both(request, audience, rooms=1)


_AXES: dict[str, Callable[[Request, str], Shares]] = {
    "subscribers": _subscribers,
    "rooms": _rooms,
    "rate": _rate,
    "history": _history,
}


def _at_most(request: Request, point: str) -> int:
    return min(int(point), request.settings.most)


def _audience(request: Request, *, rooms: int, size: int) -> Audience:
    allow_sockets(rooms * size)
    # Rooms of an earlier point may still be open, so each has its own.
    names = [f"session:{request.load.replace(' ', '-')}-{number}" for number in range(rooms)]
    return Audience(
        request.server.port,
        DIALECTS[request.dialect],
        names,
        size=size,
        sample_every=max(1, rooms * size // _SAMPLES),
    )


def _both(request: Request, audience: Audience, *, rooms: int) -> Figures:
    """Apply both loads, each for half of the time."""
    half = _lasting(request, request.settings.seconds / 2)
    batched = drive(half, audience, as_fast_as_it_goes(min(_IN_FLIGHT * rooms, _MOST_IN_FLIGHT)))
    alone = drive(half, audience, as_fast_as_it_goes(1))
    return Figures(
        deliveries_per_s=batched.deliveries_per_s,
        cpu_us_per_delivery=batched.cpu_us_per_delivery,
        p99_ms=batched.p99_ms,
        alone_deliveries_per_s=alone.deliveries_per_s,
        alone_cpu_us_per_delivery=alone.cpu_us_per_delivery,
        alone_p99_ms=alone.p99_ms,
        server_cpu_percent=batched.server_cpu_percent,
        generator_cpu_percent=batched.generator_cpu_percent,
    )


def _lasting(request: Request, seconds: float) -> Request:
    return replace(request, settings=replace(request.settings, seconds=seconds))


def _progress(figures: Shares) -> str:
    if isinstance(figures, RateFigures):
        return progress(figures)
    assert isinstance(figures, Figures)
    rate, alone = f"{figures.deliveries_per_s:>11,.0f} deliveries/s", f"{figures.alone_cpu_us_per_delivery:>7.2f}"
    return f"{rate} {figures.cpu_us_per_delivery:>7.2f} us in batches, {alone} us one event at a time"


_COLUMNS = (
    Column("deliveries/s", 14, "deliveries_per_s", ",.0f", generator_bound=True),
    Column("CPU us/delivery", 17, "cpu_us_per_delivery", ".2f"),
    Column("p99 ms", 9, "p99_ms", ".1f"),
    Column("alone: us", 11, "alone_cpu_us_per_delivery", ".2f"),
    Column("alone: p99", 12, "alone_p99_ms", ".1f"),
    *CPU_COLUMNS,
)
_ALONE = (
    f"The first columns: {_IN_FLIGHT} events in flight in each room, {_MOST_IN_FLIGHT:,} at most over all; "
    "alone: one event at a time."
)


def _axis(
    name: str,
    points: Iterable[int | str],
    title: Callable[[Settings, str], str],
    *,
    peers: tuple[str, ...] = ("postroom",),
) -> Benchmark:
    def load(point: str) -> Load:
        return Load(
            name=f"{name} {point}",
            title=lambda settings: title(settings, point),
            compared="cpu_us_per_delivery",
            peers=tuple(peer for peer in peers if peer.startswith(f"history-{point}-")) if name == "history" else None,
        )

    return Benchmark(
        name=f"growth-{name}",
        generator="benchmarks.growth",
        figures=RateFigures if name == "rate" else Figures,
        loads=tuple(load(str(point)) for point in points),
        peers=peers,
        columns=RATE_COLUMNS if name == "rate" else _COLUMNS,
        progress=_progress,
        same=("subscribers", "most"),
        notes=(NOTE,) if name == "rate" else (NOTE, _ALONE),
    )


AXES = (
    _axis("subscribers", SUBSCRIBERS, lambda _, point: f"1 room x {int(point):,} subscribers"),
    _axis(
        "rooms",
        ROOMS,
        lambda settings, point: f"{int(point):,} rooms, {min(IN_ALL, settings.most):,} subscribers in all",
    ),
    _axis(
        "rate",
        (*RATES, _FULL),
        lambda settings, point: (
            f"1 room x {settings.subscribers} subscribers, "
            + ("as fast as it goes" if point == _FULL else f"{int(point):,} events/s")
        ),
    ),
    _axis(
        "history",
        HISTORIES,
        lambda _, point: f"1 room x {HISTORY_IN_ROOM} subscribers whose history holds {int(point):,} events",
        peers=tuple(f"history-{size}-{journal}" for size in HISTORIES for journal in ("memory", "sqlite")),
    ),
)
"""One benchmark for each thing that grows."""


if __name__ == "__main__":
    answer(measure)
