"""`overload`: publishers that do not wait, at three times what the router can do, and what everyone else notices.

In: a request. Out: its figures. First the highest rate is found, with a bounded number of events under way; then much
more is offered. Afterwards every subscriber must have every event that was acknowledged.
"""

import gc
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from . import native
from .benchmark import Benchmark, Column, Load, Settings, Shares
from .deliveries import Subscriber
from .flood import BATCH, STEP, Publisher, http_publishers, ws_publishers
from .generator import Invalid, Request, Span, answer
from .probes import Probes, Seen, resident_mib
from .running import Server
from .websocket import connect, exchange

__all__ = ["OVERLOAD", "Figures", "measure"]

_ROOMS = 10
_SUBSCRIBERS = 20
"""In each room, unless fewer are asked for."""
_TIMES = 3
"""How many times the highest rate is offered over HTTP; over WebSockets, as much as they take."""
_WEBSOCKETS = {"peak": 8, "flood": 40}
_REQUESTS = {"peak": 8, "flood": 400}
"""Connections; flooding, no more than are asked for."""
_UNDER_WAY = 2000
"""Events at the highest rate, over all WebSockets."""
_SETTLE_S = 1.0
"""The flood runs that long before it counts, or as long as it counts where that is less."""
_TIMEOUT_S = 15.0
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Shares):
    """What one measurement gave."""

    peak_per_s: float
    """Acknowledged events, at the highest rate."""
    publishes_per_s: float
    """Acknowledged events while it was flooded."""
    of_peak: float
    refused_per_s: float
    ping_ms: float
    """p99, as those that follow."""
    subscribe_ms: float
    join_ms: float
    http_ms: float
    control_ms: float
    """The largest of the four."""
    growth_mib: float
    """Largest resident memory under the flood, above what it was at the highest rate."""
    slope_mib_per_s: float
    """Growth of the resident memory over the second half of the flood."""


def measure(request: Request) -> Figures:
    """Find the highest rate, flood, and verify.

    Raises:
        Invalid: an event that was acknowledged is missing, or came twice or out of order, or control went unanswered.
        OSError: the server could not be reached, or went away.
    """
    rooms = [f"session:bench-{request.load}-{number}" for number in range(_ROOMS)]
    with _Bench(request.server, rooms, _each(request.settings)) as bench:
        gc.disable()
        return _measure(request, rooms, bench)


def _measure(request: Request, rooms: list[str], bench: "_Bench") -> Figures:
    server, seconds = request.server, request.settings.seconds
    connect_publishers = ws_publishers if request.load == "ws" else http_publishers
    counts = _WEBSOCKETS if request.load == "ws" else _REQUESTS
    flood = min(counts["flood"], request.settings.connections)

    bench.publishers = connect_publishers(server, rooms, counts["peak"])
    bench.watch()
    steady = _bounded(bench.publishers, _UNDER_WAY if request.load == "ws" else counts["peak"] * BATCH)
    bench.run(request.warm_up_s, steady)
    probing = _probing(Probes(server, rooms, seconds))  # what they ask for costs something too
    before, started = bench.acknowledged, time.monotonic()
    bench.run(seconds, steady)
    peak = (bench.acknowledged - before) / (time.monotonic() - started)
    _seen(probing)
    bench.settle()

    memory = resident_mib(server.pid)
    flooding = connect_publishers(server, rooms, flood + counts["peak"])[counts["peak"] :]
    bench.publishers = bench.publishers + flooding
    bench.watch()
    push = _unbounded(flooding) if request.load == "ws" else _due(flooding, peak * _TIMES)
    bench.run(min(_SETTLE_S, seconds), push)
    probing = _probing(Probes(server, rooms, seconds))
    before, refused_before, span = bench.acknowledged, bench.refused, Span(server)
    while probing.poll() is None:
        bench.run(0.1, push)
        if time.monotonic() > span.started + seconds + 4 * _TIMEOUT_S:
            raise Invalid("the probes did not end")
    span.end()
    acknowledged, refused = bench.acknowledged - before, bench.refused - refused_before
    seen = _seen(probing)
    bench.settle()
    bench.verify(rooms, server)

    p99 = {kind: sorted(waits)[len(waits) * 99 // 100] for kind, waits in seen.waits_ms.items()}
    return Figures(
        peak_per_s=peak,
        publishes_per_s=acknowledged / span.elapsed_s,
        of_peak=acknowledged / span.elapsed_s / peak,
        refused_per_s=refused / span.elapsed_s,
        ping_ms=p99["ping"],
        subscribe_ms=p99["subscribe"],
        join_ms=p99["join"],
        http_ms=p99["http"],
        control_ms=max(p99.values()),
        growth_mib=max(mib for _, mib in seen.memory) - memory,
        slope_mib_per_s=_slope(seen.memory[len(seen.memory) // 2 :]),
        **span.shares,
    )


class _Bench:
    """Subscribers and publishers, and one loop that serves all of them; those who read come first.

    Args:
        server: Postroom.
        rooms: what to subscribe to.
        each: how many subscribe to each of them.
    """

    def __init__(self, server: Server, rooms: Sequence[str], each: int) -> None:
        self._each = each
        self.publishers: list[Publisher] = []
        self._epoll = select.epoll()
        self._subscribers: dict[int, Subscriber] = {}
        self._received: dict[int, int] = {}
        self._by_fd: dict[int, Publisher] = {}
        self._socks = []
        hello = native.hello(native.token(server.secret, "bench", "user", "session:*"))
        for number in range(_ROOMS * each):
            sock = connect(server.port, native.PATH, _TIMEOUT_S)
            self._socks.append(sock)
            exchange(sock, hello, b'"welcome"')
            native.top(sock, rooms[number % _ROOMS])
            sock.setblocking(False)
            # One in each room keeps the order of what it got.
            self._subscribers[sock.fileno()] = Subscriber(sock, sampled=number < _ROOMS)
            self._received[sock.fileno()] = 0
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def __enter__(self) -> "_Bench":
        return self

    def __exit__(self, *exc_info: object) -> None:
        for publisher in self.publishers:
            publisher.sock.close()
        for sock in self._socks:
            sock.close()
        self._epoll.close()

    @property
    def acknowledged(self) -> int:
        return sum(publisher.acknowledged for publisher in self.publishers)

    @property
    def refused(self) -> int:
        return sum(publisher.refused for publisher in self.publishers)

    def watch(self) -> None:
        """Wait for what the publishers' sockets bring, from now on."""
        for publisher in self.publishers:
            fd = publisher.sock.fileno()
            if fd not in self._by_fd:
                self._by_fd[fd] = publisher
                self._epoll.register(fd, select.EPOLLIN)

    def run(self, seconds: float, push: Callable[[], None]) -> None:
        """Serve all sockets, and push in between."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            push()
            self._serve(0.001)

    def settle(self) -> None:
        """Wait until everything that was sent is answered, and what it brought has been read."""
        before, end = (0, 0), 0.0
        while any(left := self._left()):
            if left != before:
                before, end = left, time.monotonic() + _TIMEOUT_S
            for publisher in self.publishers:
                publisher.flush()
            self._serve(0.01)
            if time.monotonic() > end:
                unanswered, unread = left
                raise Invalid(
                    f"{unanswered} publishes were not answered and {unread} deliveries did not come, "
                    f"none for {_TIMEOUT_S:g} s"
                )

    def _left(self) -> tuple[int, int]:
        """Return how many publishes are not answered, and how many deliveries of those that were have not come."""
        unanswered = sum(publisher.under_way for publisher in self.publishers)
        return unanswered, max(0, self.acknowledged * self._each - sum(self._received.values()))

    def verify(self, rooms: Sequence[str], server: Server) -> None:
        """Check that every event that was acknowledged is there, and came to everyone, and in order.

        Raises:
            Invalid: says what is wrong.
        """
        with connect(server.port, native.PATH, _TIMEOUT_S) as sock:
            exchange(sock, native.hello(native.token(server.secret, "check", "user", "session:*")), b'"welcome"')
            tops = [native.top(sock, room).offset for room in rooms]
        if sum(tops) != self.acknowledged:
            raise Invalid(f"{self.acknowledged} publishes were acknowledged, and the rooms have {sum(tops)} events")
        for number, (fd, subscriber) in enumerate(self._subscribers.items()):
            if self._received[fd] != tops[number % _ROOMS]:
                raise Invalid(f"a subscriber got {self._received[fd]} of {tops[number % _ROOMS]} events")
            last: dict[int, int] = {}
            for _, stamps in subscriber.samples or ():
                for stamp in map(int, stamps):
                    if last.get(stamp // STEP, -1) >= stamp:
                        raise Invalid(f"event {stamp} came after {last[stamp // STEP]}")
                    last[stamp // STEP] = stamp

    def _serve(self, wait_s: float) -> int:
        ready = self._epoll.poll(wait_s)
        for fd, _ in ready:
            subscriber = self._subscribers.get(fd)
            if subscriber is not None:
                self._received[fd] += subscriber.read()
            else:
                self._by_fd[fd].read()
        return len(ready)


def _bounded(publishers: Sequence[Publisher], most: int) -> Callable[[], None]:
    each = most // len(publishers)

    def push() -> None:
        for publisher in publishers:
            if publisher.under_way + BATCH <= each:
                publisher.publish()
            else:
                publisher.flush()

    return push


def _unbounded(publishers: Sequence[Publisher]) -> Callable[[], None]:
    def push() -> None:
        for publisher in publishers:
            publisher.publish()

    return push


def _due(publishers: Sequence[Publisher], per_s: float) -> Callable[[], None]:
    started, offered = time.monotonic(), 0

    def push() -> None:
        nonlocal offered
        due = int((time.monotonic() - started) * per_s)
        for publisher in publishers:
            if publisher.under_way:
                publisher.flush()
            elif offered + BATCH <= due:
                offered += BATCH
                publisher.publish()
        offered = max(offered, due - BATCH * len(publishers))  # what nobody was free for is not made up for

    return push


def _probing(probes: Probes) -> subprocess.Popen[str]:
    """Start to probe, in a process that goes before this one where both want the core."""
    os.setpriority(os.PRIO_PROCESS, 0, 5)
    command = [sys.executable, "-m", "benchmarks.probes", msgspec.json.encode(probes).decode()]
    return subprocess.Popen(
        command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.setpriority(os.PRIO_PROCESS, 0, 0)
    )


def _seen(probing: subprocess.Popen[str]) -> Seen:
    output, _ = probing.communicate()
    if probing.returncode != 0:
        raise Invalid("the probes failed; what they printed is above")
    seen = msgspec.json.decode(output, type=Seen)
    if seen.failed:
        raise Invalid(f"while it was flooded: {'; '.join(seen.failed)}")
    return seen


def _slope(memory: Sequence[tuple[float, float]]) -> float:
    return statistics.linear_regression(*zip(*memory, strict=True)).slope


def _progress(figures: Shares) -> str:
    assert isinstance(figures, Figures)
    return (
        f"{figures.peak_per_s:>8,.0f} -> {figures.publishes_per_s:>8,.0f}/s  refused {figures.refused_per_s:>8,.0f}/s  "
        f"ping {figures.ping_ms:.0f}  subscribe {figures.subscribe_ms:.0f}  join {figures.join_ms:.0f}  "
        f"http {figures.http_ms:.0f} ms  {figures.growth_mib:+.0f} MiB, {figures.slope_mib_per_s:+.1f} MiB/s"
    )


def _each(settings: Settings) -> int:
    return min(_SUBSCRIBERS, settings.subscribers)


def _to(settings: Settings) -> str:
    return f"{_ROOMS} rooms of {_each(settings)}"


OVERLOAD = Benchmark(
    name="overload",
    generator="benchmarks.overload",
    figures=Figures,
    loads=(
        Load(
            "ws", lambda s: f"{_WEBSOCKETS['flood']} WebSockets written to without end, to {_to(s)}", "publishes_per_s"
        ),
        Load("http", lambda s: f"batches of {BATCH} over HTTP, {_TIMES} x the peak, to {_to(s)}", "publishes_per_s"),
    ),
    peers=("postroom", "sqlite"),
    columns=(
        Column("peak/s", 10, "peak_per_s", ",.0f"),
        Column("taken/s", 10, "publishes_per_s", ",.0f"),
        Column("of peak", 9, "of_peak", ".2f"),
        Column("busy/s", 10, "refused_per_s", ",.0f"),
        Column("ping", 6, "ping_ms", ".0f"),
        Column("subscribe", 11, "subscribe_ms", ".0f"),
        Column("join", 6, "join_ms", ".0f"),
        Column("http", 6, "http_ms", ".0f"),
        Column("MiB", 6, "growth_mib", "+.0f"),
        Column("MiB/s", 8, "slope_mib_per_s", "+.1f"),
    ),
    progress=_progress,
    same=(),
    notes=(
        "peak/s: acknowledged with a bounded number under way; taken/s: acknowledged while flooded; busy/s: refused.",
        "ping, subscribe (and unsubscribe), join (connect, hello, subscribe), http (GET /readyz): p99 in ms, flooded.",
        "MiB: most resident memory above that at the peak; MiB/s: its slope over the second half of the flood.",
    ),
)


if __name__ == "__main__":
    answer(measure)
