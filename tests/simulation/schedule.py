"""SeededDispatcher: the actors' turns in an order that the seed decides, one at a time, when the story says so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from actors.mailbox import Dispatcher

__all__ = ["SeededDispatcher"]

_BATCHES = (1, 1, 2, 3, 10, 2048)
"""How many messages one turn may take."""


class SeededDispatcher(Dispatcher):
    """Any order of turns that mailboxes allow: first come first served is one of them.

    Args:
        loop: The running loop, of which the actors ask for their dispatcher.
        source: Decides.
        note: Is told what each turn is about, as far as anybody listens.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, source: random.Random, note: Callable[[str, str], None] | None
    ) -> None:
        super().__init__(loop)
        self._source = source
        self._note = note
        self._by_loop[loop] = self

    def schedule(self, mailbox) -> None:
        """Queue one turn; nobody is woken."""
        self._ready.append(mailbox)

    @property
    def busy(self) -> bool:
        """Whether somebody has something to do."""
        return bool(self._ready or self._unfinished)

    def step(self) -> None:
        """Give one actor its turn."""
        place = self._source.randrange(len(self._ready) + len(self._unfinished))
        queue = self._ready
        if place >= len(queue):
            place, queue = place - len(queue), self._unfinished
        mailbox = queue[place]
        del queue[place]
        actor = mailbox._actor
        if actor is not None:
            actor.batch_size = self._source.choice(_BATCHES)
            if self._note is not None:
                taken = mailbox._letters[mailbox._head : mailbox._head + actor.batch_size]
                said = [_named(letter.message) for letter in taken if letter is not None]
                self._note(mailbox.name, " ".join(said) or "goes on")
        self._give_turn(mailbox)


def _named(message: Any) -> str:
    whose = getattr(message, "connection", None) or getattr(message, "room", None)
    return f"{type(message).__name__}{'' if whose is None else f'({whose})'}"
