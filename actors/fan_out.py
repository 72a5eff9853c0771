"""Fan-out: one room's live batches in; to each subscriber by its line where that is open, else into its mailbox."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from pykka._envelope import Envelope

from .batch import Batch
from .codec import Codec
from .messages import LineFailed
from .meters import Meters
from .subscription import Subscription
from .tracing import Tracing

__all__ = ["FanOut"]

_SLICE = 512
"""Subscribers that are served before the loop does I/O: the kernel takes some microseconds for each of them."""
_SLICE_BYTES = 2 * 1024 * 1024
"""Bytes for all of them together, about."""


class FanOut:
    """What is on its way to a room's subscribers, a slice at a time, so that a large room does not hold the loop.

    Args:
        tracing: Is told when events that belong to a trace are out.
        meters: Is told what was written, once for each slice.
    """

    __slots__ = ("_batches", "_began", "_mailed", "_meters", "_next", "_size", "_subscriptions", "_tracing")

    def __init__(self, tracing: Tracing, meters: Meters) -> None:
        self._tracing = tracing
        self._meters = meters
        self._batches: deque[Batch] = deque()
        """The first one is under way."""
        self._subscriptions: list[Subscription] = []
        """Who gets it."""
        self._size = 0
        """About how many bytes each of them gets."""
        self._next = 0
        """The first of them who has not got it."""
        self._mailed = 0
        """How many of the others have it in their mailbox."""
        self._began = 0.0

    def add(self, batch: Batch) -> None:
        """Put a batch behind those that are under way."""
        self._batches.append(batch)

    def go_on(self, live: Iterable[Subscription]) -> bool:
        """Serve a slice; return whether there is more.

        Args:
            live: Who gets batches that are begun now.
        """
        left, bytes_left = _SLICE, _SLICE_BYTES
        while self._batches and left > 0 and bytes_left > 0:
            batch = self._batches[0]
            if not self._next:
                self._subscriptions, self._size, self._mailed = list(live), batch.size, 0
                if batch.traced:
                    self._began = self._tracing.now()
            served = self._subscriptions[self._next : self._next + min(left, 1 + bytes_left // self._size)]
            mailed = _send(batch, served)
            self._mailed += mailed
            if mailed < len(served):
                written = (len(served) - mailed) * len(batch)
                self._meters.delivered(written, written if batch.at else 0, batch.at)
            self._next += len(served)
            left -= len(served)
            bytes_left -= len(served) * self._size
            if self._next >= len(self._subscriptions):
                self._batches.popleft()
                if batch.traced:
                    by_line = len(self._subscriptions) - self._mailed
                    self._tracing.sent(batch, self._began, by_line=by_line, by_mail=self._mailed)
                self._subscriptions, self._next = [], 0
        return bool(self._batches)


def _send(batch: Batch, subscriptions: Iterable[Subscription]) -> int:
    """Give a batch to each of them; return how many did not get it by their line.

    The loop's body is most of what a delivery costs outside the kernel, so it touches as little as it can: what was
    last touched some milliseconds ago is not in the processor's cache.
    """
    envelope = Envelope(batch)  # one for all: nobody answers it
    prev, top = batch.prev, batch.top
    codec: Codec | None = None
    frames, size, mailed = b"", 0, 0
    for subscription in subscriptions:
        line = subscription.line
        if line is not None and line.open and subscription.cursor == prev and subscription.direct:
            try:
                if line.codec is not codec:
                    frames = batch.frames(line.codec)
                    codec, size = line.codec, len(frames)
                written = line.written + size
                if written < line.mark:
                    line.out.write(frames)
                    line.written = written
                    subscription.cursor = subscription.told = top
                    continue
            except BaseException as error:  # that connection's failure, not this room's
                subscription.mailbox.tell(LineFailed(error))
                mailed += 1
                continue
        subscription.mailbox.put_here(envelope)
        mailed += 1
    return mailed
