"""Receipts: which ids a room knows, and for how long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.receipts import Receipts
from actors.record import PastId

WINDOW_S = 600.0
NOW_MS = 1_700_000_000_000


def receipts(*ids: PastId, most: int = 100) -> Receipts:
    return Receipts(ids, window_s=WINDOW_S, most=most)


def test_an_id_is_found_with_its_offset_until_the_window_is_over() -> None:
    known = receipts()
    known.add("a", 7, NOW_MS)
    assert known.find("a", NOW_MS) == 7
    assert known.find("a", NOW_MS + 600_000) == 7
    assert known.find("a", NOW_MS + 600_001) is None


def test_an_id_that_was_never_used_is_not_found() -> None:
    assert receipts().find("a", NOW_MS) is None


def test_ids_that_a_log_kept_are_known_again() -> None:
    known = receipts(PastId("a", 3, NOW_MS), PastId("b", 4, NOW_MS + 1))
    assert (known.find("a", NOW_MS), known.find("b", NOW_MS)) == (3, 4)


def test_the_id_of_an_event_that_was_kept_is_forgotten_in_time_too() -> None:
    """An alert that nobody acknowledged is older than trimmed events, and comes after them from the log."""
    known = receipts(PastId("trimmed", 2, NOW_MS + 500_000), PastId("kept", 1, NOW_MS))
    assert known.find("kept", NOW_MS + 600_001) is None
    assert known.find("trimmed", NOW_MS + 600_001) == 2


def test_an_id_that_was_taken_again_after_its_window_counts_from_then_on() -> None:
    known = receipts()
    known.add("a", 1, NOW_MS)
    known.add("a", 9, NOW_MS + 700_000)
    assert known.find("a", NOW_MS + 700_000) == 9
    assert known.find("a", NOW_MS + 1_300_000) == 9


def test_past_its_bound_the_oldest_is_forgotten_early() -> None:
    known = receipts(most=3)
    for number in range(5):
        known.add(f"e{number}", number + 1, NOW_MS)
    assert len(known) == 3
    assert [known.find(f"e{number}", NOW_MS) for number in range(5)] == [None, None, 3, 4, 5]


def test_the_log_is_to_keep_every_id_that_is_known() -> None:
    """Also where the clock was set back meanwhile: then the first is not the oldest."""
    known = receipts()
    known.add("e1", 1, NOW_MS + 130_000)
    known.add("e2", 2, NOW_MS)
    assert known.since_ms(NOW_MS) <= NOW_MS
    assert known.since_ms(NOW_MS + WINDOW_S * 1000) == NOW_MS


def test_the_log_is_to_keep_no_more_ids_than_are_known_in_a_flood() -> None:
    known = Receipts([], window_s=WINDOW_S, most=2)
    for second in range(3):
        known.add(f"e{second}", second + 1, NOW_MS + second * 1000)
    assert known.since_ms(NOW_MS + 3000) == NOW_MS + 1000


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 400_000)), max_size=30))
def test_an_id_is_a_retry_exactly_when_it_was_taken_within_the_window(steps: list[tuple[int, int]]) -> None:
    """However ids and pauses follow each other."""
    known = receipts()
    taken: dict[str, tuple[int, int]] = {}
    now_ms = NOW_MS
    for offset, (number, pause_ms) in enumerate(steps, 1):
        now_ms += pause_ms
        before = taken.get(f"e{number}")
        expected = before[0] if before is not None and now_ms - before[1] <= WINDOW_S * 1000 else None
        assert known.find(f"e{number}", now_ms) == expected
        if expected is None:
            known.add(f"e{number}", offset, now_ms)
            taken[f"e{number}"] = offset, now_ms
