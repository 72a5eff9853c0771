"""ChildSpec: what a supervisor must know of a child, in Erlang/OTP's words; and how long it waits to restart one."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from .mailbox import Exit, Mailbox

__all__ = ["Backoff", "ChildSpec"]


class Backoff:
    """How long to wait before a restart: not at all for the first, then full jitter under a doubling bound.

    The first restart is immediate because most failures are one bad message, and the client must not notice. Full
    jitter (a wait drawn evenly between zero and the bound) keeps many children that failed together from coming back
    together.

    Args:
        first_s: The bound of the second restart's wait.
        most_s: The largest bound.
        draw: Draws a number between two; for tests.
    """

    def __init__(
        self,
        first_s: float = 0.05,
        most_s: float = 5.0,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._draw = draw

    def wait_s(self, recent_restarts: int) -> float:
        """Return the seconds to wait after `recent_restarts` restarts within the intensity's window."""
        if recent_restarts == 0:
            return 0.0
        return self._draw(0.0, min(self._most_s, self._first_s * 2.0 ** (recent_restarts - 1)))


_BACKOFF = Backoff()


class ChildSpec:
    """What a supervisor must know to keep a child alive. The words are those of Erlang/OTP's `supervisor`.

    Args:
        name: Names the child in logs and for operators.
        start: Brings an actor to life in the mailbox, now or later on the loop's thread. For the first life and for
            each after a failure.
        stop: Asks the actor in the mailbox to stop.
        restart: `permanent`: always; `transient`: after a failure, not after an orderly stop; `temporary`: never.
        intensity: Restarts within `within_s` seconds before the supervisor gives the child up.
        within_s: The window of the intensity, in seconds.
        backoff: How long to wait before each restart.
        on_give_up: Called when the child is given up, so that the failure ends here. None: the failure escalates, and
            the supervisor fails in its turn.
        given_up_notice: What others notice then, for operators.
        rest_s: After so many seconds a child that was given up is started again, in the same mailbox. 0: never, and its
            mailbox is closed.
    """

    __slots__ = (
        "backoff",
        "given_up_notice",
        "intensity",
        "name",
        "on_give_up",
        "rest_s",
        "restart",
        "start",
        "stop",
        "within_s",
    )

    def __init__(
        self,
        name: str,
        start: Callable[[Mailbox], object],
        *,
        stop: Callable[[Mailbox], object] = Mailbox.stop,
        restart: Literal["permanent", "transient", "temporary"] = "permanent",
        intensity: int = 3,
        within_s: float = 5.0,
        backoff: Backoff | None = None,
        on_give_up: Callable[[Exit], None] | None = None,
        given_up_notice: str | None = None,
        rest_s: float = 0.0,
    ) -> None:
        self.name = name
        self.start = start
        self.stop = stop
        self.restart = restart
        self.intensity = intensity
        self.within_s = within_s
        self.backoff = backoff or _BACKOFF
        self.on_give_up = on_give_up
        self.given_up_notice = given_up_notice
        self.rest_s = rest_s
