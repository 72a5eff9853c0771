"""Mailboxes and their dispatcher: messages in from any thread, one actor's turn at a time out, on the event loop.

An `ActorRef` names one life of an actor; a `Mailbox` names the actor across its lives. What was in the mailbox when an
actor failed waits there for its successor, so whoever holds the mailbox need not learn of the repair.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any, Literal, NamedTuple, Protocol

from pykka import ActorDeadError
from pykka._envelope import Envelope  # what ActorRef.tell() and ask() hand to an inbox

from .future import LoopFuture
from .histogram import Histogram
from .line import Line

__all__ = ["Dispatcher", "Exit", "Mailbox", "Target", "Tenant", "Turns"]


_PATIENCE = 4
"""In how many runs in a row whoever is not finished may be passed over for those who have mail."""
_TURN_S = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
_SHORT_S = _TURN_S[0]


class Target(Protocol):
    """Anything that can be told a message: a mailbox, an actor reference, a future that waits for one reply."""

    def tell(self, message: Any) -> None:
        """Take `message` without waiting."""


class Tenant(Protocol):
    """An actor, as far as its mailbox knows it."""

    @property
    def batch_size(self) -> int:
        """How many messages one turn takes at most."""

    def take_turn(self) -> bool:
        """Handle a batch of what is in the mailbox; return whether it is to go on after the loop has done I/O."""

    def stop(self) -> None:
        """Stop after what is in the mailbox."""


class Exit(NamedTuple):
    """How an actor's life ended."""

    actor_class: str
    cause: BaseException | None
    """What it raised; None after an orderly stop."""
    message: Any
    """The message that was being handled; None where it failed in `on_start` or `on_batch_end`."""
    depth: int
    """How many messages were left in the mailbox."""
    incident: str = ""
    """What the supervisor calls this failure; empty: it has not looked at it."""
    then: Literal["answer", "retry", "quarantine"] = "answer"
    """What the successor does with the message: answers whoever waits for it, handles it once more, or puts it away."""
    deaths: int = 1
    """How many lives in a row the message has ended."""


class Mailbox:
    """The inbox of one actor at a time.

    Policy: a mailbox has no bound of its own, because a bound here could only drop or deadlock. What feeds it is
    bounded instead: a connection stops reading its socket while many of its commands are under way; HTTP refuses.

    Args:
        dispatcher: Gives the actor its turns; None: that of the running event loop.
        name: For logs; the class of the actor is what pykka calls it.
    """

    __slots__ = (
        "_actor",
        "_closed",
        "_dispatcher",
        "_head",
        "_letters",
        "_scheduled",
        "last_exit",
        "line",
        "monitor",
        "name",
    )

    def __init__(self, dispatcher: Dispatcher | None = None, *, name: str = "") -> None:
        self._dispatcher = dispatcher or Dispatcher.current()
        # A list and the index of its first unread letter: an empty deque is 760 bytes, an empty list 56.
        self._letters: list[Envelope[Any]] = []
        self._head = 0
        self._scheduled = False
        self._closed = False
        self._actor: Tenant | None = None
        self.name = name
        self.monitor: Callable[[Exit], None] | None = None
        """Called on the loop when the actor's life ends; its holder keeps the mailbox alive over failures."""
        self.last_exit: Exit | None = None
        """The failure that the next actor in this mailbox repairs; None for the first one."""
        self.line: Line | None = None
        """What may pass by this mailbox while nothing is in it; shut when something is put in."""

    def __repr__(self) -> str:
        return f"<Mailbox {self.name or hex(id(self))} of {self._actor or 'nobody'}, {len(self)} waiting>"

    def __len__(self) -> int:
        return len(self._letters) - self._head

    @property
    def closed(self) -> bool:
        """Whether nobody will ever read this mailbox again."""
        return self._closed

    @property
    def occupied(self) -> bool:
        """Whether an actor lives here now."""
        return self._actor is not None

    @property
    def tenant_class(self) -> str | None:
        """The class of the actor that lives here now."""
        return type(self._actor).__name__ if self._actor is not None else None

    def tell(self, message: Any) -> None:
        """Put `message` in from any thread; dropped without a word when the mailbox is closed."""
        self.put(Envelope(message))

    def put(self, envelope: Envelope[Any], /) -> None:
        """Put an envelope in, from any thread. Never blocks. An `ask` of a closed mailbox gets `ActorDeadError`."""
        dispatcher = self._dispatcher
        if get_ident() == dispatcher.thread_id and not dispatcher.loop.is_closed():
            self.put_here(envelope)
        else:
            dispatcher.post(self, envelope)

    def put_here(self, envelope: Envelope[Any], /) -> None:
        """Put an envelope in on the loop's own thread: what `put()` does, without asking which thread it is on."""
        if self._closed:
            _reject(envelope, self)
            return
        self._letters.append(envelope)
        if self.line is not None:
            self.line.open = False
        if not self._scheduled and self._actor is not None:
            self._scheduled = True
            self._dispatcher.schedule(self)

    def ask(self, message: Any) -> LoopFuture[Any]:
        """Put `message` in from any thread; `await` the future on the loop, or `get(timeout=...)` it elsewhere."""
        future: LoopFuture[Any] = LoopFuture()
        self.put(Envelope(message, reply_to=future))
        return future

    def stop(self) -> None:
        """Ask the actor that lives here, if any, to stop after what is in the mailbox."""
        if self._actor is not None:
            with contextlib.suppress(ActorDeadError):  # it is stopping already
                self._actor.stop()

    def get(self) -> Envelope[Any]:
        """Take the first envelope (pykka's inbox interface; used when an actor has stopped)."""
        return self.take(1)[0]

    def empty(self) -> bool:
        """Tell whether nothing waits (pykka's inbox interface)."""
        return not len(self)

    def take(self, most: int) -> list[Envelope[Any]]:
        """Take up to `most` envelopes, first in first out."""
        letters, head = self._letters, self._head
        if len(letters) - head <= most:
            self._letters, self._head = [], 0
            return letters[head:] if head else letters
        self._head = head + most
        taken = letters[head : self._head]
        if self._head * 2 > len(letters):
            del letters[: self._head]
            self._head = 0
        return taken

    def put_back(self, envelopes: list[Envelope[Any]]) -> None:
        """Return envelopes that were taken and not handled to the front."""
        self._letters[: self._head] = envelopes
        self._head = 0

    def occupy(self, actor: Tenant) -> None:
        """Let `actor` live here; it gets its first turn, in which it runs `on_start`, as soon as the dispatcher can."""
        if self._closed or self._actor is not None:
            raise RuntimeError(f"{self!r} cannot take {actor}: it is closed or taken")
        self._actor = actor
        if get_ident() == self._dispatcher.thread_id and not self._dispatcher.loop.is_closed():
            self._wake()
        else:
            self._dispatcher.call(self._wake)

    def vacate(self) -> None:
        """Let the actor go; the messages stay for its successor."""
        self._actor = None
        if self.line is not None:
            self.line.open = False

    def close(self) -> None:
        """Let the actor go for good: who asked gets `ActorDeadError`, what was told is dropped."""
        self._closed = True
        self.vacate()
        # Whoever holds the mailbox a little longer does not hold what stood behind it.
        self.monitor = self.last_exit = self.line = None
        for envelope in self.take(len(self)):
            _reject(envelope, self)

    def _wake(self) -> None:
        if not self._scheduled and self._actor is not None:
            self._scheduled = True
            self._dispatcher.schedule(self)


def _reject(envelope: Envelope[Any], mailbox: Mailbox) -> None:
    if envelope.reply_to is not None:
        error = ActorDeadError(f"{mailbox!r} is closed: its actor stopped before handling the message")
        envelope.reply_to.set_exception((ActorDeadError, error, None))


class Turns:
    """What the turns of all actors of one class have cost."""

    __slots__ = ("handled", "took_s")

    def __init__(self) -> None:
        self.handled = 0
        """Messages that they took."""
        self.took_s = Histogram(_TURN_S)
        """One value for each turn."""


class Dispatcher:
    """Gives the actors of one event loop their turns, first come first served.

    It gives the loop back after a time slice, so that sockets and timers are never starved by mailboxes.

    Args:
        loop: The event loop to run on.
        slice_s: Seconds of turns before the loop gets to do I/O.
        monotonic: A clock that only grows, in seconds.
    """

    # Weak values: a dispatcher holds its loop, so weak keys would keep both for ever.
    _by_loop: weakref.WeakValueDictionary[asyncio.AbstractEventLoop, Dispatcher] = weakref.WeakValueDictionary()

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        slice_s: float = 0.010,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.loop = loop
        """The loop whose actors get their turns here."""
        self._slice_s = slice_s
        self._monotonic = monotonic
        self._ready: deque[Mailbox] = deque()
        self._passed_over = 0
        self._unfinished: deque[Mailbox] = deque()
        """Whose actors go on after I/O: one of them at a time, after everybody else, so that what is asked of others
        meanwhile waits for one slice of it and not for one at every step of its way."""
        self.turns: dict[type, Turns] = {}
        """What turns have cost, by the class of the actor."""
        self._woken = False
        self._outside: deque[Callable[[], None]] = deque()
        self._outside_woken = False
        self.thread_id: int | None = None
        """The loop's thread; None until the loop has run once, so that everybody goes the thread-safe way till then."""
        try:
            if asyncio.get_running_loop() is loop:
                self.thread_id = get_ident()
        except RuntimeError:
            loop.call_soon_threadsafe(self._bind)

    @classmethod
    def current(cls) -> Dispatcher:
        """Return the dispatcher of the running event loop, made on first use.

        Raises:
            RuntimeError: No event loop runs in this thread.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "a LoopActor starts on a running event loop; from another thread give it mailbox=Mailbox(dispatcher)"
            ) from None
        dispatcher = cls._by_loop.get(loop)
        if dispatcher is None:
            dispatcher = cls._by_loop[loop] = cls(loop)
        return dispatcher

    def schedule(self, mailbox: Mailbox) -> None:
        """Queue one turn for the actor in `mailbox`; on the loop's thread only."""
        self._ready.append(mailbox)
        if not self._woken:
            self._woken = True
            self.loop.call_soon(self._run)

    def post(self, mailbox: Mailbox, envelope: Envelope[Any]) -> None:
        """Put `envelope` into `mailbox` from outside the loop's thread, in the order of the calls.

        Raises:
            ActorDeadError: The loop is closed, and with it every actor on it.
        """
        try:
            self.call(lambda: mailbox.put_here(envelope))
        except RuntimeError:
            if envelope.reply_to is None:
                raise ActorDeadError(f"{mailbox!r}: its event loop is closed") from None
            _reject(envelope, mailbox)

    def call(self, function: Callable[[], None]) -> None:
        """Run `function` on the loop's thread, soon; many calls from outside share one wake-up.

        Raises:
            RuntimeError: The loop is closed.
        """
        if self.loop.is_closed():  # asked each time: only the first of many calls would hear it from the loop
            raise RuntimeError("the event loop is closed")
        self._outside.append(function)
        if not self._outside_woken:
            self._outside_woken = True
            self.loop.call_soon_threadsafe(self._drain_outside)

    def _bind(self) -> None:
        self.thread_id = threading.get_ident()

    def _drain_outside(self) -> None:
        # Cleared first: a call that comes in from now on wakes the loop again, so none is left behind.
        self._outside_woken = False
        # No more than came before: threads that never pause would hold the loop here for ever.
        for _ in range(len(self._outside)):
            self._outside.popleft()()

    def _run(self) -> None:
        ready = self._ready
        monotonic = self._monotonic
        now = monotonic()
        deadline = now + self._slice_s
        unfinished = len(self._unfinished)  # who is not finished in this run goes on in the next one, after I/O
        try:
            while ready:
                began, mailbox = now, ready.popleft()
                tenant, waiting = mailbox._actor, len(mailbox._letters) - mailbox._head
                self._give_turn(mailbox)
                now = monotonic()
                if tenant is not None:
                    self._count(mailbox, tenant, waiting, now - began)
                if now >= deadline:
                    break
            self._passed_over += 1
            if unfinished and (not ready or self._passed_over >= _PATIENCE):
                self._passed_over = 0
                mailbox = self._unfinished.popleft()
                tenant = mailbox._actor
                self._give_turn(mailbox)
                if tenant is not None:
                    self._count(mailbox, tenant, 0, monotonic() - now)
        finally:  # also when a monitor raises, or nobody would get a turn again
            if ready or self._unfinished:
                self.loop.call_soon(self._run)
            else:
                self._woken = False

    def _count(self, mailbox: Mailbox, tenant: Tenant, waiting: int, took_s: float) -> None:
        """Count a turn, for which so many messages waited when it began. This runs once for each turn: it is short."""
        turns = self.turns.get(tenant.__class__)
        if turns is None:
            turns = self.turns[tenant.__class__] = Turns()
        times = turns.took_s
        times.counts[0 if took_s <= _SHORT_S else bisect_left(_TURN_S, took_s)] += 1
        times.total += took_s
        if (
            mailbox._actor is not tenant
        ):  # it has ended, and what it left waits for another one, with what came in since
            waiting = max(0, waiting - len(mailbox))
        elif waiting > tenant.batch_size:
            waiting = tenant.batch_size
        turns.handled += waiting

    def _give_turn(self, mailbox: Mailbox) -> None:
        mailbox._scheduled = False
        tenant = mailbox._actor
        if tenant is None:
            return
        if tenant.take_turn():
            mailbox._scheduled = True
            self._unfinished.append(mailbox)
        elif mailbox._letters:
            mailbox._wake()
