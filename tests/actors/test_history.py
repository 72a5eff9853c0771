"""History: the events that a room holds, its bounds, and the pages that those who come back get."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.batch import Batch
from actors.events import Event
from actors.history import History

from .making import TIME_MS, an_event, events, progress


def a_history(held: list[Event], *, most: int = 1000, age_s: float = 600.0) -> History:
    return History("team:1", held, gone=0, lost=0, most=most, age_s=age_s)


def offsets(held: Batch | list[Event] | None) -> list[int]:
    return [event.offset for event in (held.events if isinstance(held, Batch) else held or [])]


def test_an_empty_history_holds_nothing() -> None:
    history = a_history([])
    assert (len(history), history.first_offset, history.last_offset, history.gone) == (0, 0, 0, 0)
    assert history.drop(0, ()) == []


def test_what_is_gone_follows_what_is_dropped() -> None:
    history = a_history(events(1, 6))
    assert history.drop(2, ()) == []
    assert (history.gone, history.first_offset, history.last_offset) == (2, 3, 6)
    history.drop(4, ())
    assert (history.gone, history.first_offset, history.last_offset) == (6, 0, 0)


def test_offsets_may_have_holes_between_events() -> None:
    """In a cluster offsets grow by more than one."""
    history = a_history([an_event(3, prev=0), an_event(10, prev=3), an_event(11, prev=10)])
    assert offsets(history.after(3, 9)) == [10, 11]
    assert offsets(history.after(5, 9)) == [10, 11]
    assert offsets(history.before(10, 9)) == [3]
    assert offsets(history.page(4)[0]) == [10, 11]


def test_after_gives_the_first_events_past_an_offset() -> None:
    assert offsets(a_history(events(1, 9)).after(3, 2)) == [4, 5]
    assert a_history(events(1, 9)).after(9, 2) == []
    assert offsets(a_history(events(5, 6)).after(0, 9)) == [5, 6]


def test_before_gives_the_last_events_ahead_of_an_offset_oldest_first() -> None:
    assert offsets(a_history(events(1, 9)).before(5, 2)) == [3, 4]
    assert offsets(a_history(events(1, 9)).before(None, 3)) == [7, 8, 9]
    assert a_history(events(1, 9)).before(1, 5) == []
    assert offsets(a_history(events(5, 6)).before(100, 9)) == [5, 6]


def test_dropped_events_are_not_found_again() -> None:
    history = a_history(events(1, 100))
    history.drop(10, ())
    assert offsets(history.before(13, 50)) == [11, 12]
    assert offsets(history.after(0, 1)) == [11]


def test_a_page_goes_on_after_the_offset() -> None:
    page, more = a_history(events(1, 5)).page(2)
    assert offsets(page) == [3, 4, 5]
    assert page is not None
    assert (page.prev, page.top, more) == (2, 5, False)


def test_at_the_top_there_is_no_page() -> None:
    assert a_history(events(1, 5)).page(5) == (None, False)
    assert a_history([]).page(0) == (None, False)


def test_a_page_has_256_events_at_most() -> None:
    page, more = a_history(events(1, 300)).page(0)
    assert page is not None
    assert (len(page), more) == (256, True)


def test_the_last_page_says_that_no_more_follow() -> None:
    page, more = a_history(events(1, 300)).page(256)
    assert page is not None
    assert (len(page), more) == (44, False)


def test_a_page_ends_when_its_bytes_are_enough() -> None:
    large = [an_event(offset, data={"x": "y" * 50_000}) for offset in range(1, 9)]
    page, more = a_history(large).page(0)
    assert page is not None
    assert (len(page), more) == (2, True)


def test_an_event_larger_than_a_page_is_a_page() -> None:
    history = a_history([an_event(1, data={"x": "y" * 200_000}), an_event(2)])
    page, more = history.page(0)
    assert (offsets(page), more) == ([1], True)


def test_pages_from_the_same_offset_are_the_same_until_something_changes() -> None:
    history = a_history(events(1, 5))
    page, _ = history.page(2)
    assert history.page(2)[0] is page
    history.add(an_event(6))
    assert offsets(history.page(2)[0]) == [3, 4, 5, 6]


def test_a_page_that_was_kept_does_not_bring_dropped_events_back() -> None:
    history = a_history(events(1, 5))
    history.page(0)
    history.drop(2, ())
    assert offsets(history.page(0)[0]) == [3, 4, 5]


def test_few_pages_are_kept_however_many_offsets_are_asked_for() -> None:
    """Each kept page holds its encoded frames: a client that asks from every offset must not fill the memory."""
    history = a_history(events(1, 200))
    for offset in range(200):
        history.page(offset)
    assert len(history._pages) <= 16


def test_events_past_the_number_are_overdue() -> None:
    assert a_history(events(1, 12), most=10).overdue(TIME_MS) == 2
    assert a_history(events(1, 10), most=10).overdue(TIME_MS) == 0


def test_events_past_the_age_are_overdue() -> None:
    aging = [an_event(n, time_ms=TIME_MS + n * 1000) for n in range(1, 6)]
    history = a_history(aging, age_s=10.0)
    assert history.overdue(TIME_MS + 13_000) == 2
    assert history.overdue(TIME_MS + 60_000) == 5


def test_the_bound_that_is_reached_first_counts() -> None:
    aging = [an_event(n, time_ms=TIME_MS + n * 1000) for n in range(1, 6)]
    assert a_history(aging, most=2, age_s=10.0).overdue(TIME_MS) == 3
    assert a_history(aging, most=4, age_s=10.0).overdue(TIME_MS + 13_000) == 2


def test_a_younger_event_keeps_older_looking_ones_behind_it() -> None:
    """The wall clock was set back: what is overdue is counted from the old end only, so that no hole is made."""
    history = a_history([an_event(1, time_ms=TIME_MS + 90_000), an_event(2, time_ms=TIME_MS)], age_s=10.0)
    assert history.overdue(TIME_MS + 50_000) == 0


def test_events_are_counted_by_kind() -> None:
    history = a_history([an_event(1, "alert"), an_event(2), an_event(3, "alert")])
    assert history.count_after(0, 0, None) == 3
    assert history.count_after(1, 0, frozenset({"alert"})) == 1
    assert history.count_after(0, 0, frozenset({"session"})) == 0
    assert history.count_after(3, 0, None) == 0


# --- what outlives the bound


def test_the_last_value_of_each_key_is_kept_when_it_is_old() -> None:
    history = a_history([progress(1, "a"), progress(2, "b"), progress(3, "a"), *events(4, 6)])
    assert history.drop(5, ()) == [2, 3]
    assert offsets(history.after(0)) == [2, 3, 6]
    assert offsets(history.before(None, 2)) == [3, 6]
    assert offsets(history.before(3, 9)) == [2]
    assert (history.first_offset, history.gone) == (2, 5)


def test_a_kept_value_goes_when_a_newer_one_is_dropped() -> None:
    history = a_history([progress(1), an_event(2)])
    assert history.drop(2, ()) == [1]
    history.add(progress(3))
    assert history.drop(1, ()) == [3]


def test_alerts_that_nobody_acknowledged_are_kept_until_somebody_does() -> None:
    history = a_history([an_event(1, "alert"), *events(2, 9)])
    assert history.drop(4, [1]) == [1]
    assert history.drop(4, [1]) == [1]
    assert offsets(history.after(0, 300)) == [1, 9]
    assert history.drop(1, []) == []
    assert history.first_offset == 0


def test_who_makes_up_keys_has_the_value_that_is_the_oldest_forgotten() -> None:
    history = a_history([progress(offset, f"k{offset}") for offset in range(1, 31)], most=10)
    assert history.drop(30, ()) == list(range(21, 31))


def test_a_history_that_comes_back_from_the_log_keeps_what_it_kept() -> None:
    kept = [an_event(1, "alert"), progress(3, "a")]
    history = History("team:1", [*kept, *events(8, 9)], gone=7, lost=7, most=1000, age_s=600.0)
    assert (len(history), history.first_offset, history.last_offset) == (2, 1, 9)
    assert history.drop(1, [1]) == [1, 3]


def test_what_is_lost_is_what_had_not_given_way_to_a_newer_value() -> None:
    """A client that is behind by nothing but progress has everything that counts."""
    history = a_history([progress(offset) for offset in range(1, 10)])
    history.drop(8, ())
    assert (history.gone, history.lost) == (8, 0)
    history.add(an_event(10))
    history.drop(2, ())
    assert (history.gone, history.lost) == (10, 10)


# --- pages for those who come back


def replayed(history: History, after: int, to: int) -> tuple[list[int], dict[int, str]]:
    """Page through from an offset, without what gave way up to `to`; return the events, and the gaps by offset."""
    got: list[int] = []
    gaps: dict[int, str] = {}
    more = True
    while more:
        page, more = history.page(after, to)
        if page is None:
            break
        got += offsets(page)
        gaps.update(page.gaps)
        after = page.top
    return got, gaps


def test_whoever_comes_back_gets_the_last_value_of_each_key() -> None:
    history = a_history([progress(1, "a"), progress(2, "b"), progress(3, "a"), an_event(4), progress(5, "a")])
    assert replayed(history, 0, 5) == ([2, 4, 5], {2: "conflated", 4: "conflated"})
    assert history.count_after(0, 5, None) == 3
    assert history.count_after(0, 5, frozenset({"progress"})) == 2


def test_in_a_replay_no_value_gives_way_past_a_session_event() -> None:
    history = a_history([progress(1), progress(2), an_event(3, "session"), progress(4), progress(5)])
    assert replayed(history, 0, 5)[0] == [2, 3, 5]


def test_values_that_are_to_be_kept_are_all_replayed() -> None:
    history = a_history([an_event(1, "progress", delivery="keep"), progress(2), progress(3)])
    assert replayed(history, 0, 3)[0] == [1, 3]


def test_what_came_after_the_position_was_asked_for_is_not_conflated() -> None:
    history = a_history([progress(1), progress(2), progress(3), progress(4)])
    assert replayed(history, 0, 2) == ([2, 3, 4], {2: "conflated"})
    assert history.count_after(0, 2, None) == 3


def test_without_a_position_nothing_is_conflated() -> None:
    history = a_history([progress(1), progress(2), progress(3)])
    assert replayed(history, 0, 0) == ([1, 2, 3], {})


def test_ten_thousand_values_behind_is_one_page() -> None:
    history = a_history([progress(offset, f"k{offset % 3}") for offset in range(1, 10_001)])
    page, more = history.page(0, 10_000)
    assert (offsets(page), more) == ([9_998, 9_999, 10_000], False)
    assert page is not None
    assert page.gaps == {9_998: "conflated"}
    assert history.count_after(0, 10_000, None) == 3


def test_a_replay_of_many_pages_is_the_same_however_the_room_goes_on() -> None:
    old = [an_event(n) if n % 3 else progress(n, f"k{n % 2}") for n in range(1, 1001)]
    history = a_history(old, most=5000)
    expected, _ = replayed(history, 0, 1000)
    got, after, more = [], 0, True
    while more:
        page, more = history.page(after, 1000)
        assert page is not None
        got += offsets(page)
        after = page.top
        history.add(progress(history.last_offset + 1, "k0"))
    assert got[: len(expected)] == expected
    assert got[len(expected) :] == list(range(1001, history.last_offset)), "what came meanwhile is not conflated"


def test_a_gap_over_what_was_lost_is_told_as_expired() -> None:
    """The greater loss is named, whatever gave way in the same gap."""
    history = a_history([progress(1), *events(2, 5), progress(6), an_event(7)])
    history.drop(5, ())
    assert history.lost == 5
    assert replayed(history, 0, 7) == ([6, 7], {6: "expired"})
    assert replayed(history, 5, 7) == ([6, 7], {})


def test_events_that_were_not_stored_leave_a_gap_with_a_reason() -> None:
    history = a_history([an_event(1)])
    history.add(an_event(2, delivery="ephemeral"))
    history.add(an_event(3))
    assert (len(history), history.last_offset) == (2, 3)
    for to in (0, 3):
        page, _ = history.page(1, to)
        assert offsets(page) == [3]
        assert page is not None
        assert page.gaps.keys() == {3}


def test_few_replays_are_kept_however_many_positions_come_back() -> None:
    history = a_history([progress(offset) for offset in range(1, 201)])
    for after in range(200):
        history.page(after, 200)
    assert len(history._replays) <= 16


def test_a_replay_from_the_same_position_is_made_once_until_something_is_dropped() -> None:
    history = a_history([progress(1), progress(2), progress(3)])
    page, _ = history.page(0, 3)
    history.add(an_event(4))
    again, more = history.page(0, 3)
    assert (again is page, more) == (True, True)
    history.drop(3, ())
    assert history.page(0, 3)[0] is not page


class HistoryModel(RuleBasedStateMachine):
    """The history against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.history = a_history([], most=50)
        self.model: list[Event] = []
        self.top = self.gone = 0

    @rule(step=st.integers(1, 3), count=st.integers(1, 40), size=st.sampled_from([0, 30_000]))
    def add(self, step: int, count: int, size: int) -> None:
        for _ in range(count):
            event = an_event(self.top + step, data={"x": "y" * size}, prev=self.top)
            self.history.add(event)
            self.model.append(event)
            self.top += step

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        self._drop(data.draw(st.integers(0, len(self.model))))

    @rule()
    def drop_what_is_overdue(self) -> None:
        overdue = self.history.overdue(TIME_MS)
        assert overdue == max(0, len(self.model) - 50)
        self._drop(overdue)

    def _drop(self, count: int) -> None:
        assert self.history.drop(count, ()) == []
        self.gone = self.model[count - 1].offset if count else self.gone
        del self.model[:count]

    @rule(offset=st.integers(0, 400), limit=st.integers(1, 60))
    def look(self, offset: int, limit: int) -> None:
        later = [event for event in self.model if event.offset > offset]
        earlier = [event for event in self.model if event.offset < offset]
        assert self.history.after(offset, limit) == later[:limit]
        assert self.history.before(offset, limit) == earlier[-limit:]
        assert self.history.before(None, limit) == self.model[-limit:]
        assert self.history.count_after(offset, 0, None) == len(later)

    @rule(offset=st.integers(0, 400))
    def page_through(self, offset: int) -> None:
        got: list[Event] = []
        position, more = offset, True
        while more:
            page, more = self.history.page(position)
            if page is not None:
                assert len(page) <= 256
                assert page.prev == page.events[0].prev
                got += page.events
                position = page.top
        assert got == [event for event in self.model if event.offset > offset]

    @invariant()
    def both_hold_the_same(self) -> None:
        assert len(self.history) == len(self.model)
        assert self.history.first_offset == (self.model[0].offset if self.model else 0)
        assert self.history.last_offset == (self.model[-1].offset if self.model else 0)
        assert self.history.gone == self.gone


TestHistoryModel: Any = HistoryModel.TestCase
TestHistoryModel.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
