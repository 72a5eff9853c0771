"""One room's stream, without I/O: what the router says in, items in order out.

Holds what was received and not taken yet, checked by the chain and bounded, and what is known of the room: its state,
its positions, how it ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from ._chain import Attachment, Chain, Verdict
from ._events import Event
from ._positions import Gap, Position, Recovery, Skipped

__all__ = ["Item", "Stream", "Wish"]

Item = Event | Skipped | Gap

_HARD_LIMIT = 4
"""How many times its bound a stream may hold while something waits that is behind it on the socket."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for when the room was subscribed; asked for again while no position is known."""

    after: Position | None = None
    history: int | None = None
    kinds: tuple[str, ...] | None = None
    state: bool = True


class Stream:
    """The stream of one room.

    Attributes:
        room: Whose stream.
        wish: What was asked for.
        chain: The position as received; resume from here.
        taken: Position of the last item that was taken; None before the first attachment.
        attached: Whether what comes belongs to the stream. Between a break and the next attachment it does not.
        awaited: Whether an iterator waits for it right now.
        claimed: Whether an application reads it. If not, the newest items are kept and older ones go.
        recovery: How the router last attached it.
        state: The room's state then; None: not asked for.
        state_position: The room's top then.
        ended: Whether nothing more can come.
        error: Why it ended; None: because the application wanted it.
        on_change: Called when there is something to take, or when it ended.
    """

    def __init__(self, room: str, wish: Wish, limit: int, *, claimed: bool = True) -> None:
        self.room = room
        self.wish = wish
        self.chain = Chain(room)
        self.taken: Position | None = None
        self.attached = False
        self.awaited = False
        self.claimed = claimed
        self.recovery: Recovery = "fresh"
        self.state: dict[str, object] | None = None
        self.state_position: Position | None = None
        self.ended = False
        self.error: Exception | None = None
        self.on_change: Callable[[], object] = bool
        self._limit = limit
        self._items: deque[Item] = deque()
        self._healed_at: Position | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether it holds as much as it should, so that the client should stop reading."""
        return self.claimed and not self.ended and len(self._items) >= self._limit

    @property
    def overfull(self) -> bool:
        """Whether it holds as much as it may."""
        return self.full and len(self._items) >= self._limit * _HARD_LIMIT

    @property
    def drained(self) -> bool:
        """Whether at least half of it is free."""
        return len(self._items) * 2 <= self._limit

    @property
    def resumable(self) -> Position | None:
        """The position that `hello` can resume: of a room without a filter, for it carries no kinds."""
        return self.chain.position if self.wish.kinds is None else None

    def attach(self, answer: Attachment, state: dict[str, object] | None, after: Position | None) -> None:
        """Go on with what follows the router's answer; what is missing since `after` becomes an item."""
        gap = self.chain.attach(answer, after)
        self.attached = True
        self.recovery = answer.recovery
        self.state = state
        self.state_position = Position(answer.epoch, answer.offset)
        if not self._items:
            self.taken = gap.last if gap else self.chain.position or Position(answer.epoch, 0)
        if gap is not None:
            self._add(gap)

    def receive(self, event: Event) -> bool:
        """Take an event in; return False where the chain is broken and must be healed from its position.

        A chain that is broken again right after it was healed is not healed twice: the gap becomes an item.
        """
        if not self.attached:
            return True
        verdict = self.chain.event(event.offset, event.prev)
        if verdict is Verdict.NEXT:
            self._add(event)
        elif verdict is Verdict.BROKEN:
            if self._healed_at != self.chain.position:
                self._healed_at = self.chain.position
                self.attached = False
                return False
            self._add(self.chain.accept_break(event.offset, event.prev))
            self._add(event)
        return True

    def skip(self, marker: Skipped) -> None:
        """Take a marker in."""
        if self.attached and self.chain.skip(marker.last):
            self._add(marker)

    def take(self) -> Item | None:
        """Return the next item, or None where there is none."""
        if not self._items:
            return None
        item = self._items.popleft()
        if isinstance(item, Gap):
            self.taken = item.next
        elif self.taken is not None:
            self.taken = Position(self.taken.epoch, item.offset if isinstance(item, Event) else item.last)
        return item

    def end(self, error: Exception | None, *, drop: bool = False) -> None:
        """End it, with an error or without, after what waits was taken or at once. The first end counts."""
        if self.ended:
            return
        self.ended = True
        self.error = error
        self.attached = False
        if drop:
            self._items.clear()
        self.on_change()

    def _add(self, item: Item) -> None:
        if not self.claimed and len(self._items) >= self._limit:
            self.take()
        self._items.append(item)
        self.on_change()
