"""Supervisor: a child that fails is brought back, one that fails too often is given up, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.child import Backoff
from actors.loop import handles
from actors.mailbox import Exit, Mailbox

from .fake_clock import settled
from .family import NO_WAIT, Boom, Fail, Family, Worker

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
async def family(nothing_left: None) -> AsyncIterator[Family]:
    family = Family()
    yield family
    await family.end()


# --- what is restarted


async def test_a_child_that_fails_is_brought_back_at_once(family: Family) -> None:
    worker = await family.worker("w")
    await family.tell(worker, "one", Fail(Boom()), "two")
    assert family.notes == ["w start", "w one", "w start", "w two"]


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_a_failure_ends_only_a_temporary_child(family: Family, restart: Any) -> None:
    worker = await family.worker("w", restart=restart)
    await family.fail(worker)
    assert worker.occupied == (restart != "temporary")
    assert worker.closed == (restart == "temporary")


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_after_an_orderly_stop_only_a_permanent_child_comes_back(family: Family, restart: Any) -> None:
    worker = await family.worker("w", restart=restart)
    worker.stop()
    await settled()
    assert worker.occupied == (restart == "permanent")
    assert worker.closed == (restart != "permanent")


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
async def test_any_exception_is_a_failure_of_that_child_alone(family: Family, error: BaseException) -> None:
    first, second = await family.worker("first"), await family.worker("second")
    await family.tell(first, Fail(error))
    await family.tell(second, "well")
    assert first.occupied
    assert family.notes == ["first start", "second start", "first start", "second well"]


async def test_a_failure_is_nothing_to_its_siblings(family: Family) -> None:
    first, second = await family.worker("first"), await family.worker("second")
    for _ in range(3):
        await family.tell(second, "before")
        await family.fail(first)
    assert family.notes.count("second start") == 1
    assert family.notes.count("second before") == 3


# --- too often


async def test_a_child_may_be_restarted_as_often_as_its_intensity_says(family: Family) -> None:
    given_up: list[Exit] = []
    worker = await family.worker("w", intensity=3, backoff=NO_WAIT, on_give_up=given_up.append)
    await family.fail(worker, 3)
    assert worker.occupied
    assert given_up == []


async def test_past_its_intensity_a_child_is_given_up(family: Family) -> None:
    given_up: list[Exit] = []
    worker = await family.worker("w", intensity=3, backoff=NO_WAIT, on_give_up=given_up.append)
    await family.fail(worker, 4)
    assert worker.closed
    assert family.notes == ["w start"] * 4
    (how,) = given_up
    assert isinstance(how.cause, Boom)
    assert isinstance(how.message, Fail)


async def test_restarts_longer_ago_than_the_window_do_not_count(family: Family) -> None:
    worker = await family.worker("w", intensity=2, within_s=5.0, backoff=NO_WAIT)
    for _ in range(10):
        await family.fail(worker)
        await family.clock.advance(2.5)
    assert worker.occupied


async def test_restarts_just_within_the_window_count(family: Family) -> None:
    given_up: list[Exit] = []
    worker = await family.worker("w", intensity=2, within_s=5.0, backoff=NO_WAIT, on_give_up=given_up.append)
    for _ in range(3):
        await family.fail(worker)
        await family.clock.advance(2.4)
    assert len(given_up) == 1


async def test_a_jump_of_the_wall_clock_opens_no_window(family: Family) -> None:
    given_up: list[Exit] = []
    worker = await family.worker("w", intensity=1, backoff=NO_WAIT, on_give_up=given_up.append)
    await family.fail(worker)
    family.clock.jump_wall(3600)
    await family.fail(worker)
    assert len(given_up) == 1


async def test_an_intensity_of_zero_gives_up_at_the_first_failure(family: Family) -> None:
    given_up: list[Exit] = []
    await family.fail(await family.worker("w", intensity=0, on_give_up=given_up.append))
    assert len(given_up) == 1


async def test_who_waits_for_an_answer_of_a_child_that_is_given_up_gets_an_error(family: Family) -> None:
    worker = await family.worker("w", intensity=0, on_give_up=lambda _how: None)
    worker.tell(Fail(Boom()))
    answer = worker.ask("still there?")
    with pytest.raises(Exception, match="is closed"):
        await answer


# --- back-off


async def test_the_second_restart_waits_and_each_one_after_up_to_twice_as_long(family: Family) -> None:
    bounds: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    worker = await family.worker("w", intensity=9, within_s=60.0, backoff=Backoff(0.05, 0.3, draw))
    for _ in range(6):
        await family.fail(worker)
        await family.clock.advance(1.0)
    assert bounds == [(0.0, 0.05), (0.0, 0.1), (0.0, 0.2), (0.0, 0.3), (0.0, 0.3)]
    assert family.clock.waits == [0.05, 0.1, 0.2, 0.3, 0.3]


async def test_while_it_waits_the_child_is_down_and_its_mail_is_kept(family: Family) -> None:
    worker = await family.worker("w", backoff=Backoff(draw=lambda _low, high: high))
    await family.fail(worker, 2)
    await family.tell(worker, "hello")
    await family.clock.advance(0.04)
    assert not worker.occupied
    await family.clock.advance(0.02)
    assert family.notes == ["w start", "w start", "w start", "w hello"]


async def test_after_a_quiet_window_the_restart_is_immediate_again(family: Family) -> None:
    worker = await family.worker("w", backoff=Backoff(draw=lambda _low, high: high))
    await family.fail(worker, 2)
    await family.clock.advance(10.0)
    await family.fail(worker)
    assert worker.occupied


@given(restarts=st.integers(0, 200), first_s=st.floats(0.001, 10), most_s=st.floats(0.001, 100))
def test_the_wait_is_drawn_between_nothing_and_a_doubling_bound(restarts: int, first_s: float, most_s: float) -> None:
    assert 0.0 <= Backoff(first_s, most_s).wait_s(restarts) <= min(most_s, first_s * 2.0 ** max(0, restarts - 1))


def test_waits_are_spread_over_the_whole_bound() -> None:
    waits = [Backoff(1.0, 1.0).wait_s(1) for _ in range(2000)]
    assert min(waits) < 0.1
    assert max(waits) > 0.9
    assert 0.4 < sum(waits) / len(waits) < 0.6


# --- failures that a message is to blame for


class Careful(Worker):
    """Fails on what it is told to fail on, and may try that again."""

    retried = (Fail,)

    @handles(int)
    def _fail_for_good(self, message: int) -> None:
        raise Boom


async def careful(family: Family, **options: Any) -> Mailbox:
    """Start a worker whose failures are tried again."""
    return await family.worker("w", lambda box: Careful.start(family.notes, "w", mailbox=box), **options)


async def test_failures_that_a_message_is_to_blame_for_do_not_count(family: Family) -> None:
    """However many messages fail, each of them twice, as often as it likes; the others are handled in between."""
    worker = await careful(family, intensity=0)
    for number in range(5):
        await family.tell(worker, Fail(Boom()), str(number))
    assert family.notes.count("w start") == 11
    assert [note for note in family.notes if note != "w start"] == ["w 0", "w 1", "w 2", "w 3", "w 4"]


async def test_past_ten_in_the_window_each_further_one_waits_a_little(family: Family) -> None:
    """A flood of such messages leaves time to everybody else."""
    worker = await careful(family, backoff=Backoff(draw=lambda _low, high: high))
    for _ in range(7):
        worker.tell(Fail(Boom()))
    await settled()
    assert family.notes.count("w start") == 11
    assert family.clock.due == [0.1]
    await family.clock.advance(0.4)
    assert family.notes.count("w start") == 15
    await family.clock.advance(5.0)
    await family.tell(worker, Fail(Boom()))
    assert family.notes.count("w start") == 17


async def test_other_failures_of_the_same_child_count_as_before(family: Family) -> None:
    given_up: list[Exit] = []
    worker = await careful(family, intensity=2, backoff=NO_WAIT, on_give_up=given_up.append)
    for _ in range(3):
        await family.tell(worker, Fail(Boom()), 1)
    assert len(given_up) == 1
    assert [how.message for how in given_up] == [1]
