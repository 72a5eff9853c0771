"""The capacity model: a handful of measured costs, and what follows from them.

In: kept runs of `costs` and `idle`. Out: CPU time, rates and numbers of clients, for any rooms, sizes and rates.

What comes for a room in one turn leaves in one write to each of its subscribers, and what comes while the loop is at
work is found when it looks again. So a look that finds k events for each of R rooms of S subscribers takes

    wake + R * (room + k * event + S * (write + k * copy))

and a router that has less to do than it can finds one event at a time: R = k = 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .costs import BURST, BURSTS, MANY
from .measurement import Measurement

__all__ = ["Costs", "NotMeasured", "figures", "from_records"]


class NotMeasured(LookupError):
    """There are no figures of what is named."""


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU time of the server process in microseconds, kernel included; bytes."""

    wake_us: float
    """To wake up, look at the sockets, read, and sleep again: once for all that has come."""
    room_us: float
    """For a room that has something to send, once for all its events."""
    event_us: float
    """To take an event in: read, check, number, keep, encode."""
    write_us: float
    """To write to one socket."""
    copy_us: float
    """For each event in such a write."""
    wire_bytes: float
    """Of one delivery by itself, with TCP/IP headers and acknowledgements."""
    memory_bytes: float
    """Of one connection."""
    connect_us: float
    """To let one client in."""
    idle_us_per_s: float
    """To keep it."""

    def turn(self, size: float, events: float = 1.0, rooms: float = 1.0) -> float:
        """Return what so many events take for a room, in microseconds, when so many rooms have their turn at once."""
        return self.wake_us / rooms + self._room(size) + events * self._event(size)

    def cpu_percent(self, size: float, events_per_s: float) -> float:
        """Return how busy events keep one core, each by itself; from 100 on, they begin to come together."""
        return min(100.0, events_per_s * self.turn(size) / 1e4)

    def delivery_us(self, rooms: int, size: int, in_flight: int) -> float:
        """Return what a delivery takes when so many events are under way all the time, spread over the rooms."""
        taking_part = min(rooms, in_flight)
        each = in_flight / taking_part
        return self.turn(size, each, taking_part) / each / size

    def within(self, rooms: int, size: int, latency_ms: float) -> float:
        """Return the events/s over all rooms that a core takes when everything may wait for so long, to go together."""
        once_us, round_us = self.wake_us + rooms * self._room(size), latency_ms * 1e3
        together = max(0.0, round_us - once_us) / round_us / self._event(size) * 1e6
        return max(together, 1e6 / self.turn(size))

    def _room(self, size: float) -> float:
        return self.room_us + size * self.write_us

    def _event(self, size: float) -> float:
        return self.event_us + size * self.copy_us

    def client_us_per_s(self, size: float, events_per_s: float) -> float:
        """Return what one client takes in a second whose room has `size` subscribers here and so many events/s."""
        return events_per_s * self.turn(size) / size + self.idle_us_per_s


def from_records(records: Mapping[str, Measurement]) -> Costs:
    """Solve for the costs: five kinds of burst, five unknowns.

    Raises:
        NotMeasured: `costs` or `idle` has no figures.
    """
    if missing := {"costs", "idle"} - records.keys():
        raise NotMeasured(min(missing))

    def burst_us(name: str) -> float:
        _, size, events = BURSTS[name]
        return figures(records["costs"], name)["cpu_us_per_delivery"] * size * events

    one, several = burst_us("1x1"), burst_us(f"1x{BURST}")
    large, large_several = burst_us(f"{MANY}x1"), burst_us(f"{MANY}x{BURST}")
    copy_us = (large_several - large - several + one) / ((BURST - 1) * (MANY - 1))
    event_us = (several - one) / (BURST - 1) - copy_us
    write_us = (large - one) / (MANY - 1) - copy_us
    room_us = (burst_us("rooms") - several) / (BURST - 1) - write_us
    idle, connections = figures(records["idle"], "idle"), records["idle"]["settings"]["connections"]
    return Costs(
        wake_us=one - room_us - event_us - write_us - copy_us,
        room_us=room_us,
        event_us=event_us,
        write_us=write_us,
        copy_us=copy_us,
        wire_bytes=figures(records["costs"], f"{MANY}x1")["wire_bytes_per_delivery"],
        memory_bytes=idle["kb_per_connection"] * 1024,
        connect_us=idle["connect_cpu_us"],
        idle_us_per_s=idle["server_cpu_percent"] * 1e4 / connections,
    )


def figures(record: Measurement, load: str, server: str = "postroom") -> dict[str, float]:
    """Return the medians of one load with one server.

    Raises:
        NotMeasured: it has none.
    """
    outcome = record["loads"].get(load, {}).get(server)
    if outcome is None or outcome["median"] is None:
        raise NotMeasured(f"{record['benchmark']}, load {load}, {server}")
    return outcome["median"]
