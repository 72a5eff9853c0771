"""The lag of the loop: whoever looks into the log learns that the router stood still, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from server.lag import LagWatch
from tests.actors.fake_clock import FakeClock

Logged = list[dict[str, Any]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def watch(clock: FakeClock) -> LagWatch:
    watch = LagWatch(clock)
    watch.start()
    return watch


async def stand_still(clock: FakeClock, seconds: float) -> None:
    """Let time pass in which no timer is looked at."""
    clock._now_s += seconds
    await clock.advance(0.0)


def lags(logged: Logged) -> list[tuple[int, int]]:
    return [(line["lag_ms"], line["times"]) for line in logged if line["event"] == "loop_lagged"]


async def test_a_loop_that_comes_in_time_is_no_news(clock: FakeClock, watch: LagWatch, logged: Logged) -> None:
    await clock.advance(60.0)
    await stand_still(clock, 0.9)
    assert lags(logged) == []


async def test_a_loop_that_stood_still_says_for_how_long(clock: FakeClock, watch: LagWatch, logged: Logged) -> None:
    await stand_still(clock, 2.25)
    assert lags(logged) == [(2000, 1)]


async def test_lags_that_follow_each_other_make_one_line_in_ten_seconds(
    clock: FakeClock, watch: LagWatch, logged: Logged
) -> None:
    for seconds in (1.25, 3.25, 2.25):
        await stand_still(clock, seconds)
    assert lags(logged) == [(1000, 1)]
    await clock.advance(10.0)
    assert lags(logged) == [(1000, 1), (3000, 2)]


async def test_the_wall_clock_may_jump(clock: FakeClock, watch: LagWatch, logged: Logged) -> None:
    for seconds in (7200.0, -7200.0):
        clock.jump_wall(seconds)
        await clock.advance(1.0)
    assert lags(logged) == []


async def test_when_it_is_stopped_no_timer_is_left(clock: FakeClock, watch: LagWatch) -> None:
    watch.stop()
    assert clock.due == []
