"""Probes: is the router alive, and does it take clients and events? What it knows of itself in, an answer out."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from aiohttp import web

from server import __version__

from .answers import json_answer
from .calls import Asked, Call

__all__ = ["Alive", "NodeLine", "Probes", "Readiness", "Ready"]


class NodeLine(msgspec.Struct, frozen=True):
    """A router of the cluster, as it said of itself within the last seconds."""

    node: str
    ready: bool
    reason: str | None
    """Why it is not ready."""
    connections: int
    rooms: int
    uptime_s: float
    version: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the router is."""

    ready: bool
    reason: str | None
    """Why it is not ready."""
    connections: int
    rooms: int
    journal: str
    ws_port: int
    """Where WebSocket clients connect to."""
    nodes: list[NodeLine] | None = None
    """All routers of the cluster, this one first; left out where there is no cluster."""


class Ready(Readiness, frozen=True, kw_only=True):
    """What `/readyz` answers."""

    uptime_s: float
    version: str


class Alive(msgspec.Struct, frozen=True):
    """What `/healthz` answers."""

    status: str = "ok"


class Probes:
    """Answers probes.

    Args:
        readiness: Tells how things are.
    """

    def __init__(self, readiness: Callable[[], Readiness]) -> None:
        self._readiness = readiness
        self._started = time.monotonic()

    def calls(self) -> list[Call]:
        """Return what it answers."""
        return [
            Call("GET", "/healthz", "Is the process alive?", self._healthz, roles=(), answer=Alive),
            Call(
                "GET",
                "/readyz",
                "Does the router take clients and events?",
                self._readyz,
                roles=(),
                answer=Ready,
                other_statuses=(503,),
            ),
        ]

    async def _healthz(self, _asked: Asked[None]) -> Alive:
        return Alive()

    async def _readyz(self, _asked: Asked[None]) -> web.Response:
        readiness = self._readiness()
        uptime_s = round(time.monotonic() - self._started, 3)
        ready = Ready(**msgspec.structs.asdict(readiness), uptime_s=uptime_s, version=__version__)
        return json_answer(200 if ready.ready else 503, ready)
