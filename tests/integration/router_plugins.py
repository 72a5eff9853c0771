"""A plug-in for router processes under test: it looks at what is inside and makes actors fail, as it is told.

Commands come over the Unix socket that `CONTROL_SOCKET` names, as those of the test kit's own plug-in.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from pykka import ActorRegistry
from pykka.messages import ProxyCall

from actors.ledger import ConnectionState
from actors.mailbox import Mailbox
from postroom_client.testing._inside import Inside
from server.app import Router

__all__ = ["control"]


_SPARED_S = 2.5
"""So that nobody is made to fail more than three times in 5 s."""
_FAILURES = (ValueError, asyncio.CancelledError, SystemExit)


class _Poison:
    """Arguments that cannot be taken: whoever handles the call fails."""

    def __init__(self, failure: type[BaseException]) -> None:
        self._failure = failure

    def __iter__(self) -> Any:
        raise self._failure("told to explode")


class _Inside(Inside):
    """What the plug-in does in the router's process."""

    def __init__(self, router: Router) -> None:
        super().__init__(router)
        self._killing: asyncio.Task[None] | None = None
        self._killed: Counter[str] = Counter()
        self._spared: dict[str, float] = {}
        """Who was made to fail a moment ago, and until when it is left alone."""

    def counts(self) -> dict[str, int]:
        """Count what could be left over; this command's own task is not among it, its socket is.

        From inside: seen from outside, the socket of the command before may be among the descriptors or not. What is
        free goes back to the system first, so that the process's memory is what it holds.
        """
        gc.collect()
        with contextlib.suppress(AttributeError):  # not every C library has it
            ctypes.CDLL(None).malloc_trim(0)
        return {
            "actors": len(ActorRegistry.get_all()),
            "connections": len(self.router.registry),
            "rooms": len(self.router.directory),
            "subscriptions": len(self.router.ledger),
            "states": sum(isinstance(each, ConnectionState) for each in gc.get_objects()),
            "tasks": len(asyncio.all_tasks()) - 1,
            "descriptors": len(os.listdir("/proc/self/fd")),
        }

    def waiting(self) -> dict[str, int]:
        """Tell how many bytes wait for each connection, by its id: in its outbox and in its socket's own buffer."""
        return {state.id: state.outbox.size + state.wire.buffered for state in self.router.registry.states}

    def kill(self, every_s: float, actors: Sequence[str] = ("Connection",), at_once: int = 1) -> dict[str, int]:
        """Crash one actor after the other, so many every so often, from now on.

        Those of these classes in turn, and of each class round robin; by an exception, a cancellation and an exit.
        """
        self._killing = asyncio.get_running_loop().create_task(self._kill(every_s, actors, at_once))
        return {}

    def stop_killing(self) -> dict[str, int]:
        """Crash no more; tell how many were, of each class and in all."""
        if self._killing is not None:
            self._killing.cancel()
        return {**self._killed, "killed": self._killed.total()}

    async def _kill(self, every_s: float, actors: Sequence[str], at_once: int) -> None:
        for actor in cycle(actors):
            targets = self._targets(actor)
            for _ in range(at_once if targets else 0):
                poison: Any = _Poison(_FAILURES[self._killed.total() % len(_FAILURES)])
                target = targets[self._killed[actor] % len(targets)]
                target.tell(ProxyCall(("on_batch_end",), poison, {}))
                self._killed[actor] += 1
                self._spared[target.name] = self.router.clock.monotonic() + _SPARED_S
            await asyncio.sleep(every_s)

    def _targets(self, actor: str) -> list[Mailbox]:
        """Return who may be made to fail, so that the process outlives it.

        Past its intensity a Connection takes nobody along, and in the registry's order each has its turn, whoever is
        being restarted; of the others those are spared that have just failed.
        """
        if actor == "Connection":
            return [state.mailbox for state in self.router.registry.states]
        now = self.router.clock.monotonic()
        self._spared = {name: until for name, until in self._spared.items() if until > now}
        mailboxes = [ref.actor_inbox for ref in ActorRegistry.get_by_class_name(actor)]
        return [mailbox for mailbox in mailboxes if mailbox.name != "root" and mailbox.name not in self._spared]


async def control(router: Router) -> None:
    """Listen for commands (the plug-in)."""
    await _Inside(router).listen()
