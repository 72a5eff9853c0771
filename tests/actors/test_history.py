"""History: the events that a room holds, its bounds, and the pages that those who come back get."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.batch import Batch
from actors.events import Event
from actors.history import History

from .making import TIME_MS, an_event, events


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
