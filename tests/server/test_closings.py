"""Closings: few connections that end are told one by one, many as one line, and none is lost."""

from __future__ import annotations

from typing import Any

import pytest

from server.closings import LONGEST_S, MOST_SINGLE, WINDOW_S, Closing, Closings

from ..actors.fake_clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def closings(clock: FakeClock) -> Closings:
    return Closings(clock)


def end(closings: Closings, count: int, *, code: int = 1006, stalled: bool | None = None) -> None:
    for number in range(count):
        closings.add(Closing(f"c-{number}", "ann", code, "client", stalled, None, code != 1006))


def pass_time(clock: FakeClock, seconds: float) -> None:
    until = clock.monotonic() + seconds
    while clock.fire_next(until):
        pass


def lines(logged: list[dict[str, Any]], event: str, level: str) -> list[dict[str, Any]]:
    return [line for line in logged if line["event"] == event and line["log_level"] == level]


def test_few_have_an_info_line_each_by_the_end_of_the_window(
    closings: Closings, clock: FakeClock, logged: list[dict[str, Any]]
) -> None:
    """All fields of each, in their order; and no summary."""
    end(closings, MOST_SINGLE)
    assert logged == []
    pass_time(clock, WINDOW_S)
    assert [line["connection"] for line in lines(logged, "connection_closed", "info")] == [
        f"c-{number}" for number in range(MOST_SINGLE)
    ]
    assert logged[0] == {
        "event": "connection_closed",
        "log_level": "info",
        "connection": "c-0",
        "user": "ann",
        "code": 1006,
        "by": "client",
        "stalled": None,
        "flooded": None,
        "clean": False,
    }
    assert len(logged) == MOST_SINGLE


def test_few_at_a_time_are_few_however_long_it_goes_on(
    closings: Closings, clock: FakeClock, logged: list[dict[str, Any]]
) -> None:
    """Ordinary coming and going is told one by one."""
    for _ in range(10):
        end(closings, MOST_SINGLE)
        pass_time(clock, WINDOW_S)
    assert len(lines(logged, "connection_closed", "info")) == len(logged) == 10 * MOST_SINGLE


def test_many_have_a_debug_line_each_and_one_summary(
    closings: Closings, clock: FakeClock, logged: list[dict[str, Any]]
) -> None:
    """It counts them by code, and says how long it took."""
    end(closings, 30)
    pass_time(clock, 0.1)
    end(closings, 5, code=1001, stalled=True)
    pass_time(clock, 2 * WINDOW_S)
    assert len(lines(logged, "connection_closed", "debug")) == 35
    assert logged[35:] == [
        {
            "event": "connections_closed",
            "log_level": "info",
            "count": 35,
            "codes": {"1006": 30, "1001": 5},
            "stalled": 5,
            "over_s": 0.1,
        }
    ]


def test_the_summary_waits_while_many_go_on_to_end(
    closings: Closings, clock: FakeClock, logged: list[dict[str, Any]]
) -> None:
    """Two seconds of it are one line; what comes after a pause is told by itself."""
    for _ in range(8):
        end(closings, 50)
        pass_time(clock, WINDOW_S)
    assert lines(logged, "connections_closed", "info") == []
    pass_time(clock, WINDOW_S)
    (summary,) = lines(logged, "connections_closed", "info")
    assert (summary["count"], summary["over_s"]) == (400, 7 * WINDOW_S)
    end(closings, 1)
    pass_time(clock, WINDOW_S)
    assert len(lines(logged, "connection_closed", "info")) == 1
    assert clock.due == [], "nothing is left to do"


def test_a_summary_comes_every_ten_seconds(closings: Closings, clock: FakeClock, logged: list[dict[str, Any]]) -> None:
    """Where it does not stop, an operator does not wait for ever; every one is in one of the summaries."""
    windows = round(2.5 * LONGEST_S / WINDOW_S)
    for _ in range(windows):
        end(closings, 30)
        pass_time(clock, WINDOW_S)
    pass_time(clock, 2 * WINDOW_S)
    summaries = lines(logged, "connections_closed", "info")
    assert len(summaries) == 3
    assert all(summary["over_s"] <= LONGEST_S for summary in summaries)
    assert sum(summary["count"] for summary in summaries) == windows * 30
    assert len(lines(logged, "connection_closed", "debug")) == windows * 30


@pytest.mark.parametrize("count", [3, 300])
def test_at_the_stop_nothing_is_lost(
    closings: Closings, clock: FakeClock, logged: list[dict[str, Any]], count: int
) -> None:
    """What waits for the end of its window is told at once, and once."""
    end(closings, count)
    closings.flush()
    told = sum(line.get("count", 1) for line in logged if line["log_level"] == "info")
    assert told == count
    closings.flush()
    pass_time(clock, 2 * WINDOW_S)
    assert sum(line.get("count", 1) for line in logged if line["log_level"] == "info") == count
    assert clock.due == []
