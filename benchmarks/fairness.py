"""`fairness`: how long a small room waits while a large one beside it is driven as fast as it goes.

In: a request. Out: its figures. Each room has a publisher and a load generator of its own. The large room's is a
process of the lowest priority: whenever the small room's has something to read, the kernel takes the core from the
other, so what is measured is the server's delay, not the generator's.
"""

import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from .audience import Audience
from .benchmark import CPU_COLUMNS, Benchmark, Column, Load, Settings, Shares
from .dialects import DIALECTS
from .driven import as_fast_as_it_goes, drive, steadily
from .generator import Invalid, Request, allow_sockets, answer

__all__ = ["FAIRNESS", "Figures", "measure"]

_IN_SMALL = 10
_EVENTS_PER_S = 100
_IN_FLIGHT = 64
_TURN_S = 0.1
_LOWEST_PRIORITY = 19
_ANSWER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Shares):
    """What one measurement gave: of the small room, where nothing else is said."""

    deliveries: float
    p50_ms: float
    p99_ms: float
    loud_deliveries_per_s: float
    """In the large room meanwhile."""


def measure(request: Request) -> Figures:
    """Connect both rooms, drive the large one, and measure the small one beside it.

    Raises:
        Invalid: a subscriber of either room missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    fork = multiprocessing.get_context("fork")
    pipe, end = fork.Pipe()
    process = fork.Process(target=_drive_large, args=(request, end), daemon=True)
    process.start()
    try:
        dialect = DIALECTS[request.dialect]
        with Audience(request.server.port, dialect, ["session:bench-small"], size=_IN_SMALL, sample_every=1) as small:
            _answer(pipe)
            figures = drive(request, small, steadily(_EVENTS_PER_S, asking=False))
            pipe.send("stop")
            rate = _answer(pipe)
    finally:
        process.kill()
        process.join()
    return Figures(
        deliveries=figures.deliveries,
        p50_ms=figures.p50_ms,
        p99_ms=figures.p99_ms,
        loud_deliveries_per_s=rate,
        server_cpu_percent=figures.server_cpu_percent,
        generator_cpu_percent=figures.generator_cpu_percent,
    )


def _drive_large(request: Request, pipe: "Connection[float | str, str]") -> None:
    """Say when the load is on, go on until told to stop, and say how many deliveries/s there were, or what is wrong."""
    os.nice(_LOWEST_PRIORITY)
    size = request.settings.loud
    apply = as_fast_as_it_goes(_IN_FLIGHT)
    try:
        allow_sockets(size)
        dialect = DIALECTS[request.dialect]
        with Audience(request.server.port, dialect, ["session:bench-large"], size=size, sample_every=size) as large:
            apply(large, request.warm_up_s)
            pipe.send(0.0)
            before, start = large.deliveries(), time.monotonic()
            while not pipe.poll():
                apply(large, _TURN_S)
            rate = (large.deliveries() - before) / (time.monotonic() - start)
            large.settle()
            large.verify()
        pipe.send(rate)
    except (Invalid, OSError) as problem:
        pipe.send(f"the large room: {problem}")


def _answer(pipe: "Connection[str, float | str]") -> float:
    if not pipe.poll(_ANSWER_S):
        raise Invalid(f"the large room's generator said nothing for {_ANSWER_S:g} s")
    said = pipe.recv()
    if isinstance(said, str):
        raise Invalid(said)
    return said


def _progress(figures: Shares) -> str:
    assert isinstance(figures, Figures)
    return f"{figures.loud_deliveries_per_s:>11,.0f} deliveries/s beside it, p99 {figures.p99_ms:>7.1f} ms"


def _title(settings: Settings) -> str:
    large = f"1 room x {settings.loud:,}, as fast as it goes, {_IN_FLIGHT} events in flight"
    return f"1 room x {_IN_SMALL} subscribers, {_EVENTS_PER_S} events/s, beside {large}"


FAIRNESS = Benchmark(
    name="fairness",
    generator="benchmarks.fairness",
    figures=Figures,
    loads=(Load(name="beside", title=_title, compared="p99_ms"),),
    peers=("postroom", "ws"),
    columns=(
        Column("p50 ms", 9, "p50_ms", ".1f"),
        Column("p99 ms", 9, "p99_ms", ".1f"),
        Column("deliveries/s beside", 21, "loud_deliveries_per_s", ",.0f"),
        *CPU_COLUMNS,
    ),
    progress=_progress,
    same=("loud",),
    notes=(
        "p50, p99: of the small room; deliveries/s beside: in the large room meanwhile.",
        "generator CPU: of the small room's process alone; the large room's takes what is left of the core.",
    ),
)


if __name__ == "__main__":
    answer(measure)
