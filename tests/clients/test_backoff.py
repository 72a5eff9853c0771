"""Delays between attempts."""

from __future__ import annotations

from postroom_client import Backoff


def longest(low: float, high: float) -> float:
    return high


def test_the_longest_delay_doubles_with_every_attempt_up_to_the_cap():
    delays = [Backoff().delay_s(attempt, longest) for attempt in (1, 2, 3, 4, 5, 6, 7, 1000)]
    assert delays == [1, 2, 4, 8, 16, 20, 20, 20]


def test_every_delay_lies_between_the_floor_and_the_cap():
    backoff = Backoff()
    for attempt in range(1, 50):
        assert 0.5 <= backoff.delay_s(attempt) <= 20


def test_a_cap_below_the_floor_is_the_floor():
    assert Backoff(floor_s=2, cap_s=1).delay_s(9, longest) == 2
