"""Pressure: how long events wait for their rooms in, how many may be under way out."""

from __future__ import annotations

from actors.pressure import Pressure


def test_what_may_be_under_way_shrinks_while_events_wait_long() -> None:
    """Each wait that is too long takes something off, down to a floor."""
    pressure, now = Pressure(), 1.0
    before = pressure.half
    for _ in range(100):
        pressure.waited(0.5, now)
        now += 0.6
    assert 0 < pressure.half < before


def test_what_was_let_in_before_the_limit_shrank_does_not_shrink_it_again() -> None:
    """Events that were under way by then say nothing of the new limit."""
    pressure = Pressure()
    pressure.waited(0.5, 1.0)
    shrunk = pressure.half
    pressure.waited(0.5, 1.1)
    assert pressure.half == shrunk


def test_the_limit_grows_only_while_somebody_is_held_back_by_it() -> None:
    """Short waits alone are no reason: nobody needs more then."""
    pressure = Pressure()
    before = pressure.half
    pressure.waited(0.0, 1.0)
    assert pressure.half == before
    pressure.felt = True
    pressure.waited(0.0, 2.0)
    assert pressure.half > before


def test_all_websockets_that_publish_share_one_half() -> None:
    """One alone may have all of it; who has nothing under way takes no part."""
    pressure = Pressure()
    pressure.enter()
    assert pressure.share == pressure.half
    pressure.enter()
    assert pressure.share == pressure.half // 2
    pressure.leave()
    assert pressure.share == pressure.half
