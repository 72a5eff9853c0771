"""LoopFuture: the reply to an `ask`, awaited on the event loop or waited for in any other thread."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
from collections.abc import Generator
from types import TracebackType
from typing import Any, TypeVar, cast

import pykka

__all__ = ["LoopFuture", "on_event_loop"]

T = TypeVar("T")
_ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]

# One lock for all: it is held for a few instructions, and a lock per future would cost more than the future.
_lock = threading.Lock()


def on_event_loop() -> bool:
    """Tell whether the caller runs inside an event loop, where waiting would stop every actor on it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class LoopFuture(pykka.Future[T]):
    """A pykka future that can be awaited.

    `await future` waits on the loop. `future.get(timeout=...)` waits in other threads and raises RuntimeError at once
    on an event loop, where it could never end: the reply would have to come from the loop that it blocks.
    """

    def __init__(self) -> None:
        super().__init__()
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._event: threading.Event | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def tell(self, message: T) -> None:
        """Take `message` as the value, so that a future can stand where a reply is told; a second one is dropped."""
        with contextlib.suppress(queue.Full):
            self.set(message)

    def tell_error(self, error: BaseException) -> None:
        """Take `error` as what the asker gets; dropped when there is an answer already."""
        with contextlib.suppress(queue.Full):
            self.set_exception((type(error), error, error.__traceback__))

    def set(self, value: T | None = None) -> None:
        """Set the value, from any thread.

        Raises:
            queue.Full: It is set already (as pykka's own future does).
        """
        self._settle(value, None, None)

    def set_exception(self, exc_info: _ExcInfo | None = None) -> None:
        """Set an exception (default: the one being handled), from any thread; raises as `set()` does."""
        kind, error, traceback = exc_info or sys.exc_info()
        if kind is None:
            raise ValueError("set_exception() needs exc_info outside of an except block")
        self._settle(None, error if error is not None else kind(), traceback)

    def set_get_hook(self, func: Any) -> None:
        """Compute the value by `func(timeout)` when it is asked for (what pykka's `map` and its kin build on)."""
        with _lock:
            if self._done:
                raise queue.Full
            super().set_get_hook(func)

    def get(self, *, timeout: float | None = None) -> T:
        """Wait for the value in a thread that runs no event loop.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            RuntimeError: Called on an event loop before the value is there: use `await`.
            pykka.Timeout: No value in time.
            Exception: What the actor raised.
        """
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if not self._done:
            if on_event_loop():
                raise RuntimeError("get() would block the event loop that the reply must come from: use `await`")
            with _lock:
                if self._event is None:
                    self._event = threading.Event()
                if self._settled():
                    self._event.set()
            if not self._event.wait(timeout):
                raise pykka.Timeout(f"{timeout} seconds")
        return self._result()

    def __await__(self) -> Generator[Any, None, T]:
        """Wait on the running event loop; a time-out is the caller's (`asyncio.timeout`)."""
        if self._get_hook is not None:
            # A hook may wait for other futures, which a thread can do and the loop cannot.
            loop = asyncio.get_running_loop()
            return (yield from loop.run_in_executor(None, self.get).__await__())
        if not self._done:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            with _lock:
                if self._settled():
                    waiter.set_result(None)
                else:
                    self._waiters.append(waiter)
            try:
                yield from waiter.__await__()
            finally:
                with _lock, contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)
        return self._result()

    __iter__ = __await__

    def _settle(self, value: Any, error: BaseException | None, traceback: TracebackType | None) -> None:
        with _lock:
            if self._done or self._get_hook is not None:
                raise queue.Full
            self._value, self._error, self._traceback = value, error, traceback
            self._done = True
            event, waiters = self._event, self._waiters
            self._waiters = []
        if event is not None:
            event.set()
        for waiter in waiters:
            with contextlib.suppress(RuntimeError):  # the waiting loop was closed meanwhile
                waiter.get_loop().call_soon_threadsafe(_release, waiter)

    def _settled(self) -> bool:
        # A call, so that the type checker knows that another thread may have changed it since the last look.
        return self._done

    def _result(self) -> T:
        if self._error is not None:
            raise self._error.with_traceback(self._traceback)
        return cast("T", self._value)


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
