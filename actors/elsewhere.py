"""Elsewhere: the same rooms on other routers, as a room sees them. Who is there; who comes and goes, both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from .mailbox import Target
from .replies import MemberJoined, MemberLeft
from .roll import Roll

__all__ = ["NOWHERE", "Elsewhere", "Hearing", "News", "Nowhere"]

News: TypeAlias = MemberJoined | MemberLeft
"""A coming or a going."""


class Hearing(Protocol):
    """What a room hears of others until it wants to hear no more."""

    def stop(self) -> None:
        """Hear no more."""


class Elsewhere(Protocol):
    """The other routers. Every call returns at once; used on the loop's thread."""

    def call_roll(self, room: str, then: Callable[[Roll], None]) -> None:
        """Call `then` once, now or within about a second, with who is in a room on other routers, as far as they say.

        Who asks soon after another one may share the answer.
        """

    def tell(self, room: str, news: Sequence[News]) -> None:
        """Tell the rooms of this name on other routers who came here and who went; nobody may hear it."""

    def hear(self, room: str, to: Target) -> Hearing:
        """Tell `to` what the others tell, as `Heard`, from now on."""


_NOBODY = Roll(())


class Nowhere:
    """There are no other routers."""

    def call_roll(self, room: str, then: Callable[[Roll], None]) -> None:
        """Find nobody, at once."""
        then(_NOBODY)

    def tell(self, room: str, news: Sequence[News]) -> None:
        """Tell nobody."""

    def hear(self, room: str, to: Target) -> Hearing:
        """Hear nothing."""
        return self

    def stop(self) -> None:
        """Hear nothing, as before."""


NOWHERE = Nowhere()
"""For a router that is alone."""
