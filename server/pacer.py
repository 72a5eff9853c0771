"""Pacer: puts pings behind what a client is written, and looks again in time: `Pace` says when, this does it.

Bytes written and pongs in; pings out, and how much may be written.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN

from actors.throttle import TokenBucket

from .intake import MeasuredConnection
from .pace import Pace

__all__ = ["Pacer"]

_TIMER_S = 0.001
"""What a timer of the loop may be early by."""


class Pacer:
    """One client's pace on its socket.

    Args:
        connection: Where the pings go.
        checks: How often clients that keep up are asked whether they still do, all of them together.
        due: Called when it is time for `look`.
    """

    __slots__ = ("_checks", "_connection", "_due", "_look_at", "_look_timer", "pace")

    def __init__(self, connection: MeasuredConnection, checks: TokenBucket, due: Callable[[], None]) -> None:
        self._connection = connection
        self._checks = checks
        self._due = due
        self._look_at = math.inf
        self._look_timer: asyncio.TimerHandle | None = None
        self.pace = Pace()

    @property
    def mark(self) -> int:
        """Bytes in all from which on there is something to do: `wrote`."""
        return min(self.pace.ask_at, self.pace.limit)

    def wrote(self, written: int) -> None:
        """Take note that the mark was passed."""
        self.pace.wrote(written, time.monotonic())
        self._go_on(written)

    def pong_taken(self, payload: bytes, written: int) -> bool:
        """Take a pong; return whether it answers a ping of these."""
        if not self.pace.answered(payload, written, time.monotonic()):
            return False
        self._go_on(written)
        return True

    def excuse(self, written: int) -> None:
        """Wait for no answer: the client cannot be heard until `hear`."""
        self.pace.excuse(written, time.monotonic())
        self._go_on(written)

    def hear(self, written: int) -> None:
        """Take answers again."""
        self.pace.hear(written, time.monotonic())
        self._go_on(written)

    def look(self, written: int) -> None:
        """See what time has brought."""
        self.stop()
        if self._connection.protocol.state is OPEN:
            self.pace.look(written, time.monotonic())
            self._go_on(written)

    def stop(self) -> None:
        """Look no more, until something else happens."""
        self._look_at = math.inf
        if self._look_timer is not None:
            self._look_timer.cancel()
            self._look_timer = None

    def _go_on(self, written: int) -> None:
        """Put a ping behind what was written where one is due; look again when the pace says."""
        connection, pace = self._connection, self.pace
        if pace.must_ask(written) and connection.protocol.state is OPEN:
            now = time.monotonic()
            if pace.may_vouch and self._checks.take(now):
                pace.vouch(written)
            else:
                connection.transport.write(Frame(Opcode.PING, pace.ask(written, now)).serialize(mask=False))
        if pace.due != self._look_at:
            self.stop()
            self._look_at = pace.due
            if self._look_at < math.inf:
                delay_s = max(0.0, self._look_at - time.monotonic()) + _TIMER_S
                self._look_timer = connection.loop.call_later(delay_s, self._due)
