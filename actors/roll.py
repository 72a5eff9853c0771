"""Roll: who is in a room at one moment. Subscriptions in; members and connections out, each way of writing them once.

All who ask while nobody comes or goes share one: hundreds may ask within a turn, about a room with thousands in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

__all__ = ["Present", "Roll"]


class Present(Protocol):
    """A connection that is in the room."""

    @property
    def connection(self) -> str:
        """Its id."""

    @property
    def user(self) -> str:
        """Whose it is."""


class Roll:
    """Who is in one room. Immutable but for what was made of it once.

    Args:
        present: The connections.
    """

    __slots__ = ("_joined", "_users", "_written", "present")

    def __init__(self, present: Iterable[Present]) -> None:
        self.present = tuple(present)
        """The connections, in the order in which they came."""
        self._users: Counter[str] | None = None
        self._written: dict[Callable[[Roll], bytes], msgspec.Raw] = {}
        self._joined: tuple[Roll, Roll] | None = None
        """The last roll that was joined with this one, and what came of it."""

    @property
    def users(self) -> Mapping[str, int]:
        """How many connections each user has here."""
        if self._users is None:
            self._users = Counter(each.user for each in self.present)
        return self._users

    def joined(self, others: Roll) -> Roll:
        """Return the roll of those here and of others, the same one for the same others."""
        if not others.present:
            return self
        if self._joined is None or self._joined[0] is not others:
            self._joined = others, Roll((*self.present, *others.present))
        return self._joined[1]

    def written(self, write: Callable[[Roll], bytes]) -> msgspec.Raw:
        """Return what `write` makes of it, a piece of JSON; it is called once.

        Args:
            write: The same function for all who are to share what it makes.
        """
        if write not in self._written:
            self._written[write] = msgspec.Raw(write(self))
        return self._written[write]
