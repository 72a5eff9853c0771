"""LoopActor: a pykka actor whose turns run on the asyncio event loop instead of in a thread of its own.

In: envelopes from its mailbox, a batch at a time. Out: replies, and at the end of each batch whatever `on_batch_end`
does with what the batch brought: one fan-out, one write.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import threading
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, Literal, TypeVar, overload

import pykka
from pykka import ActorDeadError, ActorRegistry
from pykka._envelope import Envelope

from .errors import RestartOrdered
from .future import LoopFuture, on_event_loop
from .mailbox import Exit, Mailbox
from .messages import Fail

__all__ = ["LoopActor", "LoopRef", "handles"]

A = TypeVar("A", bound="LoopActor")
H = TypeVar("H", bound=Callable[..., Any])
_Handler = Callable[[Any, Any], Any]

logger = logging.getLogger("pykka")

_PROCESS_URN = uuid.uuid4().urn
_birth_numbers = itertools.count(1)
_stop_lock = threading.Lock()


def handles(*message_types: type) -> Callable[[H], H]:
    """Mark a method as the handler of these message types.

    A type is matched exactly: a subclass of it is another message. What no handler takes goes to `on_receive`.
    """

    def mark(method: H) -> H:
        method.__handles__ = message_types  # type: ignore[attr-defined]  # a mark that __init_subclass__ collects
        return method

    return mark


class _StopFlag(threading.Event):
    """The event that tells that an actor has stopped; its lock is made only when a thread waits for it.

    `threading.Event` makes a condition and a lock for each actor: 1 KB that nobody waits for in 9,999 of 10,000.
    """

    def __init__(self) -> None:
        self._flag = False
        self._waiting: threading.Event | None = None

    def is_set(self) -> bool:
        return self._flag

    def set(self) -> None:
        with _stop_lock:
            self._flag = True
            waiting = self._waiting
        if waiting is not None:
            waiting.set()

    def clear(self) -> None:
        raise RuntimeError("a stopped actor is not started again")

    def wait(self, timeout: float | None = None) -> bool:
        with _stop_lock:
            if self._flag:
                return True
            if self._waiting is None:
                self._waiting = threading.Event()
        return self._waiting.wait(timeout)


class LoopRef(pykka.ActorRef[A]):
    """A reference to a `LoopActor`: pykka's, with waiting that the event loop can stand."""

    birth_number: int
    """Position in the order in which actors were started."""

    def __init__(self, actor: A) -> None:
        super().__init__(actor)
        self.birth_number = next(_birth_numbers)

    @overload
    def ask(self, message: Any, *, block: Literal[False], timeout: float | None = None) -> LoopFuture[Any]: ...
    @overload
    def ask(self, message: Any, *, block: Literal[True], timeout: float | None = None) -> Any: ...
    @overload
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any: ...
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send `message` and wait for the reply in another thread, or get a future to await with `block=False`.

        Raises:
            RuntimeError: With `block=True` on an event loop; nothing is sent then.
            pykka.Timeout: No reply within `timeout` seconds.
        """
        if block:
            _refuse_to_block("ask")
        return super().ask(message, block=block, timeout=timeout)

    @overload
    def stop(self, *, block: Literal[True], timeout: float | None = None) -> bool: ...
    @overload
    def stop(self, *, block: Literal[False], timeout: float | None = None) -> LoopFuture[bool]: ...
    @overload
    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | LoopFuture[bool]: ...
    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """Ask the actor to stop after what is in its mailbox; as pykka's, and like `ask()` on an event loop."""
        if block:
            _refuse_to_block("stop")
        return super().stop(block=block, timeout=timeout)


def _refuse_to_block(call: str) -> None:
    if on_event_loop():
        raise RuntimeError(
            f"{call}() would block the event loop that the actor runs on: use `await ref.{call}(..., block=False)`"
        )


class LoopActor(pykka.Actor):
    """A pykka actor on the event loop.

    Life of an actor, all of it on the loop's thread:

    1.  `start()` makes it, in the caller's context, and queues its first turn.
    2.  `on_start()` runs in that turn; then `on_restart()` if it follows an actor that failed in the same mailbox.
    3.  Each turn handles up to `batch_size` messages, then calls `on_batch_end()` once; where that has more to do than
        may be done in one go, it is called again before the next message, each time after the loop has done I/O.
    4.  It ends by `stop()`, with `on_stop()`, or by any exception that is not the answer to an `ask`, with
        `on_failure()`; where somebody monitors the mailbox, the messages left in it wait for a successor.

    Differences from pykka's thread actors, on purpose: a `BaseException` (`CancelledError`, `SystemExit`) is the
    failure of this actor and stops no other one, and a failing `on_start()` reaches the monitor.

    Handlers are plain functions, one for each message type, marked with `handles`, and never wait. The names that this
    class keeps for itself are mangled, so that a subclass may call its own things as it likes.

    Args:
        mailbox: Where it lives; None makes a new mailbox on the running event loop.
    """

    batch_size: ClassVar[int] = 2048
    """How many messages one turn takes at most before others get theirs."""

    retried: ClassVar[tuple[type, ...]] = ()
    """Messages that are handled once more, by the successor, after an actor failed on them; a second failure makes the
    message poison. For those that can be handled twice as if once, or with a `can_retry` that knows better."""

    _handlers: ClassVar[dict[type, _Handler]] = {}

    actor_inbox: Mailbox

    __suspect: ClassVar[Exit | None] = None  # of the class, as hardly an actor ever has one of its own

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # By name and along the whole MRO: an override need not be marked again, and no base's table is lost.
        cls._handlers = {
            message_type: getattr(cls, name)
            for base in reversed(cls.__mro__)
            for name, member in vars(base).items()
            for message_type in getattr(member, "__handles__", ())
        }

    def __init__(self, *_args: Any, mailbox: Mailbox | None = None, **_kwargs: Any) -> None:
        # Not super().__init__(): it makes a UUID and a threading.Event for each actor, 2.6 KB that matter at 10,000.
        self.actor_urn = f"{_PROCESS_URN}:{next(_birth_numbers)}"
        self.actor_inbox = mailbox if mailbox is not None else self._create_actor_inbox()
        self.actor_stopped = _StopFlag()
        self._actor_ref = LoopRef(self)
        self.__started = False
        self.__stopped = False
        self.__unfinished = False
        self.__reply_to: pykka.Future[Any] | None = None

    @property
    def mailbox(self) -> Mailbox:
        """The mailbox that outlives this actor when it fails."""
        return self.actor_inbox

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    @staticmethod
    def _create_future() -> LoopFuture[Any]:
        return LoopFuture()

    def _start_actor_loop(self) -> None:
        try:
            self.actor_inbox.occupy(self)
        except RuntimeError:  # registered by now: a ref left there would speak for whoever lives in the mailbox
            _forget(self._actor_ref)
            self.actor_stopped.set()
            raise

    def on_restart(self, failure: Exit) -> None:
        """Run after `on_start()` when this actor follows one that failed; `failure` says how and on which message."""

    def can_retry(self, message: Any) -> bool:
        """Tell whether `message`, on which this actor has failed, can be handled once more: nothing came of it yet.

        Asked for what was told, of a type in `retried`; what was asked has its answer.
        """
        return True

    def on_batch_end(self) -> bool | None:
        """Run once after each batch of messages, when it was handled without a failure; before `on_stop()` too.

        Returns:
            Whether there is more to do: then it runs again before the next message, after the loop has done I/O.
        """
        return None

    @handles(Fail)
    def __fail_on_order(self, message: Fail) -> None:
        raise RestartOrdered(message.by)

    @property
    def asked(self) -> bool:
        """Whether somebody waits for the answer to the message being handled."""
        return self.__reply_to is not None

    def defer_reply(self) -> LoopFuture[Any]:
        """Keep the reply to the `ask` being handled for later: whoever holds the returned future sets it, once.

        For a message that was told, a future that nobody waits for.
        """
        reply_to, self.__reply_to = self.__reply_to, None
        return reply_to if isinstance(reply_to, LoopFuture) else LoopFuture()

    def take_turn(self) -> bool:
        """Handle a batch of what is in the mailbox; the dispatcher calls this.

        Returns:
            Whether it wants another turn after the loop has done I/O, in which it goes on with this batch's end.
        """
        if self.__unfinished:
            return self.__end_batch()
        if not self.__started and not self.__begin():
            return False
        mailbox = self.actor_inbox
        handlers = self._handlers
        letters = iter(mailbox.take(self.batch_size))
        for envelope in letters:
            message = envelope.message
            try:
                if envelope.reply_to is not None:
                    self.__answer(envelope)
                else:
                    handler = handlers.get(message.__class__)
                    if handler is not None:
                        handler(self, message)
                    else:
                        self._handle_receive(message)
            except BaseException as error:  # any failure is this one actor's: see the class docstring
                mailbox.put_back(list(letters))
                self.__fail(error, message, told=envelope.reply_to is None)
                return False
            if self.__stopped:
                mailbox.put_back(list(letters))
                self.__leave()
                return False
        return self.__end_batch()

    def __end_batch(self) -> bool:
        if self.__suspect is not None:
            self.__suspect = None  # type: ignore[misc]  # its message went well; it holds on to the actor before
        try:
            self.__unfinished = bool(self.on_batch_end())
        except BaseException as error:
            self.__fail(error, None)
            return False
        return self.__unfinished

    def __begin(self) -> bool:
        self.__started = True
        failure, self.actor_inbox.last_exit = self.actor_inbox.last_exit, None
        repairing = False
        try:
            self.on_start()
            if failure is not None:
                repairing = True
                self.on_restart(failure)
                if failure.then == "retry":
                    self.__suspect = failure  # type: ignore[misc]  # from here on it has one of its own
                    self.actor_inbox.put_back([Envelope(failure.message)])
        except BaseException as error:
            self._handle_failure(type(error), error, error.__traceback__)
            # Where on_restart() was not reached the message that the actor before this one failed on is unanswered yet,
            # and the next one is told of it; where it failed itself it gets no second try.
            how = Exit(type(self).__name__, error, None, len(self.actor_inbox))
            self.__end(how, unrepaired=failure if not repairing else None)
            return False
        return True

    def __answer(self, envelope: Envelope[Any]) -> None:
        self.__reply_to = envelope.reply_to
        assert envelope.reply_to is not None
        handler = self._handlers.get(envelope.message.__class__)
        try:
            if handler is not None:
                response = handler(self, envelope.message)
            else:
                response = self._handle_receive(envelope.message)
        except Exception:
            with contextlib.suppress(queue.Full):  # a deferred reply may be set already
                envelope.reply_to.set_exception()
            logger.info("Exception returned from %s to caller:", self, exc_info=True)
        except BaseException as error:
            # Not the error itself: a task that awaits it would end the loop (SystemExit) or count as cancelled.
            dead = ActorDeadError(f"{self} failed on the message: {error!r}")
            dead.__cause__ = error
            with contextlib.suppress(queue.Full):
                envelope.reply_to.set_exception((ActorDeadError, dead, None))
            raise
        else:
            if self.__reply_to is not None:
                envelope.reply_to.set(response)
        finally:
            self.__reply_to = None

    def _stop(self) -> None:
        try:
            while self.on_batch_end():  # what came before the stop must leave, and after on_stop() it could not
                pass
        except BaseException as error:
            self.__report(error)
        _forget(self._actor_ref)
        self.__stopped = True
        self.actor_stopped.set()
        logger.debug("Stopped %s", self)
        try:
            self.on_stop()
        except BaseException as error:  # the stop was asked for and stays an orderly one
            self.__report(error)

    def __leave(self) -> None:
        """End an orderly life: who still waits for an answer gets pykka's."""
        self._actor_loop_teardown()
        self.__end(Exit(type(self).__name__, None, None, 0))

    def __fail(self, error: BaseException, message: Any, *, told: bool = False) -> None:
        self._handle_failure(type(error), error, error.__traceback__)
        try:
            self.on_failure(type(error), error, error.__traceback__)
        except BaseException as second:
            self.__report(second)
        how = Exit(type(self).__name__, error, message, len(self.actor_inbox))
        suspect = self.__suspect
        if suspect is not None and suspect.message is message:
            how = how._replace(deaths=suspect.deaths + 1)
        if told and type(message) in self.retried and self.__may_retry(message):
            how = how._replace(then="retry" if how.deaths == 1 else "quarantine")
        self.__end(how)

    def __may_retry(self, message: Any) -> bool:
        try:
            return self.can_retry(message)
        except BaseException as error:
            self.__report(error)
            return False

    def __end(self, how: Exit, *, unrepaired: Exit | None = None) -> None:
        mailbox = self.actor_inbox
        if mailbox.monitor is None:
            mailbox.close()
        else:
            mailbox.last_exit = unrepaired or (how if how.cause is not None else None)
            mailbox.vacate()
            mailbox.monitor(how)

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A supervisor writes one structured line about it; without one this is the only trace that the failure leaves.
        if self.actor_inbox.monitor is None and exception_value is not None:
            self.__report(exception_value)
        _forget(self._actor_ref)
        self.actor_stopped.set()

    def __report(self, error: BaseException) -> None:
        logger.error("Unhandled exception in %s:", self, exc_info=error)


def _forget(ref: pykka.ActorRef[Any]) -> None:
    """Take `ref` out of pykka's registry in O(log n) comparisons.

    `ActorRegistry.unregister()` searches its list from the start, twice: stopping 20,000 actors in random order
    costs 1.4 s. The list is in order of birth, so a bisection finds the place; other actor types in it carry no number
    and are stepped over. Two threads that start actors at once may swap two places: then the search is pykka's.
    """
    with ActorRegistry._actor_refs_lock:
        refs = ActorRegistry._actor_refs
        low, high = 0, len(refs)
        while low < high:
            middle = probe = (low + high) // 2
            while probe < high and not isinstance(refs[probe], LoopRef):
                probe += 1
            if probe == high:
                high = middle
            elif _birth_number(refs[probe]) < _birth_number(ref):
                low = probe + 1
            else:
                high = middle
                if refs[probe] is ref:
                    del refs[probe]
                    return
        ActorRegistry.unregister(ref)


def _birth_number(ref: pykka.ActorRef[Any]) -> int:
    return ref.birth_number if isinstance(ref, LoopRef) else 0
