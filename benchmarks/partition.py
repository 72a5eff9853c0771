"""`partition`: a router is cut off from NATS, events go on elsewhere, and then it is connected again.

In: a request. Out: its figures. Every room has a subscriber at each of two routers. The network between NATS and the
second one swallows everything until that router says that it is not ready; then events are published at the first one.
The clock runs from when that router is ready again until the last of its clients has the last event.
"""

import gc
import http.client
import os
import signal
import time
from dataclasses import dataclass

from .audience import Audience
from .benchmark import CPU_COLUMNS, Benchmark, Column, Load, Shares
from .dialects import DIALECTS
from .generator import Invalid, Request, Span, answer

__all__ = ["PARTITION", "Figures", "measure"]

_LOADS = {"one": (1, 900), "many": (100, 200)}
"""Rooms, and how many events each of them misses, by load: fewer than a room keeps."""
_AT_A_TIME = 500
_FIRST, _SECOND = 0, 1
_TIMEOUT_S = 15.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Shares):
    """What one measurement gave; the server's share is that of both routers."""

    noticed_s: float
    """From the cut until the router says that it is not ready."""
    ready_s: float
    """From the end of the partition until it says that it is ready."""
    all_ms: float
    """From then until its clients have everything."""
    events_per_s: float
    """In that time."""
    cpu_us_per_event: float
    """CPU time of that router in that time."""


def measure(request: Request) -> Figures:
    """Connect, cut the second router off, publish, connect it again and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice; or the partition had no effect.
        OSError: a router could not be reached, or went away.
    """
    server, (rooms, missed) = request.server, _LOADS[request.load]
    names = [f"session:{request.load}-{number}" for number in range(rooms)]
    at = [router.port for router in server.routers]
    with Audience(server.port, DIALECTS[request.dialect], names, size=2, sample_every=1, at=at) as audience:
        gc.disable()
        audience.publish(rooms)
        audience.settle()
        os.kill(server.proxy, signal.SIGSTOP)
        try:
            noticed_s = _seconds_until(server.others[0].api_port, audience, ready=False)
            _publish(audience, rooms * missed)
            if (lacking := audience.in_flight(_SECOND)) != rooms * missed:
                raise Invalid(f"a router that was cut off lacks {lacking} of {rooms * missed} events")
        finally:
            os.kill(server.proxy, signal.SIGCONT)
        ready_s = _seconds_until(server.others[0].api_port, audience, ready=True)
        span = Span(server)
        while audience.in_flight(_SECOND):
            _pump(audience)
        span.end()
        audience.verify()
    return Figures(
        noticed_s=noticed_s,
        ready_s=ready_s,
        all_ms=1e3 * span.elapsed_s,
        events_per_s=rooms * missed / span.elapsed_s,
        cpu_us_per_event=span.router_s[_SECOND] * 1e6 / (rooms * missed),
        **span.shares,
    )


def _seconds_until(api_port: int, audience: Audience, *, ready: bool) -> float:
    """Wait until a router says that it is ready, or that it is not, and return how long that took."""
    start = time.monotonic()
    while _is_ready(api_port) is not ready:
        if time.monotonic() > start + _TIMEOUT_S:
            raise Invalid(f"the router has not said for {_TIMEOUT_S:g} s that it is {'' if ready else 'not '}ready")
        audience.pump(_POLL_S)
    return time.monotonic() - start


def _is_ready(api_port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", api_port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def _publish(audience: Audience, count: int) -> None:
    """Publish, and wait until the first router's clients have everything."""
    until = audience.published + count
    while audience.published < until or audience.in_flight(_FIRST):
        if free := min(until - audience.published, _AT_A_TIME - audience.in_flight(_FIRST)):
            audience.publish(max(0, free))
        _pump(audience)


def _pump(audience: Audience) -> None:
    if not audience.pump(_TIMEOUT_S):
        raise Invalid(f"nothing came for {_TIMEOUT_S:g} s")


def _progress(figures: Shares) -> str:
    assert isinstance(figures, Figures)
    return f"{figures.events_per_s:>11,.0f} events/s {figures.cpu_us_per_event:>7.1f} us"


def _load(name: str) -> Load:
    rooms, missed = _LOADS[name]
    title = f"{rooms} room{'s' if rooms > 1 else ''}, {missed} events in each while a router is cut off"
    return Load(name=name, title=lambda _: title, compared="cpu_us_per_event")


PARTITION = Benchmark(
    name="partition",
    generator="benchmarks.partition",
    figures=Figures,
    loads=tuple(_load(name) for name in _LOADS),
    peers=("cut-off",),
    columns=(
        Column("noticed s", 11, "noticed_s", ".2f"),
        Column("ready s", 9, "ready_s", ".2f"),
        Column("then all ms", 13, "all_ms", ",.0f"),
        Column("events/s", 11, "events_per_s", ",.0f"),
        Column("CPU us/event", 14, "cpu_us_per_event", ".1f"),
        *CPU_COLUMNS,
    ),
    progress=_progress,
    same=(),
    notes=(
        "noticed: from the cut until the router that is cut off answers /readyz with 503; ready: from the end of the "
        "partition until it answers 200 again; then all: until its clients have everything that they missed. "
        "events/s and CPU us/event: of that router, in that last part.",
    ),
)


if __name__ == "__main__":
    answer(measure)
