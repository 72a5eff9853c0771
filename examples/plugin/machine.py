"""Machine: the clock's ticks in; readings of this machine out, to clients as progress and to the warden."""

from __future__ import annotations

import os
import shutil
from typing import NamedTuple

from actors.clock import Timer
from actors.loop import LoopActor, handles
from actors.mailbox import Mailbox
from actors.messages import Publish
from server.app import Router

from .warden import Reading

ROOM = "machine:disk"
EVERY_S = 2.0


class Look(NamedTuple):
    """Clock to actor: it is time to look again."""


class Machine(LoopActor):
    """Looks at this machine every few seconds.

    A handler must not wait. Reading the load and the disk takes microseconds; what takes longer (a request, a
    database) belongs in a thread or a task that sends its result back as a message.

    Args:
        router: Where events go and timers come from.
        warden: Who hears of each reading. It is a mailbox, in which every life of that actor is reached.
        mailbox: Where it lives; given by the supervisor.
    """

    def __init__(self, router: Router, warden: Mailbox, *, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._router = router
        self._warden = warden
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
        disk = shutil.disk_usage("/")
        # As the disk fills, the router adds how fast, and when it will be full.
        data = {"current": disk.used // 2**20, "total": disk.total // 2**20, "unit": "MiB"}
        self._router.source.tell(Publish(rooms=(ROOM,), kind="progress", data=data))
        self._warden.tell(Reading(load=os.getloadavg()[0] / (os.cpu_count() or 1), disk=disk.used / disk.total))

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
