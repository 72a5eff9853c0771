"""The script of a soak: rounds of churn and chaos, each judged by the checker; after each a look at what is left."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from postroom_client.testing._control import Control
from server.auth import issue_token

from ..integration.network import slow_network
from ..torture.plan import Tally
from ..torture.recording import Recorder
from ..torture.router import RouterProcess, RunFailed
from ..torture.scene import Casting, play
from ..torture.service import Service, SessionService
from ..torture.subscriber import Subscriber, tops
from ..torture.tasks import running, within
from ..torture.verdict import check
from ..torture.ways import over_websocket
from .chaos import Chaos
from .looks import Look, counts_as, look
from .plan import SECRET, SETTINGS, SoakPlan
from .supervision import Supervision

__all__ = ["Soak", "soak"]

PLUGIN = "tests.integration.router_plugins:control"
_WAIT_S = 60.0
_SLOW_S = 0.05
_SAME = ("actors", "connections", "rooms", "subscriptions", "states", "tasks", "descriptors")
"""What must be as before when everybody who came has left."""


class Soak(NamedTuple):
    """How a soak went on so far, or ended."""

    looks: list[Look]
    """One after each round; the first of all before the first round."""
    tally: Tally
    supervision: Supervision
    complaints: list[str]
    """What was not as it must be; a violation that the checker found is among them."""
    checks: list[str]
    """What the checker said, by round; the last is of those that stayed all the time."""


async def soak(plan: SoakPlan, folder: Path, on_round: Callable[[Soak], None]) -> Soak:
    """Soak a router.

    Args:
        plan: What to do.
        folder: Empty; gets the router's log and journal, and the records in which something was wrong.
        on_round: Called after each round.

    Raises:
        RunFailed: The router did not start, ended by itself, or lets nobody in.
    """
    tally = Tally()
    journal = folder / "journal" / "journal.db"
    socket = folder / "control"
    router = RouterProcess(
        folder, str(journal), tally, settings=SETTINGS, plugins=[PLUGIN], environment={"CONTROL_SOCKET": str(socket)}
    )
    plugin = Control(str(socket))
    supervision = Supervision(router.log)
    outcome = Soak([], tally, supervision, [], [])
    try:
        await router.start()
        stay = folder / "stay"
        stay.mkdir()
        async with _stayers(plan, stay, router, tally):
            await _rounds(plan, folder, router, plugin, journal, outcome, on_round)
        await _judge(stay, "those that stayed", outcome)
    finally:
        await router.stop()
    supervision.read()
    outcome.complaints.extend(f"in the router's log: {line}" for line in supervision.unplanned)
    return outcome


async def _rounds(
    plan: SoakPlan,
    folder: Path,
    router: RouterProcess,
    plugin: Control,
    journal: Path,
    outcome: Soak,
    on_round: Callable[[Soak], None],
) -> None:
    # Who stays has one connection each, and so has their service.
    base, _ = await counts_as(plugin, lambda counts: counts["connections"] == plan.stayers + 1)
    outcome.looks.append(look(router.pid, journal, base))
    until = time.monotonic() + plan.minutes * 60
    number = 0
    async with slow_network(router.url, delay_s=_SLOW_S, seed=plan.seed) as slow_url:
        casting = Casting(SessionService, lambda number: router.url if number % 4 else slow_url, _token)
        while not number or time.monotonic() < until:
            number += 1
            part = plan.round(number)
            chaos = Chaos(plan, number, part, router, plugin, lambda now: _fits(now, base, plan.subscribers + 1))
            rooms = [f"{'session' if n % 2 else 'doc'}:round-{number}-{n}" for n in range(part.rooms)]
            records = folder / f"round-{number}"
            records.mkdir()
            await play(part, rooms, records, router, outcome.tally, chaos, casting)
            if chaos.complaint is not None:
                outcome.complaints.append(chaos.complaint)
            counts, as_before = await counts_as(plugin, lambda now: all(now[name] == base[name] for name in _SAME))
            outcome.looks.append(look(router.pid, journal, counts))
            if not as_before:
                outcome.complaints.append(f"round {number} left something: {counts}, and before it all it was {base}")
            outcome.supervision.read()
            await _judge(records, f"round {number}", outcome)
            on_round(outcome)


def _fits(now: dict[str, int], base: dict[str, int], more: int) -> bool:
    """Tell whether there are `more` connections than before, with as many actors, states and tasks as that takes."""
    return now["connections"] == now["states"] == base["connections"] + more and all(
        now[name] - each * now["connections"] == base[name] - each * base["connections"]
        for name, each in (("tasks", _TASKS_EACH), ("descriptors", 1))
    )


_TASKS_EACH = 1


async def _judge(records: Path, whose: str, outcome: Soak) -> None:
    """Have the checker judge; keep the records only where it has found something."""
    verdict, exit_code = await check(records)
    outcome.checks.append(verdict)
    if exit_code:
        outcome.complaints.append(f"the checker, of {whose} ({records}): {verdict}")
    else:
        shutil.rmtree(records)


@asynccontextmanager
async def _stayers(plan: SoakPlan, records: Path, router: RouterProcess, tally: Tally) -> AsyncIterator[None]:
    """Have some stay connected through everything, with a service that publishes to them; then let them catch up."""
    part = plan.stay()
    rooms = [f"stay:{number}" for number in range(plan.stayer_rooms)]
    async with AsyncExitStack() as stack:
        stayers = [
            Subscriber(
                name,
                lambda: router.url,
                dict.fromkeys(rooms[number % 2 :: 2]),
                part,
                stack.enter_context(Recorder(records, name)),
                tally,
                drops=False,
                token=_token(name),
            )
            for number in range(plan.stayers)
            for name in [f"stayer-{number}"]
        ]
        for each in stayers:
            await stack.enter_async_context(running(each.run()))
        if not await within(_WAIT_S, *(each.let_in.wait() for each in stayers)):
            raise RunFailed(f"those that stay were not let in\n{router.last_lines()}")
        recorder = stack.enter_context(Recorder(records, "service"))
        way = await stack.enter_async_context(over_websocket(lambda: router.url))
        service = Service("stay", rooms, part, way, recorder, tally)
        publishing = await stack.enter_async_context(running(service.run()))
        yield
        service.stop()
        await within(_WAIT_S, publishing)
        goal = await tops(router.url, rooms)
        await within(_WAIT_S, *(each.finish(goal) for each in stayers))
        for each in stayers:
            each.write_end()


def _token(name: str) -> str:
    return issue_token(SECRET, name, "user", ("session:*", "doc:*", "stay:*"), (), 24 * 3600)
