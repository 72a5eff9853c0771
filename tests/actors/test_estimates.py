"""Estimates: percent, rate, elapsed and remaining time of a progress."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.estimates import with_estimates

ADDED = ("percent", "rate", "elapsed_s", "eta_s")


def run(*steps: tuple[float, dict[str, Any]]) -> dict[str, Any]:
    """Feed values, each with the seconds since the one before; return the last one with its estimates."""
    before: dict[str, Any] | None = None
    for seconds, data in steps:
        before = with_estimates(data, before, seconds)
    assert before is not None
    return before


def test_the_first_value_has_no_rate_and_no_remaining_time() -> None:
    assert run((0, {"current": 1, "total": 4})) == {"current": 1, "total": 4, "percent": 25.0, "elapsed_s": 0.0}


def test_the_second_value_has_all_of_them() -> None:
    assert run((0, {"current": 0, "total": 10}), (2, {"current": 4, "total": 10})) == {
        "current": 4,
        "total": 10,
        "percent": 40.0,
        "rate": 2.0,
        "elapsed_s": 2.0,
        "eta_s": 3.0,
    }


def test_without_a_total_there_is_no_percent_and_no_remaining_time() -> None:
    assert run((0, {"current": 0}), (2, {"current": 4})) == {"current": 4, "rate": 2.0, "elapsed_s": 2.0}


def test_a_total_of_zero_has_no_percent() -> None:
    assert "percent" not in run((0, {"current": 0, "total": 0}))


def test_percent_is_100_at_most() -> None:
    assert run((0, {"current": 11, "total": 10}))["percent"] == 100.0


def test_past_the_total_nothing_remains() -> None:
    assert run((0, {"current": 0, "total": 10}), (1, {"current": 12, "total": 10}))["eta_s"] == 0.0


def test_elapsed_time_adds_up() -> None:
    assert run((0, {"current": 0}), (1.5, {"current": 1}), (2.25, {"current": 2}))["elapsed_s"] == 3.75


def test_the_rate_follows_a_change_of_pace_slowly() -> None:
    steady = [(1.0, {"current": n}) for n in range(10)]
    after_a_burst = run(*steady, (1.0, {"current": 109}))["rate"]
    assert 1.0 < after_a_burst < 10.0


def test_many_small_steps_and_one_large_one_come_to_a_similar_rate() -> None:
    start = [(0.0, {"current": 0.0}), (1.0, {"current": 1.0})]
    small = run(*start, *((0.1, {"current": 1.0 + n}) for n in range(1, 11)))["rate"]
    large = run(*start, (1.0, {"current": 11.0}))["rate"]
    assert small == pytest.approx(large, rel=0.2)


def test_a_standstill_lets_the_rate_sink() -> None:
    assert 0 < run((0, {"current": 0}), (1, {"current": 5}), (9, {"current": 5}))["rate"] < 5


def test_at_a_rate_of_zero_the_remaining_time_is_unknown() -> None:
    last = run((0, {"current": 5, "total": 9}), (1, {"current": 5, "total": 9}))
    assert last["rate"] == 0.0
    assert "eta_s" not in last


def test_two_values_at_the_same_moment_keep_the_rate() -> None:
    assert run((0, {"current": 0}), (1, {"current": 2}), (0, {"current": 4}))["rate"] == 2.0


@pytest.mark.parametrize("field", ADDED)
def test_what_the_publisher_gave_stays(field: str) -> None:
    given_by_publisher = {"current": 4, "total": 10, field: 7}
    assert run((0, {"current": 0, "total": 10}), (2, given_by_publisher))[field] == 7


@pytest.mark.parametrize("field", ADDED)
def test_null_from_the_publisher_counts_as_not_given(field: str) -> None:
    assert run((0, {"current": 0, "total": 10}), (2, {"current": 4, "total": 10, field: None}))[field] is not None


def test_the_publishers_rate_serves_for_the_remaining_time() -> None:
    assert run((0, {"current": 0, "total": 10, "rate": 5}))["eta_s"] == 2.0


def test_a_negative_rate_of_the_publisher_stays_and_is_forgotten_after() -> None:
    assert run((0, {"current": 0, "rate": -3}))["rate"] == -3
    assert run((0, {"current": 0, "rate": -3}), (1, {"current": 1}))["rate"] == 1.0
    assert "rate" not in run((0, {"current": 0, "rate": -3}), (0, {"current": 1}))


def test_progress_that_goes_back_starts_anew() -> None:
    again = run((0, {"current": 0, "total": 9}), (5, {"current": 8, "total": 9}), (1, {"current": 1, "total": 9}))
    assert again["elapsed_s"] == 0.0
    assert not {"rate", "eta_s"} & again.keys()


def test_a_clock_that_was_set_back_starts_anew() -> None:
    again = run((0, {"current": 0}), (5, {"current": 8}), (-3600, {"current": 9}))
    assert again["elapsed_s"] == 0.0
    assert "rate" not in again


def test_other_fields_are_left_alone() -> None:
    assert run((0, {"current": 1, "unit": "files", "mine": [1]}))["mine"] == [1]


NUMBERS = st.floats(min_value=0, allow_nan=False, allow_infinity=False) | st.integers(min_value=0, max_value=10**300)
VALUES = st.fixed_dictionaries(
    {"current": NUMBERS},
    optional={
        "total": st.none() | NUMBERS,
        "percent": st.floats(0, 100),
        "rate": st.floats(allow_nan=False, allow_infinity=False),
        "elapsed_s": NUMBERS,
        "eta_s": st.none() | NUMBERS,
    },
)
SECONDS = st.floats(min_value=-1e9, max_value=1e9)


@given(st.lists(st.tuples(SECONDS, VALUES), min_size=1, max_size=8))
def test_what_is_added_is_finite_and_never_negative(steps: list[tuple[float, dict[str, Any]]]) -> None:
    before: dict[str, Any] | None = None
    for seconds, data in steps:
        before = with_estimates(data, before, seconds)
        for name in ADDED:
            if data.get(name) is None and name in before and before[name] is not None:
                assert math.isfinite(before[name]), name
                assert before[name] >= 0, name
            elif data.get(name) is not None:
                assert before[name] == data[name]
