"""Events on their way to the router, without I/O: messages in, batches out, outcomes in.

The only place where the application's threads meet the sender's. Keeps the order of every room: an event that must be
sent again goes back to its place, and holds back later ones of its room.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, InvalidStateError

import msgspec

from ._errors import BufferFull, ClientClosed, PostroomError
from ._events import Receipt
from ._messages import Message

__all__ = ["Batch", "Entry", "Outgoing"]

MAX_BATCH_EVENTS = 1000
"""What one `POST /v1/publish` may hold."""

MAX_BATCH_BYTES = 512 * 1024
"""Size from which on a batch takes no further event."""


class Entry:
    """One event on its way.

    Attributes:
        message: What the application gave.
        room: Where to.
        event_id: The same for every attempt.
        body: The event as JSON.
        receipt: Who waits for the outcome; None: nobody (`tell`).
        attempts: How often the router refused it for now.
        failures: How often the router failed over it.
        alone: Whether it must be the only one of its batch.
        settled: Whether its outcome is known.
    """

    __slots__ = ("alone", "attempts", "body", "event_id", "failures", "message", "receipt", "room", "settled")

    def __init__(self, message: Message, receipt: Future[Receipt] | None) -> None:
        self.message = message
        self.room = message.room
        self.event_id = message.event_id or uuid.uuid4().hex
        self.body = msgspec.json.encode(message.event(self.event_id))
        self.receipt = receipt
        self.attempts = 0
        self.failures = 0
        self.alone = False
        self.settled = False

    def resolve(self, outcome: Receipt | PostroomError) -> bool:
        """Give the outcome to whoever waits for it; return whether somebody did."""
        if self.receipt is None:
            return False
        try:
            if isinstance(outcome, Receipt):
                self.receipt.set_result(outcome)
            else:
                self.receipt.set_exception(outcome)
        except InvalidStateError:
            return False
        return True


class _Hold(msgspec.Struct, frozen=True):
    """Until when nothing is sent to a room, and until when not even in a hurry."""

    until: float
    in_a_hurry: float


class Batch(msgspec.Struct, frozen=True):
    """What to do next: send these, or wait."""

    entries: list[Entry]
    wait_s: float | None
    """Where there are none: how long until one may be sent; None: until something is added."""

    @property
    def body(self) -> bytes:
        """The entries as one JSON array."""
        return b"[" + b",".join(entry.body for entry in self.entries) + b"]"


class Outgoing:
    """A bounded buffer of events. Every method may be called from any thread, and none blocks but `wait_until_sent`.

    Args:
        max_events: How many events it holds, those being sent included.
        max_bytes: How many bytes of JSON it holds.
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._some_settled = threading.Condition(self._lock)
        self._queue: deque[Entry] = deque()
        self._sending: list[Entry] = []
        self._held: dict[str, _Hold] = {}
        self._bytes = 0
        self._closed = False

    def __len__(self) -> int:
        with self._lock:
            return len(self._queue) + len(self._sending)

    def add(self, entry: Entry) -> None:
        """Take an event.

        Raises:
            BufferFull: It holds as much as it may.
            ClientClosed: It was closed.
        """
        with self._lock:
            if self._closed:
                raise ClientClosed
            events = len(self._queue) + len(self._sending)
            size_bytes = self._bytes + len(entry.body)
            if events >= self._max_events or (events and size_bytes > self._max_bytes):
                raise BufferFull(events, self._bytes)
            self._bytes = size_bytes
            self._queue.append(entry)

    def next_batch(self, now: float) -> Batch:
        """Return the next events to send, in order, without those of rooms that are held back.

        They stay part of the buffer until `settle` or `put_back`. Events whose asker gave up before they were sent are
        let go.
        """
        with self._lock:
            self._held = {room: hold for room, hold in self._held.items() if hold.until > now}
            passed: list[Entry] = []
            size_bytes = 0
            while self._queue and len(self._sending) < MAX_BATCH_EVENTS:
                entry = self._queue[0]
                if entry.receipt is not None and entry.receipt.cancelled():
                    self._settle(self._queue.popleft())
                    continue
                if entry.room in self._held:
                    passed.append(self._queue.popleft())
                    continue
                size_bytes += len(entry.body)
                if self._sending and (entry.alone or size_bytes > MAX_BATCH_BYTES):
                    break
                self._sending.append(self._queue.popleft())
                if entry.alone:
                    break
            self._queue.extendleft(reversed(passed))
            wait_s = None
            if passed and not self._sending:
                wait_s = min(self._held[entry.room].until for entry in passed) - now
            return Batch(list(self._sending), wait_s)

    def settle(self, entry: Entry) -> None:
        """Let go of an event whose outcome is known."""
        with self._lock:
            self._sending.remove(entry)
            self._settle(entry)

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Put events that were to be sent back to the front, in their order."""
        with self._lock:
            again = list(entries)
            sent = set(map(id, again))
            self._sending = [entry for entry in self._sending if id(entry) not in sent]
            self._queue.extendleft(reversed(again))

    def hold(self, room: str, until: float, in_a_hurry: float) -> None:
        """Send nothing to a room before a time; after `hurry`, before the other one."""
        with self._lock:
            before = self._held.get(room, _Hold(until, in_a_hurry))
            self._held[room] = _Hold(max(until, before.until), max(in_a_hurry, before.in_a_hurry))

    def hurry(self) -> None:
        """Hold rooms that are held no longer than in a hurry."""
        with self._lock:
            self._held = {room: _Hold(hold.in_a_hurry, hold.in_a_hurry) for room, hold in self._held.items()}

    def close(self) -> None:
        """Take nothing more."""
        with self._lock:
            self._closed = True

    def leftovers(self) -> list[Entry]:
        """Take out everything that waits, in order."""
        with self._lock:
            entries = [*self._sending, *self._queue]
            self._sending.clear()
            self._queue.clear()
            for entry in entries:
                self._settle(entry)
            return entries

    def wait_until_sent(self, timeout_s: float | None) -> bool:
        """Block until everything that was added before is settled; return whether it is.

        Args:
            timeout_s: How long at most, in seconds. None: as long as it takes.
        """
        with self._lock:
            before = [*self._sending, *self._queue]

            def all_settled() -> bool:
                while before and before[-1].settled:
                    before.pop()
                return not before

            return self._some_settled.wait_for(all_settled, timeout_s)

    def _settle(self, entry: Entry) -> None:
        entry.settled = True
        self._bytes -= len(entry.body)
        self._some_settled.notify_all()
