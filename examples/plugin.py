"""A plug-in: an actor inside the router that watches this machine; readings in, events out.

Run it from the repository's folder, and watch it from another terminal:

    postroom serve --dev --plugin examples.plugin:start
    postroom listen system machine:disk

It publishes the load to `system` when it gets high or low, and the use of the disk to `machine:disk` as progress. As
the disk fills, the router adds how fast and when it will be full.
"""

from __future__ import annotations

import os
import shutil
from typing import NamedTuple

from actors.clock import Timer
from actors.loop import LoopActor, handles
from actors.mailbox import Mailbox
from actors.messages import Publish
from server.app import Router

ROOM = "machine:disk"
EVERY_S = 5.0


def start(router: Router) -> None:
    """Start the actor under the router's supervisor: when it fails, a new one takes its place."""
    router.start_actor(Machine, router, name="machine")


class Look(NamedTuple):
    """Clock to actor: it is time to look again."""


class Machine(LoopActor):
    """Looks at this machine every few seconds.

    A handler must not wait. Reading the load and the disk takes microseconds; what takes longer (a request, a
    database) belongs in a thread or a task that sends its result back as a message.

    Args:
        router: Where events go and timers come from.
        mailbox: Where it lives; given by the supervisor.
    """

    def __init__(self, router: Router, *, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._router = router
        self._status: str | None = None
        self._timer: Timer | None = None

    def on_start(self) -> None:
        """Look at once, and from then on by the clock."""
        self.mailbox.tell(Look())

    def on_stop(self) -> None:
        """Leave no timer behind."""
        self._cancel()

    def on_failure(self, *_exc_info: object) -> None:
        """Leave no timer behind: the next actor has this mailbox and a timer of its own."""
        self._cancel()

    @handles(Look)
    def _look(self, _message: Look) -> None:
        mailbox = self.mailbox
        self._timer = self._router.clock.call_later(EVERY_S, lambda: mailbox.tell(Look()))
        self._tell_load()
        self._tell_disk()

    def _tell_load(self) -> None:
        load, cores = os.getloadavg()[0], os.cpu_count() or 1
        status = "degraded" if load > 2 * cores else "operational"
        if status != self._status:
            self._status = status
            message = f"load {load:.1f} on {cores} cores"
            self._publish("system", "system", status=status, component="machine", message=message)

    def _tell_disk(self) -> None:
        disk = shutil.disk_usage("/")
        self._publish(ROOM, "progress", current=disk.used // 2**20, total=disk.total // 2**20, unit="MiB")

    def _publish(self, room: str, kind: str, **data: object) -> None:
        self._router.source.tell(Publish(rooms=(room,), kind=kind, data=data))

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
