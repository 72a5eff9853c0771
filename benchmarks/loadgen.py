"""The load generator, a process of its own: `python -m benchmarks.loadgen REQUEST`.

In: a request as JSON (server, load, length). Out: one line of JSON, the figures of one measurement or why it is
invalid. The measured span starts with nothing under way and ends when the last subscriber has the last event, so its
events and its CPU time belong together.
"""

import gc
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from .dialects import DIALECTS
from .room import Invalid, Room

__all__ = ["EVENTS_PER_S", "IN_FLIGHT", "Figures", "Request"]

EVENTS_PER_S = 100
"""Load A."""
IN_FLIGHT = 64
"""Load B."""

_WARM_UP_S = 1.0
_STALL_TIMEOUT_S = 10.0
# The more events, the fewer subscribers are sampled: 5,000 stamps/s in A, and 2 % of all deliveries in B.
_SAMPLE_EVERY = {"A": 10, "B": 50}


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure."""

    pid: int
    """The server's process, whose CPU time counts."""
    port: int
    dialect: str
    load: str
    """`A`: 100 events/s. `B`: as fast as it goes with 64 events in flight."""
    subscribers: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What one measurement gave."""

    events: int
    deliveries: int
    deliveries_per_s: float
    cpu_us_per_delivery: float
    """User and system time of the server process."""
    p50_ms: float
    p99_ms: float
    server_cpu_percent: float
    """Of one core."""
    generator_cpu_percent: float


def main() -> None:
    """Measure as told on the command line and print the figures, or `{"invalid": why}`."""
    request = Request(**json.loads(sys.argv[1]))
    try:
        print(json.dumps(asdict(measure(request))))
    except (Invalid, OSError) as problem:
        print(json.dumps({"invalid": f"{problem}"}))


def measure(request: Request) -> Figures:
    """Connect, warm up for a second, apply the load and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    apply = {"A": steadily, "B": as_fast_as_it_goes}[request.load]
    with Room(request.port, DIALECTS[request.dialect], request.subscribers, _SAMPLE_EVERY[request.load]) as room:
        # The only garbage here is what reference counting frees.
        gc.disable()
        apply(room, _WARM_UP_S)
        room.settle()

        events_before, deliveries_before = len(room.published_ns), room.deliveries()
        server_before, own_before = process_cpu_s(request.pid), time.process_time()
        start = time.monotonic()
        apply(room, request.seconds)
        room.settle()
        elapsed_s = time.monotonic() - start
        server_s, own_s = process_cpu_s(request.pid) - server_before, time.process_time() - own_before
        events, deliveries = len(room.published_ns) - events_before, room.deliveries() - deliveries_before

        room.verify()
        latencies = room.latencies_ms(since_ns=room.published_ns[events_before])
    return Figures(
        events=events,
        deliveries=deliveries,
        deliveries_per_s=deliveries / elapsed_s,
        cpu_us_per_delivery=server_s * 1e6 / deliveries,
        p50_ms=latencies[len(latencies) // 2],
        p99_ms=latencies[len(latencies) * 99 // 100],
        server_cpu_percent=100 * server_s / elapsed_s,
        generator_cpu_percent=100 * own_s / elapsed_s,
    )


def steadily(room: Room, seconds: float) -> None:
    """Publish 100 events/s, each at its own time whatever became of those before.

    While an event is under way the sockets are asked again and again, so that no receipt is timed late and no server
    pays for waking this process.
    """
    start = time.monotonic()
    for n in range(int(EVENTS_PER_S * seconds)):
        while (wait_s := start + n / EVENTS_PER_S - time.monotonic()) > 0:
            room.pump(0 if room.in_flight() else wait_s)
        room.publish(1)


def as_fast_as_it_goes(room: Room, seconds: float) -> None:
    """Publish the next event whenever the one 64 before has reached every subscriber.

    The slowest subscriber sets the pace, so no server gains by the order in which it serves them.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (free := IN_FLIGHT - room.in_flight()) > 0:
            room.publish(free)
        if not room.pump(_STALL_TIMEOUT_S):
            raise Invalid(f"nothing came for {_STALL_TIMEOUT_S:g} s with {room.in_flight()} events in flight")


def process_cpu_s(pid: int) -> float:
    """Return the user and system time of a process, all threads, in steps of a clock tick (proc_pid_stat(5))."""
    # The name in parentheses may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
