"""Wakes: what a process without an event loop waits for. Signals and readable descriptors in; who to call out."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Wakes"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Wakes:
    """Signals and descriptors, waited for together. A context manager, for the main thread: it takes the signals."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._caught: set[int] = set()
        self._here, self._there = socket.socketpair()
        self._handlers: dict[signal.Signals, Any] = {}
        self._woken_before = -1

    def __enter__(self) -> Wakes:
        for end in (self._here, self._there):
            end.setblocking(False)
        self._selector.register(self._here, selectors.EVENT_READ, self._drop)
        self._handlers = {number: signal.signal(number, self._note) for number in _SIGNALS}
        self._woken_before = signal.set_wakeup_fd(self._there.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._woken_before)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._selector.close()
        self._here.close()
        self._there.close()

    def watch(self, descriptor: int, call: Callable[[], object]) -> None:
        """Have `call` called in a `wait` while there is something to be read."""
        self._selector.register(descriptor, selectors.EVENT_READ, call)

    def forget(self, descriptor: int) -> None:
        """Watch no more; before the descriptor is closed."""
        self._selector.unregister(descriptor)

    def caught(self) -> set[int]:
        """Return the signals that came since the last call."""
        caught, self._caught = self._caught, set()
        return caught

    def wait(self, seconds: float | None) -> None:
        """Wait for a signal, a descriptor, or so many seconds. None: for as long as it takes."""
        for key, _ in self._selector.select(seconds):
            key.data()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._caught.add(number)

    def _drop(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._here.recv(4096):
                pass
