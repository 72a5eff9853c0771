"""Restarts of a process: at once, then with waits that grow, and not for ever."""

from __future__ import annotations

from server.workers.restarts import INTENSITY, WELL_S, Restarts


def test_a_process_that_ends_in_a_row_is_given_up() -> None:
    """However long each start took: only the time counts that it could be used."""
    restarts = Restarts()
    waits = [restarts.wait_s(0.0) for _ in range(INTENSITY)]
    assert waits[0] == 0.0
    assert all(wait is not None for wait in waits)
    assert restarts.wait_s(WELL_S / 2) is None


def test_a_process_that_has_run_for_a_while_begins_anew() -> None:
    """An end every few seconds is no reason to give up."""
    restarts = Restarts()
    assert [restarts.wait_s(WELL_S) for _ in range(5 * INTENSITY)] == [0.0] * (5 * INTENSITY)
