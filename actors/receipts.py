"""Receipts: the id that a publisher gave to an event in, the event's offset out, for as long as retries may come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .record import PastId

__all__ = ["Receipts"]

_MOST = 100_000


class Receipts:
    """The ids of one room's events.

    Args:
        ids: Those that are known.
        window_s: How long an id is remembered, in seconds.
        most: How many are remembered at most; past that the oldest is forgotten early, so that a flood costs a
            bounded amount of memory.
    """

    def __init__(self, ids: Iterable[PastId], *, window_s: float, most: int = _MOST) -> None:
        self._window_ms = window_s * 1000
        self._most = most
        self._offsets: dict[str, int] = {}
        self._by_age: deque[tuple[int, str, int]] = deque()
        for past in sorted(ids, key=lambda past: past.offset):  # a kept event is older than trimmed ones after it
            self.add(past.event_id, past.offset, past.time_ms)

    def __len__(self) -> int:
        return len(self._offsets)

    def add(self, event_id: str, offset: int, time_ms: int) -> None:
        """Remember an event; events come in their order."""
        self._offsets[event_id] = offset
        self._by_age.append((time_ms, event_id, offset))
        if len(self._by_age) > self._most:
            self._forget_oldest()

    def find(self, event_id: str, now_ms: float) -> int | None:
        """Return the offset of the event that was published under this id within the window; None: there is none."""
        self.forget(now_ms)
        return self._offsets.get(event_id)

    def forget(self, now_ms: float) -> None:
        """Forget what is older than the window."""
        since_ms = now_ms - self._window_ms
        while self._by_age and self._by_age[0][0] < since_ms:
            self._forget_oldest()

    def since_ms(self, now_ms: float) -> int:
        """Return from when on ids are remembered, as Unix time in milliseconds.

        The oldest one does not say: where the clock was set back, those after it are from before it.
        """
        self.forget(now_ms)
        return self._by_age[0][0] if len(self._by_age) >= self._most else int(now_ms - self._window_ms)

    def _forget_oldest(self) -> None:
        _, event_id, offset = self._by_age.popleft()
        if self._offsets.get(event_id) == offset:  # else the id was taken again since
            del self._offsets[event_id]
