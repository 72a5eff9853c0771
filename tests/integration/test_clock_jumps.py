"""The wall clock jumps by hours, as an operator or NTP sets it: timers do not care, and stamps may go back."""

from __future__ import annotations

import asyncio

import pytest

from server.app import Router

from ..conftest import running_router
from ..native_client import WAIT_S, NativeClient
from .services import SteppedClock, in_chain, numbers, position, publish

HOURS_S = 5 * 3600.0


def jump(router: Router, seconds: float) -> None:
    assert isinstance(router.clock, SteppedClock)
    router.clock.now_s += seconds


async def publish_from(router: Router, first: int, last: int) -> None:
    for n in range(first, last + 1):
        await publish(router, "doc:1", "app.step", {"n": n}, event_id=f"e{n}")


@pytest.mark.parametrize("jumps", [(-HOURS_S, HOURS_S), (HOURS_S, -HOURS_S)])
async def test_a_wall_clock_that_jumps_both_ways_changes_no_order_and_cuts_nobody(
    monkeypatch: pytest.MonkeyPatch, jumps: tuple[float, float]
) -> None:
    """The heartbeat is much shorter than the jumps; offsets go on, positions stay good, retries are known."""
    monkeypatch.setattr("server.app.SystemClock", SteppedClock)
    async with running_router(dev=True, heartbeat_s=0.2, pong_timeout_s=0.2, history_s=86_400.0) as router:
        url = router.addresses.ws_url
        async with NativeClient(url) as client:
            place = position(await client.subscribe("doc:1"))
            await publish_from(router, 1, 10)
            for number, seconds in enumerate(jumps, 1):
                jump(router, seconds)
                await publish_from(router, number * 10 + 1, number * 10 + 10)
                events = await client.events(10)
                assert numbers(events) == list(range(number * 10 - 9, number * 10 + 1))
            events += await client.events(10)
            assert in_chain(events, after=10) == 30
            assert (await publish(router, "doc:1", "app.step", {"n": 30}, event_id="e30")).duplicate
            assert (await client.ask("ping"))["type"] == "pong"
        async with NativeClient(url, resume={"doc:1": place}) as client:
            assert client.welcome["rooms"]["doc:1"]["recovery"] == "full"
            events = await client.events(30, "doc:1")
            assert numbers(events) == list(range(1, 31))
            assert in_chain(events) == 30


async def test_what_expires_expires_by_the_clock_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A jump past `history_s` ages what was published before; a client is told what it missed."""
    monkeypatch.setattr("server.app.SystemClock", SteppedClock)
    async with running_router(dev=True, history_s=0.4) as router:
        async with NativeClient(router.addresses.ws_url) as client:
            place = position(await client.subscribe("doc:1"))
            await publish_from(router, 1, 5)
            await asyncio.sleep(1.0)  # on the clock that is given no time has passed
            assert len((await client.ask("history", room="doc:1"))["events"]) == 5
            jump(router, HOURS_S)
            await publish_from(router, 6, 7)
            for _ in range(int(WAIT_S / 0.02)):
                if len((await client.ask("history", room="doc:1"))["events"]) == 2:
                    break
                await asyncio.sleep(0.02)
        async with NativeClient(router.addresses.ws_url, resume={"doc:1": place}) as client:
            answer = client.welcome["rooms"]["doc:1"]
            assert (answer["recovery"], answer["missing"]) == ("partial", {"from": 1, "to": 5})
            assert numbers(await client.events(2, "doc:1")) == [6, 7]
