"""LoopFuture: one value, set once by any thread, awaited on a loop or waited for in a thread."""

from __future__ import annotations

import asyncio
import queue
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pykka
import pytest

from actors.future import LoopFuture, on_event_loop

WAIT_S = 5.0


class Boom(Exception):
    """What the tests raise."""


@pytest.fixture
def future() -> LoopFuture[object]:
    return LoopFuture()


# --- waiting in a thread


def test_get_returns_the_value_each_time_it_is_asked_for(future: LoopFuture[object]) -> None:
    future.set("value")
    assert future.get(timeout=0) == "value"
    assert future.get(timeout=0) == "value"


def test_the_value_is_none_where_none_is_given(future: LoopFuture[object]) -> None:
    future.set()
    assert future.get(timeout=0) is None


def test_get_raises_timeout_naming_the_seconds(future: LoopFuture[object]) -> None:
    with pytest.raises(pykka.Timeout, match=r"0\.01 seconds"):
        future.get(timeout=0.01)


def test_get_after_a_timeout_still_gets_the_value(future: LoopFuture[object]) -> None:
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0)
    future.set("late")
    assert future.get(timeout=0) == "late"


def test_every_waiting_thread_gets_the_value(future: LoopFuture[object], thread_pool: ThreadPoolExecutor) -> None:
    waiting = [thread_pool.submit(future.get, timeout=WAIT_S) for _ in range(4)]
    future.set("value")
    assert [each.result(WAIT_S) for each in waiting] == ["value"] * 4


def test_tell_sets_the_value(future: LoopFuture[object]) -> None:
    future.tell("told")
    assert future.get(timeout=0) == "told"


# --- waiting on a loop


async def test_await_returns_a_value_that_is_there_already(future: LoopFuture[object]) -> None:
    future.set("value")
    assert await future == "value"


async def test_two_tasks_await_the_same_future(future: LoopFuture[object]) -> None:
    async def wait() -> object:
        return await future

    tasks = [asyncio.create_task(wait()) for _ in range(2)]
    await asyncio.sleep(0)
    future.set("value")
    assert await asyncio.gather(*tasks) == ["value", "value"]


async def test_set_from_another_thread_wakes_an_awaiting_task(future: LoopFuture[object]) -> None:
    async def wait() -> object:
        return await future

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    await asyncio.to_thread(future.set, "from afar")
    assert await task == "from afar"


async def test_no_wake_up_is_lost_when_a_thread_sets_while_tasks_begin_to_await() -> None:
    futures = [LoopFuture[int]() for _ in range(1_000)]

    def set_all() -> None:
        for number, each in enumerate(futures):
            each.set(number)

    async def wait(each: LoopFuture[int]) -> int:
        return await each

    setting = asyncio.create_task(asyncio.to_thread(set_all))
    assert await asyncio.gather(*(wait(each) for each in futures)) == list(range(1_000))
    await setting


async def test_a_cancelled_await_leaves_no_waiter_behind(future: LoopFuture[object]) -> None:
    async def wait() -> object:
        return await future

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert future._waiters == []


async def test_a_cancelled_await_takes_nothing_from_another(future: LoopFuture[object]) -> None:
    async def wait() -> object:
        return await future

    cancelled, other = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0)
    cancelled.cancel()
    future.set("value")
    assert await other == "value"


async def test_a_time_out_of_the_caller_leaves_the_future_usable(future: LoopFuture[object]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await future
    future.set("late")
    assert await future == "late"


async def test_get_on_the_loop_raises_at_once_instead_of_blocking(future: LoopFuture[object]) -> None:
    with pytest.raises(RuntimeError, match="await"):
        future.get(timeout=WAIT_S)


async def test_get_on_the_loop_returns_a_value_that_is_there(future: LoopFuture[object]) -> None:
    future.set("value")
    assert future.get() == "value"


def test_setting_a_future_whose_awaiting_loop_was_closed_does_no_harm(future: LoopFuture[object]) -> None:
    async def begin_to_await() -> object:
        waiting = future.__await__()
        next(waiting)
        return waiting

    waiting = asyncio.run(begin_to_await())
    future.set("too late for that loop")
    assert future.get(timeout=0) == "too late for that loop"
    waiting.close()


def test_a_loop_that_closes_does_not_keep_another_from_its_value(
    future: LoopFuture[object], thread_pool: ThreadPoolExecutor
) -> None:
    awaits = threading.Event()

    async def begin_to_await() -> object:
        waiting = future.__await__()
        next(waiting)
        return waiting

    async def wait() -> object:
        task = asyncio.ensure_future(future)
        await asyncio.sleep(0)
        awaits.set()
        return await asyncio.wait_for(task, WAIT_S)

    closed = asyncio.run(begin_to_await())
    living = thread_pool.submit(asyncio.run, wait())
    assert awaits.wait(WAIT_S)
    future.set("value")
    assert living.result(WAIT_S) == "value"
    closed.close()


def test_on_event_loop_is_false_without_one() -> None:
    assert not on_event_loop()


async def test_on_event_loop_is_true_on_one_and_false_in_a_thread_beside_it() -> None:
    assert on_event_loop()
    assert not await asyncio.to_thread(on_event_loop)


# --- set once

SETTERS: dict[str, Callable[[LoopFuture[object]], None]] = {
    "set": lambda future: future.set("value"),
    "set_exception": lambda future: future.set_exception((Boom, Boom("no"), None)),
    "set_get_hook": lambda future: future.set_get_hook(lambda timeout: "value"),
}


@pytest.mark.parametrize("second", SETTERS)
@pytest.mark.parametrize("first", ["set", "set_exception"])
def test_a_future_that_is_set_cannot_be_set_again(future: LoopFuture[object], first: str, second: str) -> None:
    SETTERS[first](future)
    with pytest.raises(queue.Full):
        SETTERS[second](future)


@pytest.mark.parametrize("second", ["set", "set_exception"])
def test_a_future_with_a_get_hook_cannot_be_set(future: LoopFuture[object], second: str) -> None:
    future.set_get_hook(lambda timeout: "value")
    with pytest.raises(queue.Full):
        SETTERS[second](future)


def test_an_answer_that_is_told_twice_counts_once(future: LoopFuture[object]) -> None:
    """A failure may make the same answer come again: whoever tells it must not fail for that."""
    future.tell("first")
    future.tell("second")
    future.tell_error(Boom("third"))
    assert future.get(timeout=0) == "first"


def test_a_refused_second_value_leaves_the_first(future: LoopFuture[object]) -> None:
    future.set("first")
    with pytest.raises(queue.Full):
        future.set("second")
    assert future.get(timeout=0) == "first"


def test_one_of_many_racing_threads_sets_the_value(future: LoopFuture[object], thread_pool: ThreadPoolExecutor) -> None:
    barrier = threading.Barrier(8)

    def race(number: int) -> int | None:
        barrier.wait(WAIT_S)
        try:
            future.set(number)
        except queue.Full:
            return None
        return number

    winners = [number for number in thread_pool.map(race, range(8), timeout=WAIT_S) if number is not None]
    assert winners == [future.get(timeout=0)]


# --- exceptions


def raise_boom() -> None:
    raise Boom("deep down")


def test_set_exception_takes_the_exception_being_handled(future: LoopFuture[object]) -> None:
    try:
        raise_boom()
    except Boom:
        future.set_exception()
    with pytest.raises(Boom, match="deep down"):
        future.get(timeout=0)


def test_the_traceback_leads_to_where_it_was_raised(future: LoopFuture[object]) -> None:
    try:
        raise_boom()
    except Boom:
        future.set_exception()
    with pytest.raises(Boom) as caught:
        future.get(timeout=0)
    assert "raise_boom" in "".join(traceback.format_exception(caught.value))


def test_the_traceback_does_not_grow_with_each_get(future: LoopFuture[object]) -> None:
    try:
        raise_boom()
    except Boom:
        future.set_exception()

    def depth() -> int:
        with pytest.raises(Boom) as caught:
            future.get(timeout=0)
        return len(traceback.extract_tb(caught.value.__traceback__))

    assert depth() == depth() == depth()


def test_set_exception_takes_exc_info(future: LoopFuture[object]) -> None:
    error = Boom("given")
    future.set_exception((Boom, error, None))
    with pytest.raises(Boom) as caught:
        future.get(timeout=0)
    assert caught.value is error


def test_set_exception_takes_a_type_alone(future: LoopFuture[object]) -> None:
    future.set_exception((Boom, None, None))
    with pytest.raises(Boom):
        future.get(timeout=0)


@pytest.mark.parametrize("exc_info", [None, (None, None, None)])
def test_set_exception_without_an_exception_says_so(future: LoopFuture[object], exc_info: None) -> None:
    with pytest.raises(ValueError, match="exc_info"):
        future.set_exception(exc_info)


async def test_await_raises_the_exception_in_every_task(future: LoopFuture[object]) -> None:
    async def wait() -> object:
        return await future

    tasks = [asyncio.create_task(wait()) for _ in range(3)]
    await asyncio.sleep(0)
    error = Boom("for all")
    future.set_exception((Boom, error, None))
    assert await asyncio.gather(*tasks, return_exceptions=True) == [error] * 3


# --- get hooks: map, filter, join, reduce


def test_a_get_hook_gets_the_timeout(future: LoopFuture[object]) -> None:
    future.set_get_hook(lambda timeout: ("asked for", timeout))
    assert future.get(timeout=2.5) == ("asked for", 2.5)


def test_a_get_hook_runs_once(future: LoopFuture[object]) -> None:
    calls: list[object] = []
    mapped = future.map(calls.append)
    future.set("value")
    mapped.get(timeout=WAIT_S)
    mapped.get(timeout=WAIT_S)
    assert calls == ["value"]


def test_a_get_hook_hands_on_a_time_out(future: LoopFuture[object]) -> None:
    with pytest.raises(pykka.Timeout):
        future.map(str).get(timeout=0)


async def test_a_mapped_future_is_awaited_on_the_loop() -> None:
    future = LoopFuture[int]()
    mapped = future.map(lambda number: number + 1)
    asyncio.get_running_loop().call_soon(future.set, 41)
    assert await mapped == 42


async def test_joined_futures_are_awaited_on_the_loop() -> None:
    first, second = LoopFuture[int](), LoopFuture[int]()
    joined = first.join(second)
    asyncio.get_running_loop().call_soon(second.set, 2)
    asyncio.get_running_loop().call_soon(first.set, 1)
    assert await joined == [1, 2]


async def test_filter_and_reduce_chain_and_are_awaited_on_the_loop() -> None:
    future = LoopFuture[list[int]]()
    total = future.filter(lambda number: number > 1).reduce(lambda left, right: left + right, 0)
    asyncio.get_running_loop().call_soon(future.set, [1, 2, 3])
    assert await total == 5


async def test_an_exception_in_a_get_hook_reaches_who_awaits() -> None:
    future = LoopFuture[int]()

    def fail(number: int) -> None:
        raise Boom(number)

    future.set(7)
    with pytest.raises(Boom, match="7"):
        await future.map(fail)


async def test_get_of_a_hook_that_would_wait_raises_on_the_loop(future: LoopFuture[object]) -> None:
    with pytest.raises(RuntimeError, match="await"):
        future.map(str).get()
