"""Faults: every handler of every actor may fail, before, amid or after its work, with any kind of exception."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from actors.connection import Connection
from actors.loop import LoopActor
from actors.mailbox import Mailbox
from actors.messages import Query, Subscribe
from actors.room import Room
from actors.source import NotificationSource
from actors.supervisor import Supervisor

__all__ = ["MADE_TO_FAIL", "Crash", "Faults"]

MADE_TO_FAIL = "made to fail"
_ACTORS = (Connection, Room, NotificationSource, Supervisor)
_ANSWERING = (Subscribe, Query)
"""The answer is the last thing that is done with these: nothing can fail after it."""
_EXCEPTIONS = (RuntimeError, ValueError, MemoryError, asyncio.CancelledError, SystemExit, KeyboardInterrupt)


class Crash:
    """A message on which every actor fails."""


class Faults:
    """Decides which handler fails.

    Args:
        source: Decides.
        note: Is told.
    """

    def __init__(self, source: random.Random, note: Callable[[str, str], None]) -> None:
        self._source = source
        self._note = note
        self._mean = 0
        self._left = -1
        """So many handlers go well before one fails; negative: none fails."""
        self._amid: LoopActor | None = None
        """Who fails on the next thing that it tells anybody."""

    def every(self, mean: int) -> None:
        """Have one in about `mean` handlers fail; 0: none."""
        self._mean = mean
        self._left = self._draw()

    def _draw(self) -> int:
        return self._source.randint(0, 2 * self._mean) if self._mean else -1

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Let handlers fail."""
        with ExitStack() as stack:
            for actor in _ACTORS:
                handlers = {message: self._wrapped(message, handler) for message, handler in actor._handlers.items()}
                stack.enter_context(patch.object(actor, "_handlers", {**handlers, Crash: self._crash}))
                for hook in {"on_start", "on_batch_end"} & vars(actor).keys():
                    stack.enter_context(patch.object(actor, hook, self._wrapped_hook(vars(actor)[hook])))
            stack.enter_context(patch.object(Mailbox, "tell", self._wrapped_tell(Mailbox.tell)))
            yield

    def _crash(self, actor: LoopActor, message: object) -> None:
        self._fail(actor, type(message).__name__)

    def _fail(self, actor: LoopActor, where: str) -> None:
        error = self._source.choice(_EXCEPTIONS)
        self._note(actor.mailbox.name, f"FAILS on {where} with {error.__name__}")
        raise error(MADE_TO_FAIL)

    def _due(self) -> bool:
        if self._left < 0:
            return False
        self._left -= 1
        if self._left >= 0:
            return False
        self._left = self._draw()
        return True

    def _wrapped(self, message_type: type, handler: Callable[..., Any]) -> Callable[..., Any]:
        def handle(actor: LoopActor, message: object) -> Any:
            if not self._due():
                return handler(actor, message)
            when = self._source.choice(("before", "amid", "after"))
            if when == "amid":
                return self._handle_amid(actor, lambda: handler(actor, message))
            if when == "after" and message_type not in _ANSWERING:
                handler(actor, message)
            return self._fail(actor, message_type.__name__)

        return handle

    def _handle_amid(self, actor: LoopActor, handle: Callable[[], Any]) -> Any:
        self._amid = actor
        try:
            return handle()
        finally:
            self._amid = None

    def _wrapped_tell(self, tell: Callable[[Mailbox, object], None]) -> Callable[[Mailbox, object], None]:
        def tell_or_fail(mailbox: Mailbox, message: object) -> None:
            actor, self._amid = self._amid, None
            if actor is not None:
                self._fail(actor, f"telling {type(message).__name__}")
            tell(mailbox, message)

        return tell_or_fail

    def _wrapped_hook(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        def call(actor: LoopActor) -> Any:
            if not self._due():
                return hook(actor)
            if self._source.random() < 0.5:
                hook(actor)
            return self._fail(actor, hook.__name__)

        return call
