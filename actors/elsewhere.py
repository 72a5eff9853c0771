"""Elsewhere: the same rooms on other routers, as a room sees them. Who is in it there; who comes and goes, both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec

from .mailbox import Target
from .replies import MemberJoined, MemberLeft

__all__ = ["NOWHERE", "Elsewhere", "Hearing", "News", "Nowhere", "Present"]

News: TypeAlias = MemberJoined | MemberLeft
"""A coming or a going."""


class Present(msgspec.Struct, frozen=True):
    """Who is in a room on other routers, as far as they answer."""

    users: Mapping[str, int]
    """How many connections each has there."""
    connections: Sequence[tuple[str, str]] = ()
    """Each connection and whose it is, where that was asked for."""


class Hearing(Protocol):
    """What a room hears of others until it wants to hear no more."""

    def stop(self) -> None:
        """Hear no more."""


class Elsewhere(Protocol):
    """The other routers. Every call returns at once; used on the loop's thread."""

    def ask_present(self, room: str, *, connections: bool, then: Callable[[Present], None]) -> None:
        """Call `then` once, now or within about a second, with who is in a room on other routers."""

    def tell(self, room: str, news: Sequence[News]) -> None:
        """Tell the rooms of this name on other routers who came here and who went; nobody may hear it."""

    def hear(self, room: str, to: Target) -> Hearing:
        """Tell `to` what the others tell, as `Heard`, from now on."""


class Nowhere:
    """There are no other routers."""

    def ask_present(self, room: str, *, connections: bool, then: Callable[[Present], None]) -> None:
        """Find nobody, at once."""
        then(Present({}))

    def tell(self, room: str, news: Sequence[News]) -> None:
        """Tell nobody."""

    def hear(self, room: str, to: Target) -> Hearing:
        """Hear nothing."""
        return self

    def stop(self) -> None:
        """Hear nothing, as before."""


NOWHERE = Nowhere()
"""For a router that is alone."""
