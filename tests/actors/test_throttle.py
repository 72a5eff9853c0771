"""Throttle: how many commands and how many mistakes a client may make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.throttle import BadMessageCount, TokenBucket


def test_a_burst_is_taken_at_once() -> None:
    bucket = TokenBucket(10, 3, now=0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_past_the_burst_it_says_how_long_to_wait() -> None:
    bucket = TokenBucket(10, 1, now=0.0)
    bucket.take(0.0)
    assert bucket.take(0.0) == pytest.approx(0.1)
    assert bucket.take(0.04) == pytest.approx(0.06)


def test_after_the_wait_it_takes_one_again() -> None:
    bucket = TokenBucket(10, 1, now=0.0)
    bucket.take(0.0)
    assert bucket.take(0.1) == 0.0
    assert bucket.take(0.1) > 0.0


def test_a_long_pause_fills_it_to_the_burst_and_no_more() -> None:
    bucket = TokenBucket(10, 2, now=0.0)
    assert [bucket.take(1e6) > 0 for _ in range(3)] == [False, False, True]


def test_a_refused_command_costs_nothing() -> None:
    bucket = TokenBucket(1, 1, now=0.0)
    bucket.take(0.0)
    for _ in range(100):
        bucket.take(0.5)
    assert bucket.take(1.0) == 0.0


def test_a_rate_of_zero_is_no_limit() -> None:
    bucket = TokenBucket(0, 0, now=0.0)
    assert all(bucket.take(0.0) == 0.0 for _ in range(1000))


@given(
    per_s=st.floats(0.1, 1000),
    burst=st.integers(1, 100),
    pauses=st.lists(st.floats(0, 1), max_size=200),
)
def test_over_any_time_no_more_are_taken_than_the_rate_and_the_burst_allow(
    per_s: float, burst: int, pauses: list[float]
) -> None:
    now, taken = 0.0, 0
    bucket = TokenBucket(per_s, burst, now=now)
    for pause in pauses:
        now += pause
        taken += bucket.take(now) == 0.0
    assert taken <= burst + now * per_s + 1e-6


def test_the_tenth_bad_message_in_a_minute_is_too_many() -> None:
    count = BadMessageCount()
    assert [count.add(float(second)) for second in range(10)] == [False] * 9 + [True]


def test_bad_messages_over_more_than_a_minute_are_borne() -> None:
    count = BadMessageCount()
    assert not any(count.add(second * 7.0) for second in range(100))


def test_only_the_last_minute_counts() -> None:
    count = BadMessageCount(most=3, within_s=60.0)
    assert [count.add(now) for now in (0.0, 59.0, 61.0, 62.0)] == [False, False, False, True]


@given(st.lists(st.floats(0, 30), max_size=40), st.integers(1, 10))
def test_it_is_too_many_exactly_when_so_many_came_within_the_time(pauses: list[float], most: int) -> None:
    count, times = BadMessageCount(most, 60.0), [0.0]
    for pause in pauses:
        times.append(times[-1] + pause)
        recent = times[1:][-most:]
        assert count.add(times[-1]) == (len(recent) == most and recent[-1] - recent[0] <= 60.0)
