"""Heartbeat: everyone is pinged in turn, who answers nothing is cut, and nobody for our own absence."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

import pytest

from server.heartbeat import Heartbeat


class FakeTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop(asyncio.AbstractEventLoop):
    """The timers of an event loop, and a clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._numbers = itertools.count()

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:  # type: ignore[override]
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (self.now_s + delay, next(self._numbers), timer))
        return timer

    def advance(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self._timers and self._timers[0][0] <= end_s:
            due_s, _, timer = heapq.heappop(self._timers)
            self.now_s = max(self.now_s, due_s)
            if not timer.cancelled:
                timer.callback()
        self.now_s = end_s

    @property
    def busy(self) -> bool:
        return any(not timer.cancelled for _, _, timer in self._timers)


class FakeConnection:
    """What the heartbeat sees of a connection; `answers`: whether its client answers pings."""

    def __init__(self, loop: FakeLoop, *, answers: bool = True) -> None:
        self._loop = loop
        self.answers = answers
        self.pings: list[float] = []
        self.cut_at: float | None = None

    def ping_now(self) -> None:
        self.pings.append(self._loop.now_s)

    @property
    def silent(self) -> bool:
        return not self.answers

    def cut(self) -> None:
        self.cut_at = self._loop.now_s


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def heartbeat(loop: FakeLoop) -> Heartbeat:
    return Heartbeat(loop, interval_s=25.0, timeout_s=10.0)


def join(heartbeat: Heartbeat, loop: FakeLoop, *, answers: bool = True) -> FakeConnection:
    connection = FakeConnection(loop, answers=answers)
    heartbeat.add(connection)  # type: ignore[arg-type]  # a fake at the boundary to the socket
    return connection


def leave(heartbeat: Heartbeat, connection: FakeConnection) -> None:
    heartbeat.remove(connection)  # type: ignore[arg-type]


def test_everyone_is_pinged_once_in_an_interval(heartbeat: Heartbeat, loop: FakeLoop) -> None:
    connections = [join(heartbeat, loop) for _ in range(100)]
    loop.advance(100.0)
    assert {len(connection.pings) for connection in connections} == {4}
    for connection in connections:
        assert {later - earlier for earlier, later in itertools.pairwise(connection.pings)} == {25.0}


def test_pings_are_spread_over_the_interval(heartbeat: Heartbeat, loop: FakeLoop) -> None:
    connections = [join(heartbeat, loop) for _ in range(100)]
    loop.advance(25.0)
    times = [connection.pings[0] for connection in connections]
    assert {times.count(time) for time in times} == {4}


def test_who_answers_stays(heartbeat: Heartbeat, loop: FakeLoop) -> None:
    connection = join(heartbeat, loop)
    loop.advance(1000.0)
    assert connection.cut_at is None


def test_who_does_not_answer_is_cut_after_the_time_out(heartbeat: Heartbeat, loop: FakeLoop) -> None:
    connection = join(heartbeat, loop, answers=False)
    loop.advance(36.0)
    assert connection.cut_at is not None
    assert 10.0 <= connection.cut_at - connection.pings[0] <= 11.0


def test_a_client_that_is_gone_is_found_within_35_s(heartbeat: Heartbeat, loop: FakeLoop) -> None:
    connections = [join(heartbeat, loop, answers=False) for _ in range(60)]
    loop.advance(36.0)
    assert all(connection.cut_at is not None and connection.cut_at <= 36.0 for connection in connections)


def test_an_answer_just_in_time_counts(heartbeat: Heartbeat, loop: FakeLoop) -> None:
    connection = join(heartbeat, loop, answers=False)
    while not connection.pings:
        loop.advance(0.5)
    loop.advance(9.5)
    connection.answers = True
    loop.advance(10.0)
    assert connection.cut_at is None


def test_who_has_left_is_neither_pinged_nor_cut(heartbeat: Heartbeat, loop: FakeLoop) -> None:
    connection = join(heartbeat, loop, answers=False)
    while not connection.pings:
        loop.advance(0.5)
    leave(heartbeat, connection)
    loop.advance(100.0)
    assert (len(connection.pings), connection.cut_at) == (1, None)


def test_without_connections_no_timer_runs(heartbeat: Heartbeat, loop: FakeLoop) -> None:
    assert not loop.busy
    connection = join(heartbeat, loop)
    assert loop.busy
    leave(heartbeat, connection)
    loop.advance(2.0)
    assert not loop.busy
    join(heartbeat, loop)
    assert loop.busy


def test_after_a_pause_without_connections_pings_go_on(heartbeat: Heartbeat, loop: FakeLoop) -> None:
    leave(heartbeat, join(heartbeat, loop))
    loop.advance(500.0)
    connection = join(heartbeat, loop, answers=False)
    loop.advance(40.0)
    assert connection.pings
    assert connection.cut_at is not None


def test_it_knows_how_many_it_watches(heartbeat: Heartbeat, loop: FakeLoop) -> None:
    connections = [join(heartbeat, loop) for _ in range(3)]
    leave(heartbeat, connections[1])
    assert len(heartbeat) == 2


def test_stopped_it_pings_nobody_any_more(heartbeat: Heartbeat, loop: FakeLoop) -> None:
    connection = join(heartbeat, loop, answers=False)
    heartbeat.stop()
    heartbeat.stop()
    loop.advance(100.0)
    assert (connection.pings, connection.cut_at) == ([], None)


def test_nobody_is_cut_for_the_time_that_the_process_stood_still(heartbeat: Heartbeat, loop: FakeLoop) -> None:
    """The clock jumps by a minute: one tick is due, not sixty; answers are read before the next one."""
    connection = join(heartbeat, loop, answers=False)
    while not connection.pings:
        loop.advance(0.5)
    loop.now_s += 60.0
    loop.advance(0.0)
    assert connection.cut_at is None
    connection.answers = True
    loop.advance(60.0)
    assert connection.cut_at is None


@pytest.mark.parametrize(("interval_s", "timeout_s"), [(0.2, 0.1), (1.0, 5.0), (5.0, 0.5), (0.1, 10.0), (3600.0, 60.0)])
def test_any_interval_and_time_out_are_kept(loop: FakeLoop, interval_s: float, timeout_s: float) -> None:
    heartbeat = Heartbeat(loop, interval_s=interval_s, timeout_s=timeout_s)
    alive, dead = join(heartbeat, loop), join(heartbeat, loop, answers=False)
    loop.advance(2.5 * interval_s + 2 * timeout_s + 2.0)
    assert alive.pings[1] - alive.pings[0] == pytest.approx(interval_s, rel=0.5)
    assert alive.cut_at is None
    assert dead.cut_at is not None
    assert dead.cut_at - dead.pings[0] >= timeout_s - 1e-9
