"""One room as the application sees it: an async iterator over the room's stream."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable

from ._errors import GapError
from ._events import Event
from ._positions import Gap, OnGap, OnSkipped, Position, Recovery, Skipped
from ._rooms import Rooms
from ._stream import Stream

__all__ = ["Subscription"]


class Subscription:
    """One room's events, each once and in order: `async for event in subscription`.

    Made by `Client.subscribe` and `Client.joined`. It outlives connections: after a break the client resumes it from
    its last position, and the iterator goes on as if nothing had been.

    Use it on the client's loop, with one iterator at a time. What is not iterated waits in a bounded buffer; when that
    is full, the client stops reading its socket, for all of its rooms, until something is taken. Only while something
    waits that is behind it on the socket (a command for its answer, another room's iterator for an event) the client
    reads on; a room whose buffer grows to four times its bound is then left, and subscribed again from its position
    when half of the buffer is free. Memory is bounded in any case. What is left for longer than the room's history
    reaches back is a gap, so: iterate what you subscribe to, or unsubscribe.

    The iterator ends after `unsubscribe` and when the client is closed, and raises, after what was buffered:

    - `GapError` where events are gone for good (unless `on_gap` takes it); iterate again to go on after the gap,
    - `Revoked` when the router ended this subscription,
    - `ConnectionEnded` when the router ended the connection for good,
    - `CommandError` when the router refused to attach the room again after a break.
    """

    def __init__(
        self,
        stream: Stream,
        rooms: Rooms,
        leave: Callable[[Stream], Awaitable[None]],
        on_gap: OnGap,
        on_skipped: OnSkipped | None,
    ) -> None:
        self._stream = stream
        self._rooms = rooms
        self._leave = leave
        self._on_gap = on_gap
        self._on_skipped = on_skipped
        self._iterating = False
        self._changed = asyncio.Event()
        stream.on_change = self._changed.set

    def __repr__(self) -> str:
        return f"<Subscription {self.room} at {self.position.epoch}:{self.position.offset}>"

    @property
    def room(self) -> str:
        """Name of the room."""
        return self._stream.room

    @property
    def kinds(self) -> tuple[str, ...] | None:
        """The kinds of events that were asked for; None: all."""
        return self._stream.wish.kinds

    @property
    def position(self) -> Position:
        """Position of the last event that the iterator handed over, or of the attachment before the first one.

        Store it and give it as `after` to another subscription to go on from here. Its offset is 0 while the first
        event of a `history` that was asked for has not come.
        """
        return self._stream.taken or Position("", 0)

    @property
    def state(self) -> dict[str, object] | None:
        """The room's state at `state_position`, as the router gave it when it last attached the room.

        None: not asked for. Events up to `state_position` are in it already, later ones are not.
        """
        return self._stream.state

    @property
    def state_position(self) -> Position:
        """Where `state` was taken: the room's top when the router last attached it."""
        return self._stream.state_position or self.position

    @property
    def recovery(self) -> Recovery:
        """How the router last attached the room: `fresh`, `full`, `partial` or `none`."""
        return self._stream.recovery

    async def unsubscribe(self) -> None:
        """Leave the room; the iterator ends, and what was buffered is dropped. More than once does nothing.

        Raises:
            CommandTimeout: The router did not answer in time; nothing more comes in any case.
            ConnectionEnded: The router ended the connection for good.
        """
        if not self._stream.ended:
            self._stream.end(None, drop=True)
            await self._leave(self._stream)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        if self._iterating:
            raise RuntimeError(f"{self.room} is iterated twice at the same time; one iterator per subscription")
        self._iterating = True
        try:
            return await self._next()
        finally:
            self._iterating = False

    async def _next(self) -> Event:
        while True:
            item = self._stream.take()
            if item is None:
                if self._stream.error is not None:
                    raise copy.copy(self._stream.error)
                if self._stream.ended:
                    raise StopAsyncIteration
                await self._wait()
                continue
            self._rooms.taken(self._stream)
            match item:
                case Event():
                    return item
                case Skipped():
                    if self._on_skipped is not None:
                        self._on_skipped(item)
                case Gap():
                    if self._on_gap == "raise":
                        raise GapError(item)
                    self._on_gap(item)

    async def _wait(self) -> None:
        self._changed.clear()
        self._stream.awaited = True
        self._rooms.awaited()
        try:
            await self._changed.wait()
        finally:
            self._stream.awaited = False
