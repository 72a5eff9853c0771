"""History: the events that a room still holds, and the pages that those who come back get of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence

from .batch import Batch
from .events import Event

__all__ = ["History", "first_within"]

_PAGE_EVENTS = 256
_PAGE_BYTES = 128 * 1024
_PAGES_KEPT = 16
_DROPPED_AT_ONCE = 256
"""So many dropped events are let go together: to move five thousand that stay costs about 2 us."""


class History:
    """The last events of one room: all after `gone`, and before it those that are kept as long as they matter.

    What is dropped is lost to a client that comes back from before it, unless it had given way to a newer value anyway:
    so a client is never too far behind a room in which there is nothing but progress.

    Args:
        room: The room's name, for the batches.
        events: The events to begin with, oldest first.
        gone: Up to this offset events were dropped before; 0: none.
        lost: Up to this offset events that matter were dropped before; 0: none.
        most: How many events after `gone` it holds at most.
        age_s: How old those may become, in seconds.
    """

    def __init__(self, room: str, events: Iterable[Event], *, gone: int, lost: int, most: int, age_s: float) -> None:
        self._room = room
        self.gone = gone
        """Up to this offset events may be missing; after it only ephemeral ones, which no history holds."""
        self.lost = lost
        """Up to this offset an event may be missing that had not given way to a newer one."""
        self._kept: list[Event] = []
        self._events: list[Event] = []
        self._first = 0
        self._most = most
        self._age_ms = age_s * 1000
        self._latest: dict[tuple[str, str | None], int] = {}
        """Kind and conflation key to the offset of the last value."""
        # Whoever comes back after one drop asks for the same page: made and encoded once.
        self._pages: dict[int, Batch] = {}
        self._replays: dict[tuple[int, int], tuple[Sequence[Event], Batch]] = {}
        for event in events:
            if event.offset <= gone:
                self._kept.append(event)
            else:
                self._events.append(event)
            self._remember_latest(event)

    def __len__(self) -> int:
        return len(self._events) - self._first

    @property
    def first_offset(self) -> int:
        """Offset of the oldest event that is held; 0: none is."""
        if self._kept:
            return self._kept[0].offset
        return self._events[self._first].offset if len(self) else 0

    @property
    def last_offset(self) -> int:
        """Offset of the newest event that is held; 0: none is."""
        if len(self):
            return self._events[-1].offset
        return self._kept[-1].offset if self._kept else 0

    def add(self, event: Event) -> None:
        """Take the next event in; an ephemeral one is not held."""
        if event.draft.delivery == "ephemeral":
            return
        self._events.append(event)
        self._remember_latest(event)
        if self._pages:
            self._pages.clear()

    def overdue(self, now_ms: float) -> int:
        """Return how many of the oldest events after `gone` are past the bound in number or age."""
        count = max(0, len(self) - self._most)
        while count < len(self) and self._events[self._first + count].draft.time_ms < now_ms - self._age_ms:
            count += 1
        return count

    def oldest(self, count: int) -> list[Event]:
        """Return the first `count` events after `gone`."""
        return self._events[self._first : self._first + count]

    def drop(self, count: int, unacknowledged: Collection[int]) -> list[int]:
        """Forget the `count` oldest events after `gone`, but for those that matter still.

        These are the alerts at the offsets in `unacknowledged`, and the last value of each conflation key.

        Returns:
            The offsets of all that are kept up to the new `gone`.
        """
        dropped = self.oldest(count)
        if not dropped:
            return [event.offset for event in self._kept]
        mattering = {*self._latest.values(), *unacknowledged}
        superseded = _superseded([*self._kept, *self._events[self._first :]])
        leaving = [event for event in (*self._kept, *dropped) if event.offset not in mattering]
        self._kept = [event for event in (*self._kept, *dropped) if event.offset in mattering]
        self.gone = dropped[-1].offset
        self.lost = max([self.lost, *(event.offset for event in leaving if event.offset not in superseded)])
        self._pages.clear()
        self._replays.clear()
        self._first += len(dropped)
        if self._first >= _DROPPED_AT_ONCE or self._first * 2 >= len(self._events):  # until then they take memory
            del self._events[: self._first]
            self._first = 0
        return [event.offset for event in self._kept]

    def page(self, after: int, conflate_to: int = 0) -> tuple[Batch | None, bool]:
        """Return the first events after an offset, within a bound in number and bytes, and whether more follow.

        Up to `conflate_to` a value gives way to a newer one of the same kind and key, unless a session event stands
        between them.
        """
        if after < conflate_to:
            _, page = self._replay(after, conflate_to)
            if page is not None:
                return page, page.top < self.last_offset
        page = self._pages.get(after)
        if page is None:
            events = _first_page(self.after(after, _PAGE_EVENTS))
            if not events:
                return None, False
            if len(self._pages) >= _PAGES_KEPT:  # else one client could have a page kept from every offset
                self._pages.clear()
            page = self._pages[after] = Batch(self._room, events, _gaps(events, after, self.lost))
        return page, page.top < self.last_offset

    def after(self, offset: int, limit: int | None = None) -> list[Event]:
        """Return the first `limit` events after `offset`; None: all of them."""
        start = self._index(offset)
        if offset < self.gone and self._kept:
            kept = self._kept[bisect_right(self._kept, offset, key=_offset) :]
            return [*kept, *self._events[start : None if limit is None else start + limit]][:limit]
        return self._events[start : None if limit is None else start + limit]

    def before(self, offset: int | None, limit: int) -> list[Event]:
        """Return the last `limit` events before `offset`, oldest first; None: the last ones of all."""
        end = len(self._events) if offset is None else self._index(offset - 1)
        events = self._events[max(self._first, end - limit) : end]
        if len(events) < limit and self._kept:
            kept = self._kept if offset is None else self._kept[: bisect_right(self._kept, offset - 1, key=_offset)]
            return [*kept[len(events) - limit :], *events]
        return events

    def count_after(self, offset: int, conflate_to: int, kinds: frozenset[str] | None) -> int:
        """Return how many events of these kinds (None: of any) the pages after an offset hold; `page` says how."""
        events: Iterable[Event]
        if offset < conflate_to:
            events = [*self._replay(offset, conflate_to)[0], *self.after(conflate_to)]
        else:
            events = self.after(offset)
        return sum(kinds is None or event.draft.kind in kinds for event in events)

    def _replay(self, after: int, conflate_to: int) -> tuple[Sequence[Event], Batch | None]:
        """Return the events from `after` to `conflate_to` that gave way to none, and the first page of them."""
        replay = self._replays.get((after, conflate_to))
        if replay is not None:
            return replay
        old = [event for event in self.after(after) if event.offset <= conflate_to]
        superseded = _superseded(old)
        events = [event for event in old if event.offset not in superseded]
        first = _first_page(events)
        if not first:
            return (), None
        if len(self._replays) >= _PAGES_KEPT:
            self._replays.clear()
        page = Batch(self._room, first, _gaps(first, after, self.lost))
        self._replays[after, conflate_to] = events, page
        return events, page

    def _remember_latest(self, event: Event) -> None:
        if event.draft.delivery == "latest":
            key = event.draft.kind, event.draft.key
            self._latest.pop(key, None)
            self._latest[key] = event.offset
            if len(self._latest) > self._most:  # whoever makes up keys has the value that is the oldest forgotten
                del self._latest[next(iter(self._latest))]

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


def _first_page(events: Sequence[Event]) -> list[Event]:
    return first_within(_PAGE_BYTES, events[:_PAGE_EVENTS])


def _superseded(events: Sequence[Event]) -> set[int]:
    """Return the offsets of those that gave way to a newer one: no session event stands between the two."""
    superseded: set[int] = set()
    newer: set[tuple[str, str | None]] = set()
    for event in reversed(events):
        draft = event.draft
        if draft.kind == "session":
            newer.clear()
        elif draft.delivery == "latest":
            key = draft.kind, draft.key
            if key in newer:
                superseded.add(event.offset)
            newer.add(key)
    return superseded


def _gaps(events: Sequence[Event], after: int, lost: int) -> Mapping[int, str]:
    """Say, by the offset of each event that does not follow the one before it here, why.

    After `lost` what is missing gave way to something newer, or was ephemeral and not for who comes late.
    """
    gaps: dict[int, str] = {}
    position = after
    for event in events:
        if event.prev > position:
            gaps[event.offset] = "expired" if position < lost else "conflated"
        position = event.offset
    return gaps


def _offset(event: Event) -> int:
    return event.offset
