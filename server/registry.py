"""Registry: which connections there are, counted for the process, for each user and for each address."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from actors.identity import Identity
from actors.ledger import ConnectionState

__all__ = ["Arrival", "Registry"]


class Arrival(NamedTuple):
    """A connection that there is."""

    state: ConnectionState
    address: str
    connected_at: float
    """Unix time in seconds."""


class Registry:
    """Every open connection. It is the Connection actors' `Admission`.

    Args:
        most: Connections in all.
        per_user: Connections of one user; 0: no cap.
        per_address: Connections of one client address; 0: no cap.
    """

    def __init__(self, *, most: int, per_user: int, per_address: int) -> None:
        self._most = most
        self._per_user = per_user
        self.per_address = per_address
        """Connections of one client address; 0: no cap."""
        self._arrivals: dict[str, Arrival] = {}
        self._users: dict[str, str] = {}
        self._by_address: Counter[str] = Counter()
        self._by_user: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._arrivals)

    @property
    def states(self) -> list[ConnectionState]:
        """The connections there are now."""
        return [arrival.state for arrival in self._arrivals.values()]

    @property
    def arrivals(self) -> Iterable[Arrival]:
        """The connections there are now, the earliest first, each with where it came from and when."""
        return self._arrivals.values()

    def arrival(self, connection: str) -> Arrival | None:
        """Return the connection of this id, if it is there."""
        return self._arrivals.get(connection)

    def refuse(self, address: str) -> str | None:
        """Return why another connection from `address` may not stay, or None."""
        if len(self._arrivals) >= self._most:
            return f"this router has its {self._most} connections"
        if self.per_address and self._by_address[address] >= self.per_address:
            return f"your address has its {self.per_address} connections"
        return None

    def add(self, state: ConnectionState, address: str) -> None:
        """Count a new connection."""
        self._arrivals[state.id] = Arrival(state, address, time.time())
        self._by_address[address] += 1

    def enter(self, connection: str, identity: Identity) -> str | None:
        """Count a connection for its user; return why it may not stay, or None."""
        if not self._per_user or connection in self._users:
            return None
        if self._by_user[identity.user] >= self._per_user:
            return f"user {identity.user[:60]} has {self._per_user} connections"
        self._users[connection] = identity.user
        self._by_user[identity.user] += 1
        return None

    def remove(self, state: ConnectionState) -> None:
        """Count a connection no more."""
        arrival = self._arrivals.pop(state.id, None)
        if arrival is not None:
            _count_less(self._by_address, arrival.address)
        user = self._users.pop(state.id, None)
        if user is not None:
            _count_less(self._by_user, user)


def _count_less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
