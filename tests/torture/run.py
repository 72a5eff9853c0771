"""The script of a run: start everything, let the faults happen, let everyone catch up, have the checker judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from ..checker.records import Position
from .disk import SmallDisk, small_disk
from .faults import RECOVER_S, UNAVAILABLE, inflict
from .plan import Outcome, Plan, Tally
from .recording import Recorder
from .router import RouterProcess, RunFailed
from .service import Service
from .subscriber import Subscriber, tops
from .tasks import running, while_alive, within
from .verdict import check
from .ways import over_http, over_websocket

__all__ = ["run"]

_LET_IN_S = 60.0
_SETTLE_S = 60.0
_CATCH_UP_S = 120.0


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
        router = RouterProcess(folder, journal, tally)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(router.stop)
            await router.start()
            await _act(plan, records, router, disk, tally, stack)
    verdict, exit_code = await check(records)
    return Outcome(tally, verdict, exit_code, tuple(_complaints(plan, tally, verdict)))


async def _act(
    plan: Plan, records: Path, router: RouterProcess, disk: SmallDisk | None, tally: Tally, stack: AsyncExitStack
) -> None:
    rooms = [f"torture:{number}" for number in range(1, plan.rooms + 1)]
    subscribers = [
        Subscriber(f"subscriber-{number}", router.url, positions, plan, recorder, tally)
        for number, positions in enumerate(_share_out(plan, rooms), 1)
        for recorder in [stack.enter_context(Recorder(records, f"subscriber-{number}"))]
    ]
    tasks = [await stack.enter_async_context(running(each.run())) for each in subscribers]
    if not await within(_LET_IN_S, *(each.let_in.wait() for each in subscribers)):
        out = sum(not each.let_in.is_set() for each in subscribers)
        message = f"{out} subscribers were not let into their rooms within {_LET_IN_S:g} s"
        raise RunFailed(f"{message}\n{router.last_lines()}")

    services = [
        await stack.enter_async_context(_service(plan, n, rooms, records, router, tally))
        for n in range(1, plan.services + 1)
    ]
    publishing = [await stack.enter_async_context(running(each.run())) for each in services]
    began = time.monotonic()
    await while_alive(inflict(plan, router, disk, tally), [*tasks, *publishing])
    await while_alive(asyncio.sleep(max(0.0, began + plan.seconds - time.monotonic())), [*tasks, *publishing])
    for service in services:
        service.stop()
    if not await within(_SETTLE_S, asyncio.wait(publishing)):
        for service in services:
            service.give_up()
    await asyncio.gather(*publishing)

    if plan.kills:  # once more when all is quiet: what comes now was read from the disk
        await router.kill()
        await router.start()
    goal = await tops(router.url, rooms)
    auditor = Subscriber(
        "auditor",
        router.url,
        {room: Position(position.epoch, 0) for room, position in goal.items()},
        plan,
        stack.enter_context(Recorder(records, "auditor")),
        tally,
        drops=False,
    )
    tasks.append(await stack.enter_async_context(running(auditor.run())))
    followers = [*subscribers, auditor]
    # Who does not make it is there to the end all the same, and what it lacks is lost.
    await within(_CATCH_UP_S, *(each.finish(goal) for each in followers))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for each in followers:
        each.write_end()


def _share_out(plan: Plan, rooms: list[str]) -> Iterator[dict[str, Position | None]]:
    """Give every subscriber its rooms, so that each room has about as many."""
    source = plan.random("rooms")
    left: list[str] = []
    for _ in range(plan.subscribers):
        mine: dict[str, Position | None] = {}
        while len(mine) < min(plan.rooms_each, len(rooms)):
            if not left:
                left = source.sample(rooms, len(rooms))
            mine[left.pop()] = None
        yield mine


@contextmanager
def _disk(plan: Plan, folder: Path) -> Iterator[SmallDisk | None]:
    if not plan.disk_full:
        yield None
        return
    with small_disk(folder / "disk", plan.disk_mib) as disk:
        yield disk


@asynccontextmanager
async def _service(
    plan: Plan, number: int, rooms: list[str], records: Path, router: RouterProcess, tally: Tally
) -> AsyncIterator[Service]:
    name = f"service-{number}"
    way = over_http(router.api_url) if number % 2 else over_websocket(router.url)
    with Recorder(records, name) as recorder:
        async with way as publish:
            yield Service(name, rooms, plan, publish, recorder, tally)


def _complaints(plan: Plan, tally: Tally, verdict: str) -> Iterator[str]:
    if not tally.acknowledged:
        yield "no event was ever acknowledged"
    if not tally.resumes:
        yield "no subscriber resumed"
    if tally.not_taken:
        yield f"{tally.not_taken} events were not taken within {_SETTLE_S:g} s after the last fault"
    if "nobody was there" in verdict:
        yield "events were acknowledged that no subscriber could have seen: nothing is known of them"
    if plan.kills and tally.kills <= plan.kills:
        yield f"the router was killed {tally.kills} times, and should have been {plan.kills} times and once at the end"
    if plan.disk_full and not tally.refused.get(UNAVAILABLE):
        yield f"no event was refused with {UNAVAILABLE}: the disk was not full"
    if plan.disk_full and tally.recovered_s is None:
        yield f"no event was taken within {RECOVER_S:g} s after the disk was free again"
