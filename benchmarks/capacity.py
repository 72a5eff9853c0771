"""What one core, one machine and a cluster carry: `python -m benchmarks.capacity`, from the newest kept runs.

In: a record of each benchmark. Out: tables. `--clients`, `--room` and `--rate` ask for a load of your own.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .costs import MIXED
from .fanout import IN_FLIGHT as FANOUT_IN_FLIGHT
from .kept import newest
from .measurement import Measurement
from .model import Costs, NotMeasured, figures, from_records
from .rooms import IN_FLIGHT as ROOMS_IN_FLIGHT
from .rooms import IN_ROOM
from .tables import markdown

__all__ = ["USES", "Use", "constants", "cores", "fleet", "levers", "predictions"]

_BUSY = 0.7
"""Of a core, so that there is room for a reconnect storm and for waiting less."""
_CORES_PER_NODE = 8
_MEMORY_PER_NODE = 32 << 30
_BUS_PUBLISHES_PER_S = 48_000
"""Of one JetStream server on this class of machine, tried once with nats-server 2.15; not measured by `make bench`."""
_STORM_S = 60.0


class Use(NamedTuple):
    """A way to use the router."""

    title: str
    size: int
    """Clients in each room."""
    rate: float
    """Events/s of each room."""


USES = (
    Use("sessions: 2 in a room, an event every 10 s", 2, 0.1),
    Use("progress: 5 in a room, 1 event/s", 5, 1.0),
    Use("teams: 50 in a room, 1 event/s", 50, 1.0),
    Use("large rooms: 1,000 in a room, 5 events/s", 1000, 5.0),
)


def constants(records: Mapping[str, Measurement]) -> str:
    """Return the costs that everything else is computed from."""
    costs = from_records(records)
    bursts = "`costs`: bursts"
    rows = [
        ("wake up, look at the sockets, read", f"{costs.wake_us:.1f} us", bursts),
        ("a room's turn", f"{costs.room_us:.1f} us", bursts),
        ("an event: read, check, number, keep, encode", f"{costs.event_us:.1f} us", bursts),
        ("a write to one socket", f"{costs.write_us:.2f} us", bursts),
        ("each event in such a write", f"{costs.copy_us:.3f} us", bursts),
        ("a delivery by itself on the wire", f"{costs.wire_bytes:.0f} bytes", "`costs`: loopback, TCP/IP included"),
        ("memory of a connection", f"{costs.memory_bytes / 1024:.1f} KB", "`idle`"),
        ("to let a client in", f"{costs.connect_us:.0f} us", "`idle`"),
        ("to keep it, pings included", f"{costs.idle_us_per_s:.2f} us/s", "`idle`"),
    ]
    if (publish := _median(records, "durable", "ws", "sqlite")) is not None:
        on_disk = f"{publish['cpu_us_per_publish']:.1f} us"
        rows.append(("a publish with receipt, on disk", on_disk, "`durable`, load ws"))
    return markdown(("cost, CPU time of the server process", "", "from"), rows)


def predictions(records: Mapping[str, Measurement]) -> str:
    """Return what the model says of loads that it was not made from, and what was measured."""
    costs = from_records(records)
    rows = []
    for name, (rooms, size, rate) in MIXED.items():
        if (median := _median(records, "costs", name)) is not None:
            title = f"{rooms} rooms x {size}, {rate:,} events/s"
            predicted, measured = costs.cpu_percent(size, rate), median["server_cpu_percent"]
            rows.append((title, f"{predicted:.0f} % of a core", f"{measured:.0f} %", _error(predicted, measured)))
    driven = [("fanout", "B", 1, None, FANOUT_IN_FLIGHT)]
    driven += [("rooms", load, None, IN_ROOM, in_flight) for load, in_flight in ROOMS_IN_FLIGHT.items()]
    for benchmark, load, rooms, size, in_flight in driven:
        if (median := _median(records, benchmark, load)) is not None:
            settings = records[benchmark]["settings"]
            rooms, size = int(rooms or settings["rooms"]), int(size or settings["subscribers"])
            title = f"load {load}: {rooms} rooms x {size}, {in_flight:,} in flight"
            # Not deliveries/s: the generator may not have kept the server busy throughout.
            predicted, measured = costs.delivery_us(rooms, size, in_flight), median["cpu_us_per_delivery"]
            rows.append((title, f"{predicted:.2f} us/delivery", f"{measured:.2f} us", _error(predicted, measured)))
    return markdown(("load", "predicted", "measured", "error"), rows)


def levers(records: Mapping[str, Measurement]) -> str:
    """Return what batches bring: the same costs, alone and together."""
    costs = from_records(records)
    large, many = 1000, 16
    rows = [
        (
            f"{many} events for a room of {large:,} leave in one write to each subscriber",
            f"{costs.turn(large) / large:.2f} us/delivery",
            f"{costs.turn(large, many) / many / large:.2f} us",
        ),
        (
            f"{many} events for {many} rooms of one are found by one look at the sockets",
            f"{costs.turn(1):.0f} us/event",
            f"{costs.turn(1, rooms=many):.0f} us",
        ),
        (
            f"an event is checked, kept and encoded once for {large:,} subscribers, not for each",
            f"{costs.event_us:.1f} us/delivery",
            f"{costs.event_us / large:.2f} us",
        ),
    ]
    return markdown(("lever", "without", "with"), rows)


def cores(records: Mapping[str, Measurement], uses: Sequence[Use] = USES) -> str:
    """Return how many clients one core carries, and what that takes."""
    costs = from_records(records)
    rows = []
    for use in uses:
        clients = _clients_per_core(costs, use.size, use)
        rows.append(
            (
                use.title,
                f"{_round(clients):,}",
                f"{_round(clients * use.rate):,}",
                f"{clients * costs.memory_bytes / 2**30:.1f} GB",
                f"{clients * use.rate * costs.wire_bytes * 8 / 1e6:,.0f} Mbit/s",
                f"{clients * costs.connect_us / 1e6:.0f} s",
            )
        )
    return markdown(("use", "clients", "deliveries/s", "memory", "network", "CPU time until all are back"), rows)


def fleet(records: Mapping[str, Measurement], clients: int, uses: Sequence[Use] = USES) -> str:
    """Return what so many clients take. A projection: no such cluster has been measured."""
    costs = from_records(records)
    rows = []
    for use in uses:
        together, apart = (math.ceil(clients / _clients_per_core(costs, size, use)) for size in (use.size, 1))
        by_memory = math.ceil(clients * costs.memory_bytes / _MEMORY_PER_NODE)
        least, most = (max(math.ceil(count / _CORES_PER_NODE), by_memory) for count in (together, apart))
        publishes = clients / use.size * use.rate
        rows.append(
            (
                use.title,
                f"{_round(together):,} to {_round(apart):,}",
                f"{_round(least):,} to {_round(most):,}",
                f"{clients * costs.memory_bytes / 2**40:.3g} TB",
                f"{clients * use.rate * costs.wire_bytes * 8 / 1e9:,.3g} Gbit/s",
                f"{_round(math.ceil(clients / least)):,}",
                f"{_round(publishes):,}: {_round(math.ceil(publishes / _BUS_PUBLISHES_PER_S)):,}",
                f"{_round(math.ceil(clients * costs.connect_us / 1e6 / _STORM_S)):,} cores",
            )
        )
    headings = (
        "use",
        "cores",
        f"nodes of {_CORES_PER_NODE} cores and {_MEMORY_PER_NODE >> 30} GB",
        "memory",
        "network",
        "sockets per node",
        "publishes/s: bus servers",
        f"to let all in within {_STORM_S:.0f} s",
    )
    return markdown(headings, rows)


def _clients_per_core(costs: Costs, size: int, use: Use) -> float:
    return _BUSY * 1e6 / costs.client_us_per_s(size, use.rate)


def _median(
    records: Mapping[str, Measurement], benchmark: str, load: str, server: str = "postroom"
) -> dict[str, float] | None:
    try:
        return figures(records[benchmark], load, server) if benchmark in records else None
    except NotMeasured:
        return None


def _error(predicted: float, measured: float) -> str:
    return f"{100 * (predicted / measured - 1):+.0f} %"


def _round(count: float) -> int:
    """Return two leading digits: the model knows no more."""
    return int(float(f"{count:.2g}"))


def main() -> None:
    """Print all tables, or those for a load of one's own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--clients", type=int, help="in all (default: 1 million and 100 million)")
    parser.add_argument("--room", type=int, help="clients in each room")
    parser.add_argument("--rate", type=float, help="events/s of each room")
    options = parser.parse_args()
    records = newest()
    try:
        from_records(records)
    except NotMeasured as missing:
        sys.exit(f"not measured yet: {missing}; run `make bench NAME=costs` and `make bench NAME=idle`")
    uses = USES
    if options.room is not None or options.rate is not None:
        size, rate = options.room or 1, options.rate or 1.0
        uses = (Use(f"{size:,} in a room, {rate:g} events/s", size, rate),)
    print(f"{constants(records)}\n\n{predictions(records)}\n\nOne core, {_BUSY:.0%} busy:\n\n{cores(records, uses)}")
    for clients in [options.clients] if options.clients else [10**6, 10**8]:
        print(f"\n{clients:,} clients (a projection):\n\n{fleet(records, clients, uses)}")


if __name__ == "__main__":
    main()
