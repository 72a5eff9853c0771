"""History: the events that a room still holds, and the pages that those who come back get of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from .batch import Batch
from .events import Event

__all__ = ["History", "first_within"]

_PAGE_EVENTS = 256
_PAGE_BYTES = 128 * 1024
_PAGES_KEPT = 16


class History:
    """The last events of one room, without a hole up to the top.

    Args:
        room: The room's name, for the batches.
        events: The events to begin with, oldest first.
        most: How many events it holds at most.
        age_s: How old an event may become, in seconds.
    """

    def __init__(self, room: str, events: Iterable[Event], *, most: int, age_s: float) -> None:
        self._room = room
        self._events = list(events)
        self._first = 0
        self._most = most
        self._age_ms = age_s * 1000
        # Whoever comes back after one drop asks for the same page: made and encoded once, until the next event.
        self._pages: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self._events) - self._first

    def first_prev(self, top: int) -> int:
        """Return the offset before the oldest event that is held; `top` where none is."""
        return self._events[self._first].prev if len(self) else top

    def add(self, event: Event) -> None:
        """Take the next event in."""
        self._events.append(event)
        if self._pages:
            self._pages.clear()

    def overdue(self, now_ms: float) -> int:
        """Return how many of the oldest events are past the bound in number or age."""
        count = max(0, len(self) - self._most)
        while count < len(self) and self._events[self._first + count].draft.time_ms < now_ms - self._age_ms:
            count += 1
        return count

    def drop(self, count: int) -> None:
        """Forget the `count` oldest events."""
        if not count:
            return
        self._pages.clear()
        self._first += count
        if self._first * 2 >= len(self._events):
            del self._events[: self._first]
            self._first = 0

    def page(self, after: int) -> tuple[Batch | None, bool]:
        """Return the first events after an offset, within a bound in number and bytes, and whether more follow."""
        start = self._index(after)
        if start == len(self._events):
            return None, False
        page = self._pages.get(after)
        if page is None:
            size, end = 0, start
            while end < len(self._events) and end - start < _PAGE_EVENTS and (size < _PAGE_BYTES or end == start):
                size += len(memoryview(self._events[end].draft.data))
                end += 1
            if len(self._pages) >= _PAGES_KEPT:  # else one client could have a page kept from every offset
                self._pages.clear()
            page = self._pages[after] = Batch(self._room, self._events[start:end])
        return page, page.top < self._events[-1].offset

    def after(self, offset: int, limit: int) -> list[Event]:
        """Return the first `limit` events after `offset`."""
        start = self._index(offset)
        return self._events[start : start + limit]

    def before(self, offset: int | None, limit: int) -> list[Event]:
        """Return the last `limit` events before `offset`, oldest first; None: the last ones of all."""
        end = len(self._events) if offset is None else self._index(offset - 1)
        return self._events[max(self._first, end - limit) : end]

    def count_after(self, offset: int, kinds: frozenset[str] | None) -> int:
        """Return how many events of these kinds (None: of any) come after an offset."""
        start = self._index(offset)
        if kinds is None:
            return len(self._events) - start
        return sum(event.draft.kind in kinds for event in self._events[start:])

    def _index(self, offset: int) -> int:
        return bisect_right(self._events, offset, lo=self._first, key=_offset)


def first_within(most_bytes: int, events: Iterable[Event]) -> list[Event]:
    """Return the first events whose data fits into `most_bytes` together; one at least, where there is one."""
    fitting: list[Event] = []
    size = 0
    for event in events:
        size += len(memoryview(event.draft.data))
        if size > most_bytes and fitting:
            break
        fitting.append(event)
    return fitting


def _offset(event: Event) -> int:
    return event.offset
