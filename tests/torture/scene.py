"""A scene: services publish, subscribers drop and resume, something happens to the router; then everyone catches up.

In: a running router and what is to happen to it. Out: records for the checker, and counts.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

from ..checker.records import Position
from .plan import Plan, Tally
from .recording import Recorder
from .router import RunFailed
from .service import Service
from .subscriber import Subscriber, tops
from .tasks import running, while_alive, within
from .ways import over_http, over_websocket

__all__ = ["Casting", "Director", "Serving", "play", "shortcomings"]

_SETTLE_S = 60.0
"""How long what was published before the last fault may take to be taken, in seconds."""
_LET_IN_S = 60.0
_CATCH_UP_S = 120.0


class Serving(Protocol):
    """A router, or several of which it does not matter who comes to which."""

    @property
    def url(self) -> str:
        """Where the next client connects to."""

    @property
    def api_url(self) -> str:
        """Where the next call goes to."""

    def last_lines(self) -> str:
        """Return the end of the log."""


class Director(Protocol):
    """What happens beside the services and subscribers."""

    async def trouble(self) -> None:
        """Do what is to be done to the router while events are published."""

    async def quiet(self) -> None:
        """Nothing is published any more."""

    async def gathered(self) -> None:
        """Every subscriber has everything, and is still connected."""


class Casting:
    """Who plays.

    Args:
        service: What publishes.
        url: The address that a subscriber of this number connects to; None: the router's.
        token: The token of a subscriber of this name; None: it has none.
    """

    def __init__(
        self,
        service: type[Service] = Service,
        url: Callable[[int], str] | None = None,
        token: Callable[[str], str] | None = None,
    ) -> None:
        self.service = service
        self._url = url
        self._token = token

    def subscriber(
        self,
        number: int,
        name: str,
        router: Serving,
        positions: dict[str, Position | None],
        plan: Plan,
        recorder: Recorder,
        tally: Tally,
        *,
        drops: bool = True,
    ) -> Subscriber:
        """Make a subscriber."""
        url = (lambda: router.url) if self._url is None else functools.partial(self._url, number)
        token = None if self._token is None else self._token(name)
        return Subscriber(name, url, positions, plan, recorder, tally, drops=drops, token=token)


async def play(
    plan: Plan,
    rooms: Sequence[str],
    records: Path,
    router: Serving,
    tally: Tally,
    director: Director,
    casting: Casting | None = None,
) -> None:
    """Play it.

    Args:
        plan: How many there are, and how often what happens.
        rooms: Where events are published. In each of them nothing has happened yet.
        records: The folder that the records go to.
        router: The router; it runs.
        tally: Where everything is counted.
        director: What else happens.
        casting: Who plays, where it is not the usual ones.

    Raises:
        RunFailed: The router lets nobody in, or ended by itself.
    """
    casting = casting or Casting()
    async with AsyncExitStack() as stack:
        subscribers = [
            casting.subscriber(number, f"subscriber-{number}", router, positions, plan, recorder, tally)
            for number, positions in enumerate(_share_out(plan, rooms), 1)
            for recorder in [stack.enter_context(Recorder(records, f"subscriber-{number}"))]
        ]
        tasks = [await stack.enter_async_context(running(each.run())) for each in subscribers]
        if not await within(_LET_IN_S, *(each.let_in.wait() for each in subscribers)):
            out = sum(not each.let_in.is_set() for each in subscribers)
            message = f"{out} subscribers were not let into their rooms within {_LET_IN_S:g} s"
            raise RunFailed(f"{message}\n{router.last_lines()}")

        await _publish(plan, rooms, records, router, tally, director, casting.service, tasks)
        await director.quiet()
        goal = await tops(router.url, rooms)
        auditor = casting.subscriber(
            0,
            "auditor",
            router,
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
        await director.gathered()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in followers:
            each.write_end()


def shortcomings(tally: Tally, verdict: str) -> Iterator[str]:
    """Say what was not put to the test, or did not come to an end, whatever the checker found.

    Args:
        tally: What was counted.
        verdict: What the checker said.
    """
    if not tally.acknowledged:
        yield "no event was ever acknowledged"
    if not tally.resumes:
        yield "no subscriber resumed"
    if tally.not_taken:
        yield f"{tally.not_taken} events were not taken within {_SETTLE_S:g} s after the last fault"
    if "nobody was there" in verdict:
        yield "events were acknowledged that no subscriber could have seen: nothing is known of them"


async def _publish(
    plan: Plan,
    rooms: Sequence[str],
    records: Path,
    router: Serving,
    tally: Tally,
    director: Director,
    actor: type[Service],
    tasks: list[asyncio.Task[None]],
) -> None:
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(_service(actor, plan, n, rooms, records, router, tally))
            for n in range(1, plan.services + 1)
        ]
        publishing = [await stack.enter_async_context(running(each.run())) for each in services]
        began = time.monotonic()
        await while_alive(director.trouble(), [*tasks, *publishing])
        await while_alive(asyncio.sleep(max(0.0, began + plan.seconds - time.monotonic())), [*tasks, *publishing])
        for service in services:
            service.stop()
        if not await within(_SETTLE_S, asyncio.wait(publishing)):
            for service in services:
                service.give_up()
        await asyncio.gather(*publishing)


def _share_out(plan: Plan, rooms: Sequence[str]) -> Iterator[dict[str, Position | None]]:
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


@asynccontextmanager
async def _service(
    actor: type[Service],
    plan: Plan,
    number: int,
    rooms: Sequence[str],
    records: Path,
    router: Serving,
    tally: Tally,
) -> AsyncIterator[Service]:
    name = f"service-{number}"
    way = over_http(lambda: router.api_url) if number % 2 else over_websocket(lambda: router.url)
    with Recorder(records, name) as recorder:
        async with way as publish:
            yield actor(name, rooms, plan, publish, recorder, tally)
