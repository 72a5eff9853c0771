"""Warden: readings of a machine in; out, a system status where it changes, and an alert when a disk is nearly full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from actors.loop import LoopActor, handles
from actors.mailbox import Mailbox
from actors.messages import Publish
from server.app import Router

ALERTS = "machine:alerts"


class Reading(NamedTuple):
    """Machine to warden: how it is."""

    load: float
    """Of the last minute, for each core."""
    disk: float
    """How full it is, 0 to 1."""


class Limits(NamedTuple):
    """Past which something is to be said."""

    load: float = 2.0
    disk: float = 0.9


@dataclass
class Memory:
    """What the warden has said last. It outlives the actor, so that the next one does not say it again."""

    status: str | None = None
    disk_full: bool = False


class Warden(LoopActor):
    """Judges readings.

    Args:
        router: Where events go.
        limits: What is too much.
        memory: What was said by the lives before.
        mailbox: Where it lives; given by the supervisor.
    """

    retried = (Reading,)
    """To judge one twice does no harm: the reading on which an actor fails is given to the next."""

    def __init__(self, router: Router, limits: Limits, memory: Memory, *, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._router = router
        self._limits = limits
        self._memory = memory

    @handles(Reading)
    def _judge(self, reading: Reading) -> None:
        status = "degraded" if reading.load > self._limits.load else "operational"
        if status != self._memory.status:
            message = f"load {reading.load:.1f} for each core"
            self._publish("system", "system", status=status, component="machine", message=message)
            self._memory.status = status
        full = reading.disk > self._limits.disk
        if full and not self._memory.disk_full:
            self._publish(ALERTS, "alert", severity="critical", title=f"The disk is {reading.disk:.0%} full")
        self._memory.disk_full = full

    def _publish(self, room: str, kind: str, **data: object) -> None:
        self._router.source.tell(Publish(rooms=(room,), kind=kind, data=data))
