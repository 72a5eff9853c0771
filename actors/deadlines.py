"""Deadlines of one connection: hello in time, and a token that ends. One timer at a time; `Overdue` to the mailbox."""

from __future__ import annotations

from .clock import Clock, Timer
from .identity import Identity
from .mailbox import Mailbox
from .messages import Overdue
from .ports import ConnectionLimits

__all__ = ["Deadlines"]


class Deadlines:
    """Sets the timer that is due next.

    Args:
        mailbox: Is told `Overdue`.
        clock: Calls back.
        limits: How long things may take.
    """

    __slots__ = ("_clock", "_limits", "_mailbox", "_timer")

    def __init__(self, mailbox: Mailbox, clock: Clock, limits: ConnectionLimits) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._limits = limits
        self._timer: Timer | None = None

    def hello(self) -> None:
        """Wait for `hello`."""
        self._set(self._limits.hello_s, Overdue("hello", 0.0))

    def token(self, identity: Identity) -> None:
        """Wait for the end of the identity's token, with a warning before it."""
        expires_at = identity.expires_at
        if expires_at is None:
            self.cancel()
        elif self._limits.token_warning_s:
            wait_s = expires_at - self._limits.token_warning_s - self._clock.time()
            self._set(wait_s, Overdue("token_expiring", expires_at))
        else:
            self.grace(expires_at)

    def grace(self, expires_at: float) -> None:
        """Wait for the end of the grace that a token is given."""
        wait_s = expires_at + self._limits.token_grace_s - self._clock.time()
        self._set(wait_s, Overdue("token_expired", expires_at))

    def cancel(self) -> None:
        """Wait for nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, wait_s: float, message: Overdue) -> None:
        self.cancel()
        mailbox = self._mailbox
        self._timer = self._clock.call_later(max(0.0, wait_s), lambda: mailbox.tell(message))
