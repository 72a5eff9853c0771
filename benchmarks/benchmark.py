"""What a benchmark consists of: loads, figures, the servers that can take part and the columns of its table.

In: a description for each benchmark. Out: what the rounds, the record and the report go by.
"""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["CPU_COLUMNS", "Benchmark", "Column", "Load", "Settings", "Shares"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How much to measure."""

    subscribers: int
    """In the room of `fanout`."""
    rooms: int
    """Of ten subscribers each, in `rooms`."""
    clients: int
    """That come back in `reconnect`."""
    loud: int
    """In the room of `fairness` that is driven as fast as it goes."""
    connections: int
    """In `idle`, and at most in `scale`; in `overload` there are fewer, unless this is less."""
    seconds: float
    """Of one measurement, after at most half a second to warm up; `reconnect` takes as long as it takes, and `idle` at
    least the time between two pings."""
    rounds: int
    most: int = 100_000
    """That `growth` goes to, on every axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What every measurement gives: how busy the two processes were, in percent of one core."""

    server_cpu_percent: float
    generator_cpu_percent: float


@dataclass(frozen=True, slots=True)
class Load:
    """One way to load a server."""

    name: str
    title: Callable[[Settings], str]
    compared: str
    """The figure whose change since the previous run is shown."""
    peers: tuple[str, ...] | None = None
    """The servers that it is for; `None`: all that the benchmark is for."""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure in a table."""

    heading: str
    width: int
    figure: str
    """The attribute of the figures."""
    format: str
    generator_bound: bool = False
    """Whether it is marked when the generator, not the server, was at its limit."""


CPU_COLUMNS = (
    Column("server CPU %", 14, "server_cpu_percent", ".0f"),
    Column("generator CPU %", 17, "generator_cpu_percent", ".0f"),
)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark."""

    name: str
    generator: str
    """The module that is run as the load generator, in a process of its own."""
    figures: type[Shares]
    """What the generator answers with."""
    loads: tuple[Load, ...]
    peers: tuple[str, ...]
    """The servers that can take part."""
    columns: tuple[Column, ...]
    progress: Callable[[Shares], str]
    """What is printed of a single measurement."""
    same: tuple[str, ...]
    """The settings that two runs must share to be compared."""
    notes: tuple[str, ...]
    """What the columns mean."""
    most_rounds: int | None = None
    """More are not measured, however many were asked for, because each takes long; `None`: all are."""

    def rounds(self, settings: Settings) -> int:
        """Return how often each load is measured."""
        return settings.rounds if self.most_rounds is None else min(settings.rounds, self.most_rounds)
