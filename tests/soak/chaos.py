"""Chaos: what happens to the router in a round, beside what services and subscribers do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postroom_client.testing._control import Control

from ..torture.plan import Plan
from ..torture.router import RouterProcess
from ..torture.tasks import running
from .looks import counts_as
from .nuisance import nuisance
from .plan import SoakPlan

__all__ = ["Chaos"]

_ACTORS = (
    *("Connection", "Room", "Connection", "Room", "Supervisor"),
    *("Connection", "Room", "Connection", "Connection", "NotificationSource"),
    *("Connection", "Room", "Connection", "Room", "Supervisor"),
    *("Connection", "Room", "Connection", "Connection", "Journal"),
)
"""In this order they are made to fail; none of those that there are few of so often that its supervisor gives it up."""


class Chaos:
    """The director of a round.

    Args:
        plan: The soak's.
        number: Which round it is.
        play: What services and subscribers do in it.
        router: The router.
        plugin: The plug-in inside.
        settled: Says whether counts are what they must be while everybody is connected.
    """

    def __init__(
        self,
        plan: SoakPlan,
        number: int,
        play: Plan,
        router: RouterProcess,
        plugin: Control,
        settled: Callable[[dict[str, int]], bool],
    ) -> None:
        self._plan = plan
        self._number = number
        self._play = play
        self._router = router
        self._plugin = plugin
        self._settled = settled
        self.complaint: str | None = None

    async def trouble(self) -> None:
        """Make actors fail, have clients do no good, and let the router stand still once."""
        pause_after_s = self._play.random("pause").uniform(0.2, 0.8) * self._play.seconds
        async with running(nuisance(self._plan, self._router.url, self._router.api_url, self._number)) as others:
            await self._plugin.do("kill", every_s=self._plan.crash_s, actors=_ACTORS)
            await asyncio.sleep(pause_after_s)
            await self._router.pause(self._plan.pause_s)
            await asyncio.sleep(self._play.seconds - pause_after_s)
            await self._plugin.do("stop_killing")
            if others.done():
                others.result()

    async def quiet(self) -> None:
        """Nothing more."""

    async def gathered(self) -> None:
        """Hold what the router counts against who is connected."""
        counts, as_wanted = await counts_as(self._plugin, self._settled)
        if not as_wanted:
            self.complaint = f"round {self._number}: while everybody was connected there were {counts}"
