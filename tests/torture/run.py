"""The script of a run: start the router, play a scene in which faults happen, have the checker judge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from .disk import SmallDisk, small_disk
from .faults import RECOVER_S, UNAVAILABLE, inflict
from .plan import Outcome, Plan, Tally
from .router import KEEP_ALL, RouterProcess
from .scene import play, shortcomings
from .verdict import check

__all__ = ["run"]


async def run(plan: Plan, folder: Path) -> Outcome:
    """Torture a router.

    Args:
        plan: What to do.
        folder: Empty; gets `records`, the router's log and its journal.

    Returns:
        What happened, and what the checker says of it.

    Raises:
        RunFailed: The router did not start, ended by itself, or lets nobody in.
        OSError: The small disk cannot be mounted.
    """
    records = folder / "records"
    records.mkdir()
    tally = Tally()
    with _disk(plan, folder) as disk:
        place = folder if disk is None else disk.folder
        journal = plan.journal or str(place / "journal.db")
        router = RouterProcess(folder, journal, tally, settings={**KEEP_ALL, "history_events": plan.history})
        async with AsyncExitStack() as stack:
            stack.push_async_callback(router.stop)
            await router.start()
            rooms = [f"torture:{number}" for number in range(1, plan.rooms + 1)]
            await play(plan, rooms, records, router, tally, _Torture(plan, router, disk, tally))
    verdict, exit_code = await check(records)
    return Outcome(tally, verdict, exit_code, tuple(_complaints(plan, tally, verdict)))


class _Torture:
    """What is done to the router in this scene.

    Args:
        plan: What the run does.
        router: The router.
        disk: The small disk under its journal, if there is one.
        tally: Where it is counted.
    """

    def __init__(self, plan: Plan, router: RouterProcess, disk: SmallDisk | None, tally: Tally) -> None:
        self._plan = plan
        self._router = router
        self._disk = disk
        self._tally = tally

    async def trouble(self) -> None:
        """Kill the router and fill its disk, as planned."""
        await inflict(self._plan, self._router, self._disk, self._tally)

    async def quiet(self) -> None:
        """Kill it once more: what comes now was read from the disk."""
        if self._plan.kills:
            await self._router.kill()
            await self._router.start()

    async def gathered(self) -> None:
        """Nothing more."""


@contextmanager
def _disk(plan: Plan, folder: Path) -> Iterator[SmallDisk | None]:
    if not plan.disk_full:
        yield None
        return
    with small_disk(folder / "disk", plan.disk_mib) as disk:
        yield disk


def _complaints(plan: Plan, tally: Tally, verdict: str) -> Iterator[str]:
    yield from shortcomings(tally, verdict)
    if plan.kills and tally.kills <= plan.kills:
        yield f"the router was killed {tally.kills} times, and should have been {plan.kills} times and once at the end"
    if plan.disk_full and not tally.refused.get(UNAVAILABLE):
        yield f"no event was refused with {UNAVAILABLE}: the disk was not full"
    if plan.disk_full and tally.recovered_s is None:
        yield f"no event was taken within {RECOVER_S:g} s after the disk was free again"
