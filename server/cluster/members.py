"""Members: which routers there are. What each says of itself in; who came, who is gone, and who is responsible out.

Knows neither network nor clock: it is told what time it is.
"""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple

import msgspec

__all__ = ["BEAT_S", "GONE_S", "Beat", "Members", "NodeFacts"]

BEAT_S = 0.75
"""Between two beats of a node."""
GONE_S = 2.5
"""A node of which nothing was heard for so long is gone."""


class Beat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node says of itself."""

    node: str
    life: str
    """Another one in each life of the process."""
    started_at: float
    """Unix time in seconds."""
    version: str
    says: Literal["hello", "here", "goodbye"] = "here"
    """`hello`: it has just come, and wants to hear who is there."""
    ready: bool = False
    reason: str | None = None
    """Why it is not ready."""
    connections: int = 0
    rooms: int = 0
    ws: str = ""
    api: str = ""


class NodeFacts(NamedTuple):
    """How this router is, for the others."""

    ready: bool = False
    reason: str | None = "it is starting"
    connections: int = 0
    rooms: int = 0
    ws: str = ""
    api: str = ""


class Members:
    """The other nodes.

    Args:
        node: The own name.
        life: The own life.
    """

    def __init__(self, node: str, life: str) -> None:
        self._node = node
        self._life = life
        self._beats: dict[str, Beat] = {}
        self._heard_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._beats)

    @property
    def others(self) -> list[Beat]:
        """What each of them said last, by name."""
        return sorted(self._beats.values(), key=lambda beat: (beat.node, beat.life))

    def take(self, beat: Beat, now: float) -> tuple[list[Beat], list[Beat]]:
        """Note what a node says; return who has come with it, and who is gone."""
        if beat.life == self._life:
            return [], []
        if beat.says == "goodbye":
            return [], self._remove([beat.life])
        gone: list[Beat] = []
        if beat.says == "hello":  # nobody takes a name that somebody has: the life before has ended
            gone = self._remove([each.life for each in self.named(beat.node) if each.life != beat.life])
        came = [] if beat.life in self._beats else [beat]
        self._beats[beat.life] = beat
        self._heard_at[beat.life] = now
        return came, gone

    def silent(self, now: float) -> list[Beat]:
        """Count those as gone of which nothing was heard for `GONE_S`; return them."""
        return self._remove([life for life, heard_at in self._heard_at.items() if heard_at + GONE_S <= now])

    def forgive(self, now: float) -> None:
        """Wait for everybody as if they were heard just now: it was oneself who could not hear."""
        self._heard_at = dict.fromkeys(self._heard_at, now)

    def named(self, node: str) -> list[Beat]:
        """Return the others of this name: one at most, unless two routers were given the same."""
        return [beat for beat in self._beats.values() if beat.node == node]

    def responsible(self, name: str) -> bool:
        """Tell whether of all nodes it is this one that sees to what is called `name` (rendezvous hashing).

        All who see the same nodes say the same, and who comes or goes changes it for its own share only.
        """
        return all(_weight(name, self._node) >= _weight(name, beat.node) for beat in self._beats.values())

    def _remove(self, lives: list[str]) -> list[Beat]:
        removed = [self._beats.pop(life) for life in lives if life in self._beats]
        for beat in removed:
            del self._heard_at[beat.life]
        return removed


def _weight(name: str, node: str) -> bytes:
    return hashlib.blake2s(f"{node}\0{name}".encode(), digest_size=8).digest()
