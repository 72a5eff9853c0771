"""Census: connections and actors as they are now in; how far clients are behind and what waits for whom out.

It looks at each of them, which takes a while where there are many: a slice at a time, and once a second at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from actors.clock import Clock
from actors.ledger import Ledger
from actors.supervisor import SupervisorStart
from actors.tree import each_child

from .registry import Registry

__all__ = ["QUANTILES", "Census", "CensusTaker", "Crew", "Spread"]

T = TypeVar("T")

QUANTILES = (0.5, 0.9, 0.99, 1.0)
"""What is told of a spread."""
_SLICE = 256
"""Connections or actors that are looked at before the loop does I/O: about a millisecond."""
_FRESH_S = 1.0
_STARTING = "starting"
"""Stands for the class of an actor that is not there yet: its room is being read, or its back-off runs."""


class Spread(NamedTuple):
    """How a value is spread over connections."""

    total: int = 0
    quantiles: tuple[int, ...] = (0,) * len(QUANTILES)
    """At `QUANTILES`."""


class Crew(NamedTuple):
    """All actors of one class."""

    size: int = 0
    mailbox_depth: int = 0
    """Messages that wait for any of them."""


class Census(NamedTuple):
    """How things are."""

    lag: Spread
    """Events that a connection is behind in the room where that is most."""
    outbox_bytes: Spread
    """Bytes that wait for a connection here, those in the socket's write buffer counted in."""
    crews: dict[str, Crew]
    """By the class of the actors."""


class CensusTaker:
    """Takes the census.

    Args:
        registry: The connections.
        ledger: Who is in which room, and how far rooms have got.
        root: The root of the tree of supervisors.
        clock: For how old a census may be.
    """

    def __init__(self, registry: Registry, ledger: Ledger, root: SupervisorStart, clock: Clock) -> None:
        self._registry = registry
        self._ledger = ledger
        self._root = root
        self._clock = clock
        self._lock = asyncio.Lock()
        self._last: Census | None = None
        self._taken_at = 0.0

    async def take(self) -> Census:
        """Return a census that is a second old at most; several who ask at once share one."""
        async with self._lock:
            if self._last is None or self._clock.monotonic() - self._taken_at >= _FRESH_S:
                self._last = await self._look()
                self._taken_at = self._clock.monotonic()
            return self._last

    async def _look(self) -> Census:
        lags: list[int] = []
        waiting: list[int] = []
        for states in _slices(self._registry.states):
            lags += [self._ledger.lag(state) for state in states]
            waiting += [state.outbox.size + state.wire.buffered for state in states]
            await asyncio.sleep(0)
        crews: dict[str, list[int]] = {}
        for children in _slices(each_child(self._root)):
            for child in children:
                crew = crews.setdefault(child.mailbox.tenant_class or _STARTING, [0, 0])
                crew[0] += 1
                crew[1] += len(child.mailbox)
            await asyncio.sleep(0)
        return Census(_spread(lags), _spread(waiting), {name: Crew(*crew) for name, crew in crews.items()})


def _slices(items: Iterable[T]) -> Iterator[list[T]]:
    """Return the items some at a time."""
    part: list[T] = []
    for item in items:
        part.append(item)
        if len(part) == _SLICE:
            yield part
            part = []
    if part:
        yield part


def _spread(values: list[int]) -> Spread:
    if not values:
        return Spread()
    values.sort()
    last = len(values) - 1
    return Spread(sum(values), tuple(values[round(part * last)] for part in QUANTILES))
