"""An audience under load: steadily, or as fast as it goes.

In: a request, an audience and a load. Out: figures. The measured span starts with nothing under way and ends when the
last subscriber has the last event, so its events and its CPU time belong together.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

from .audience import Audience
from .benchmark import CPU_COLUMNS, Column, Shares
from .generator import Invalid, Request, Span

__all__ = ["COLUMNS", "NOTE", "Figures", "as_fast_as_it_goes", "drive", "idle", "progress", "steadily", "watched"]

_STALL_TIMEOUT_S = 10.0
_FEW = 64
_PAUSE_S = 0.0003


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Shares):
    """What one measurement gave."""

    events: float
    events_per_s: float
    deliveries: float
    deliveries_per_s: float
    cpu_us_per_delivery: float
    """User and system time of the server process."""
    p50_ms: float
    p99_ms: float


COLUMNS = (
    Column("deliveries/s", 14, "deliveries_per_s", ",.0f", generator_bound=True),
    Column("CPU us/delivery", 17, "cpu_us_per_delivery", ".2f"),
    Column("p50 ms", 9, "p50_ms", ".1f"),
    Column("p99 ms", 9, "p99_ms", ".1f"),
    *CPU_COLUMNS,
)

NOTE = "CPU us/delivery: user and system time of the server process by events that reached subscribers."


def drive(request: Request, audience: Audience, apply: Callable[[Audience, float], None]) -> Figures:
    """Warm up, apply the load and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server went away.
    """
    return watched(request, audience, apply)[0]


def watched(request: Request, audience: Audience, apply: Callable[[Audience, float], None]) -> tuple[Figures, Span]:
    """Do as `drive` does, and return the span that the figures are of, too."""
    # The only garbage here is what reference counting frees.
    gc.disable()
    apply(audience, request.warm_up_s)
    audience.settle()

    events_before, deliveries_before = audience.published, audience.deliveries()
    since_ns = time.monotonic_ns()
    span = Span(request.server)
    apply(audience, request.settings.seconds)
    audience.settle()
    span.end()
    events, deliveries = audience.published - events_before, audience.deliveries() - deliveries_before

    audience.verify()
    latencies = audience.latencies_ms(since_ns)
    figures = Figures(
        events=events,
        events_per_s=events / span.elapsed_s,
        deliveries=deliveries,
        deliveries_per_s=deliveries / span.elapsed_s,
        cpu_us_per_delivery=span.server_s * 1e6 / deliveries,
        p50_ms=latencies[len(latencies) // 2],
        p99_ms=latencies[len(latencies) * 99 // 100],
        **span.shares,
    )
    return figures, span


def steadily(events_per_s: float, *, asking: bool = True) -> Callable[[Audience, float], None]:
    """Return the load that publishes each event at its own time, whatever became of those before.

    While an event is under way the sockets are asked again and again, with pauses of 0.3 ms where only a few have
    something: no receipt is timed late by more, and no server pays for waking this process. Where `asking` is false
    it sleeps instead, which leaves the core to others.
    """

    def apply(audience: Audience, seconds: float) -> None:
        start, total, done = time.monotonic(), max(1, int(events_per_s * seconds)), 0
        while done < total:
            now = time.monotonic() - start
            if (due := min(total, int(now * events_per_s) + 1) - done) > 0:
                audience.publish(due)
                done += due
            in_flight = asking and audience.in_flight() > 0
            if audience.pump(0 if in_flight else max(0.0, done / events_per_s - now)) < _FEW and in_flight:
                time.sleep(_PAUSE_S)

    return apply


def as_fast_as_it_goes(in_flight: int) -> Callable[[Audience, float], None]:
    """Return the load that publishes the next event whenever the one `in_flight` before has reached everybody.

    The slowest subscriber sets the pace, so no server gains by the order in which it serves them. Where only a few
    sockets have something this process pauses: asking for each one by itself costs more than reading it.
    """

    def apply(audience: Audience, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if free := audience.free(in_flight):
                audience.publish(free)
            if not (ready := audience.pump(_STALL_TIMEOUT_S)):
                raise Invalid(f"nothing came for {_STALL_TIMEOUT_S:g} s with {audience.in_flight()} events in flight")
            if ready < _FEW:
                time.sleep(_PAUSE_S)

    return apply


def idle(audience: Audience, seconds: float) -> None:
    """Publish nothing; pings are answered."""
    end = time.monotonic() + seconds
    while (left_s := end - time.monotonic()) > 0:
        audience.pump(left_s)


def progress(figures: Shares) -> str:
    """Return what is printed of a single measurement."""
    assert isinstance(figures, Figures)
    rate, cost = f"{figures.deliveries_per_s:>11,.0f} deliveries/s", f"{figures.cpu_us_per_delivery:>7.2f} us"
    return f"{rate} {cost} {figures.p99_ms:>8.1f} ms"
