"""Intake: what a client sends, a piece at a time, so that no client can hold the loop; and a bound on frames that say
nothing.

One read may bring 256 KiB: 40,000 empty pings, parsed and answered in one go for more than a second, over and over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.typing import BytesLike, Subprotocol

from actors.throttle import TokenBucket

__all__ = ["MeasuredConnection"]

_PIECE = 4096
"""Bytes that are parsed before the clock is looked at: at most 680 frames."""
_PIECE_DEFLATED = 256
"""Likewise, of a client that may compress: what it sends can grow a thousandfold."""
_TURN_S = 0.005
_TURN_TRUSTED_S = 0.010
"""How long one connection's bytes are parsed before the loop does something else. What a service publishes in one go
leaves in one write for each client: with many rooms that takes many events."""
_FRAMES_TRUSTED = 1024
"""Frames of a service or an operator that may wait to be taken."""
_EMPTY_FRAMES_PER_S = 50.0
_EMPTY_FRAMES_BURST = 300.0
_MOST_FRAGMENTS = 64
"""Of one message: each is kept until the last one has come, and empty ones add up to no bytes."""


def _nothing() -> None:
    """Stand where something was to be called."""


def _none_of_them(_offered: Sequence[Subprotocol]) -> None:
    """Stand where a subprotocol was to be chosen."""


class _Few(list[Frame]):
    """The frames that wait, hardly ever one: an empty deque is 760 bytes, an empty list 56."""

    __slots__ = ()

    def popleft(self) -> Frame:
        """Take the first one."""
        return self.pop(0)

    def extendleft(self, frames: Iterable[Frame]) -> None:
        """Put frames before the first one, one after the other."""
        for frame in frames:
            self.insert(0, frame)


class MeasuredConnection(ServerConnection):
    """The library's connection, which takes a little of what comes in, lets others go on, and takes the next.

    Reading pauses while something that was read is not parsed yet, or while messages wait to be taken.
    """

    # In slots: with more than 29 attributes an object's dict is 1,300 bytes larger, and the library's has 27.
    __slots__ = ("_bucket", "_end_timer", "_fragments", "_receiver", "_unparsed", "flooded", "gone", "turn_s")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.flooded = False
        """Whether it was cut for too many control frames or fragments."""
        self.turn_s = _TURN_S
        """How long its bytes are parsed before the loop does something else."""
        self.gone: asyncio.Future[None] = self.loop.create_future()
        """Done when the socket is gone."""
        self._unparsed: bytearray | None = None
        self._receiver: asyncio.Task[None] | None = None
        """Receives what was not taken at once, as long as there is something."""
        self._bucket: TokenBucket | None = None
        self._fragments = 0
        """That have come of a message whose end has not."""
        self._end_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the queue of messages asks this object to pause and resume, not the socket."""
        super().connection_made(transport)
        self.recv_messages.resume = self._resume
        self.recv_messages.frames.queue = _Few()  # type: ignore[assignment]  # what the queue asks of it, it has

    def connection_lost(self, exc: Exception | None) -> None:
        """End; what was not parsed is dropped.

        Nothing of this object's own points back to it any more, so it goes at once: what waits for the garbage
        collector piles up where sockets come and go by the thousand.
        """
        self._unparsed = None
        if self._end_timer is not None:
            self._end_timer.cancel()
            self._end_timer = None
        super().connection_lost(exc)
        self.recv_messages.resume = _nothing
        self.protocol.select_subprotocol = _none_of_them  # type: ignore[method-assign,assignment]  # may still be asked
        if not self.gone.done():
            self.gone.set_result(None)

    def send_data(self) -> None:
        """Send what the library has to say; a client that does not end TCP when we have is cut.

        The library waits for that where somebody sends or closes, and after a close of the client's nobody does.
        """
        super().send_data()
        if self.protocol.eof_sent and self._end_timer is None and not self.gone.done():
            self._end_timer = self.loop.call_later(self.close_timeout or 0.0, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Take what came in: at once when it is little."""
        if self._unparsed is not None:
            self._unparsed += data
        elif len(data) <= self._piece:
            super().data_received(data)
            self.piece_taken()
        else:
            self._unparsed = bytearray(data)
            self.transport.pause_reading()
            self._parse_some()

    def eof_received(self) -> None:
        """Take the end, after everything before it."""
        while self._unparsed:
            self._parse_piece()
        super().eof_received()

    def process_event(self, event: Frame | Request | Response) -> None:
        """Hand on whole text messages; count the frames that carry none and that nobody asked for.

        The library's own way (a queue, a coroutine that waits for it, a list of fragments) costs as much again as its
        parser; it stays the way of everything else, and of what comes behind something that waits there. Behind a flood
        nothing is listened to.
        """
        if self.flooded:
            return
        if isinstance(event, Frame) and event.opcode is Opcode.TEXT and event.fin and self._taken(event):
            return
        if isinstance(event, Frame) and event.opcode is Opcode.PONG and event.data and self.pong_taken(event.data):
            return
        if isinstance(event, Frame) and not (event.fin and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE)):
            now = time.monotonic()
            if self._bucket is None:
                self._bucket = TokenBucket(_EMPTY_FRAMES_PER_S, _EMPTY_FRAMES_BURST, now)
            if self._bucket.take(now) or self._one_too_many(event):
                self._end_flood(event)
                return
        super().process_event(event)
        self.receive_waiting()

    def receive_waiting(self) -> None:
        """See to it that what waits is received, one after the other; called when there may be something."""
        if self._receiver is None and len(self.recv_messages.frames) and self.may_receive:
            self._receiver = self.loop.create_task(self._receive())

    async def _receive(self) -> None:
        try:
            while len(self.recv_messages.frames):
                await self.receive(await self.recv())
        except ConnectionClosed:
            pass
        finally:
            self._receiver = None

    async def wait_received(self) -> None:
        """Wait until what has come is received."""
        if self._receiver is not None:
            await self._receiver

    @property
    def may_receive(self) -> bool:
        """Whether somebody is there to take messages."""
        return False

    def take(self, text: str) -> bool:
        """Take a text message at once, or return False: then it is received in its turn."""
        return False

    async def receive(self, message: str | bytes) -> None:
        """Take a message, after those before it."""

    @property
    def has_untaken(self) -> bool:
        """Whether something has come that was not taken yet; what came behind it cannot be heard."""
        return self._unparsed is not None or len(self.recv_messages.frames) > 0

    def _taken(self, event: Frame) -> bool:
        if self._receiver is not None or len(self.recv_messages.frames):
            return False
        try:
            text = str(event.data, "utf-8")
        except UnicodeDecodeError:  # the library knows how to close for this
            return False
        return self.take(text)

    def _one_too_many(self, event: Frame) -> bool:
        if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._fragments = 0 if event.fin else self._fragments + 1
        return self._fragments > _MOST_FRAGMENTS

    def _end_flood(self, event: Frame) -> None:
        self.flooded = True
        if event.opcode in (Opcode.PING, Opcode.PONG):
            self.cut()
        elif self.protocol.state is OPEN:
            self.protocol.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            self.send_data()

    def pong_taken(self, payload: BytesLike) -> bool:
        """Return whether this pong answers a ping that is not the library's: there are no more of those than asked."""
        return False

    def trust(self) -> None:
        """The client is a service or an operator: let more frames wait, and parse more at once."""
        self.turn_s = _TURN_TRUSTED_S
        self.recv_messages.high, self.recv_messages.low = _FRAMES_TRUSTED, _FRAMES_TRUSTED // 4

    def piece_taken(self) -> None:
        """Look at what a piece has brought about; called after each."""

    def cut(self) -> None:
        """Drop the socket at once, with what waits in it."""
        self._unparsed = None
        self.transport.abort()

    @property
    def _piece(self) -> int:
        return _PIECE_DEFLATED if self.protocol.extensions else _PIECE

    def _parse_some(self) -> None:
        until = time.perf_counter() + self.turn_s
        while self._unparsed and not self.recv_messages.paused:
            self._parse_piece()
            if time.perf_counter() >= until:
                break
        if self._unparsed is None:
            return
        if not self._unparsed:
            self._unparsed = None
            if not self.recv_messages.paused:
                self.transport.resume_reading()
        elif not self.recv_messages.paused:
            self.loop.call_soon(self._parse_some)

    def _parse_piece(self) -> None:
        assert self._unparsed is not None
        size = self._piece
        piece = bytes(self._unparsed[:size])
        del self._unparsed[:size]
        super().data_received(piece)
        self.piece_taken()

    def _resume(self) -> None:
        if self._unparsed is None:
            self.transport.resume_reading()
        else:
            self.loop.call_soon(self._parse_some)
