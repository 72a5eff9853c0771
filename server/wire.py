"""A client's socket, and its `Line`: whole frames in, bytes out, and guards against who does not read.

The guards are needed because the library's keepalive waits for the write buffer before it counts: it never finds a
client that stopped reading, and answers a flood of pings into memory.
"""

from __future__ import annotations

import asyncio
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.typing import BytesLike

from actors.codec import Codec
from actors.errors import CloseCode
from actors.mailbox import Mailbox
from actors.messages import Frame
from actors.pressure import Pressure
from actors.throttle import TokenBucket

from .flow import Flow
from .intake import MeasuredConnection
from .pace import FIRST_PING, UNLIMITED
from .pacer import Pacer
from .protocols.door import Door
from .stall import StallWatch, guard

__all__ = ["GuardedConnection", "Wire"]

_ANSWERED = Request("", Headers())
"""Stands for the request of every connection that was upgraded: the library asks whether there was one."""
_OPERATOR_S = 0.8
"""How long a client that an operator closes may take over the closing handshake."""
_REASON_BYTES = 123
"""Of UTF-8 in a close frame, beside the code (RFC 6455, 5.5)."""
_UNDER_WAY = 64
_UNDER_WAY_TRUSTED = 4096


class GuardedConnection(MeasuredConnection):
    """The library's connection, which costs a bounded amount of memory whatever its client does or leaves undone.

    Set the class attributes in a subclass before serving.
    """

    stall_s: float = 5.0
    """Seconds after which a client that took not one byte is cut."""
    buffer_limit: int = 1024 * 1024
    """Bytes that may join the write buffer while it is full, as answers to control frames, before the client is cut."""
    close_s: float = 30.0
    """Seconds that a client may take to read what waits for it and a close after it, before it is cut."""
    checks = TokenBucket(per_s=200.0, burst=500.0, now=0.0)
    """How often clients that keep up are asked whether they still do, all of them together: each costs some 30 us."""
    __slots__ = ("_paused_at", "_stall_watch", "door", "heard", "stalled", "wire")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wire: Wire | None = None
        self.door: Door | None = None
        """By which protocol the client came, once its handshake was looked at."""
        self.heard = True
        """Whether anything came in since the last ping."""
        self.stalled = False
        """Whether it was cut because it read nothing."""
        self._paused_at = 0
        """Bytes in the write buffer when it was full: events, which are the outbox's to bound."""
        self._stall_watch: StallWatch | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; a peer that vanishes while something is sent to it is found by TCP within 6 s."""
        super().connection_made(transport)
        guard(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; nothing waits for this socket any more."""
        self._stop_stall_watch()
        super().connection_lost(exc)
        if self.wire is not None:
            self.wire.lost()

    def data_received(self, data: bytes) -> None:
        """Take what came in; whatever it is, the client is there."""
        self.heard = True
        super().data_received(data)

    def piece_taken(self) -> None:
        """Refuse to pile up answers to control frames."""
        if self.paused and self.transport.get_write_buffer_size() > self._paused_at + self.buffer_limit:
            self.cut()

    def send_data(self) -> None:
        """Send what the library has to say; behind a close frame or the end of the stream nobody sends by the line."""
        if self.wire is not None and self.protocol.state is not OPEN:
            self.wire.open = False
        super().send_data()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is written to."""
        super().pause_writing()
        if self.wire is not None:
            self.wire.full()
        self._paused_at = self.transport.get_write_buffer_size()
        self.loop.call_soon(self.watch_stall)  # after the loop has done I/O once more: the kernel takes some of it

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._stop_stall_watch()
        super().resume_writing()
        if self.wire is not None:
            self.wire.settle()

    @property
    def may_receive(self) -> bool:
        """Whether there is a wire to take messages."""
        return self.wire is not None

    def take(self, text: str) -> bool:
        """Hand a text message to the actor, unless too much of what was asked for is under way."""
        return self.wire is not None and self.wire.take(text)

    async def receive(self, message: str | bytes) -> None:
        """Hand a message to the actor when not too much is under way any more."""
        if self.wire is not None:
            await self.wire.receive(message)

    def pong_taken(self, payload: BytesLike) -> bool:
        """Return whether this pong tells how far the client has read."""
        return self.wire is not None and self.wire.pong_taken(bytes(payload))

    def forget_request(self) -> None:
        """Let go of the handshake's headers, which the library keeps for the life of the connection: some KB each."""
        for message in (self.request, self.response):
            if message is not None:
                message.headers.clear()
        self.request, self.response = _ANSWERED, None
        self.protocol.select_subprotocol = None  # type: ignore[method-assign,assignment]  # asked once, and done
        # Who waits for a full buffer here is few: an empty deque is 760 bytes, an empty list 56.
        self.drain_waiters = []  # type: ignore[assignment]  # it is looked through, appended to and removed from

    def ping_now(self) -> None:
        """Send a ping; what comes in from now on answers it. A client that is behind is left to the stall timer.

        It gets the ping nevertheless: in some protocols clients wait for it.
        """
        if self.protocol.state is OPEN and self.wire is not None:
            self.heard = self.heard and self._behind
            self.transport.write(self.wire.door.ping)

    def cut(self) -> None:
        """Drop the socket at once, with what waits in it."""
        if self.wire is not None:
            self.wire.cut = True
            self.wire.open = False
        super().cut()

    @property
    def silent(self) -> bool:
        """Whether the client has not answered, though everything that came from it was listened to."""
        return not self.heard and not self._behind and not self.has_untaken

    @property
    def _behind(self) -> bool:
        return self.paused or (self.wire is not None and self.wire.paused)

    def watch_stall(self) -> None:
        """Begin to look whether a client that is behind takes anything."""
        if self.watched and (self._stall_watch is None or not self._stall_watch.looking):
            self._stall_watch = StallWatch(self)

    @property
    def watched(self) -> bool:
        """Whether the client is behind, by its socket or by its answers."""
        return self.paused or (self.wire is not None and self.wire.overdue)

    @property
    def under_way(self) -> int:
        """Bytes that the client's library may not have read; 0 where nobody knows."""
        return 0 if self.wire is None else self.wire.under_way

    @property
    def patience_s(self) -> float:
        """Seconds for which this client may seem to read nothing."""
        return 0.0 if self.paused or self.wire is None else self.wire.patience_s

    def cut_stalled(self) -> None:
        """Drop the socket: the client takes nothing."""
        self.stalled = True
        self.cut()

    def _stop_stall_watch(self) -> None:
        if self._stall_watch is not None:
            self._stall_watch.stop()
            self._stall_watch = None


class Wire(Flow):
    """One client's socket as its Connection actor sees it (`actors.codec.Wire`), whichever actor that is.

    Frames are handed to the transport as they are, past the library's own send: that encodes and waits for each
    message. It is allowed while the connection is open, no fragmented message is being sent and no compressed message
    refers to the one before it; a test holds these against the installed library.

    Args:
        connection: The socket.
        mailbox: Is told `Writable` when a socket that was full takes bytes again.
        door: By which protocol the client came.
        codec: How it speaks.
        pressure: Says how much publishers may have under way.
    """

    __slots__ = (
        "_caught_up",
        "_closing",
        "_connection",
        "_go_on_at",
        "_limit",
        "_most",
        "_pacer",
        "_pressure",
        "_protocol",
        "_under_way",
        "close_code",
        "cut",
        "door",
    )

    def __init__(
        self, connection: GuardedConnection, mailbox: Mailbox, door: Door, codec: Codec, pressure: Pressure
    ) -> None:
        super().__init__(codec, connection.transport, FIRST_PING, mailbox)
        self.door = door
        self._connection = connection
        self._protocol = connection.protocol
        self.paused = connection.paused
        self._limit = UNLIMITED
        """`written` may go up to this, and a little over."""
        self._pacer: Pacer | None = None
        self.cut = False
        """Whether it was dropped by one of the guards."""
        self._pressure: Pressure | None = pressure
        """Says how much may be under way; None: the socket is gone, and holds nobody back."""
        self._under_way = 0
        self._go_on_at = 0
        """When no more than this is under way, reading goes on."""
        self._most = _UNDER_WAY
        self._caught_up: asyncio.Future[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.close_code: int | None = None
        """With what the router closed it; None: it did not."""
        connection.wire = self

    @property
    def room(self) -> int:
        """About how many bytes may be written now."""
        return self._limit - self.written if self._limit > self.written else 1

    @property
    def writable(self) -> bool:
        """Whether the socket would take bytes."""
        return not self._connection.paused

    def write(self, frames: bytes) -> None:
        """Send whole frames; dropped when the socket is closing."""
        if self._protocol.state is OPEN and self._closing is None and not self.cut:
            self._transport.write(frames)
            self.written += len(frames)
            if self.written >= self.mark:
                self._pass_mark()

    def _pass_mark(self) -> None:
        if self._pacer is None:
            self._pacer = Pacer(self._connection, self._connection.checks, self._look)
        self._pacer.wrote(self.written)
        self._follow(self._pacer)

    def pong_taken(self, payload: bytes) -> bool:
        """Take a pong; return whether it tells how far the client has read."""
        pacer = self._pacer
        if pacer is None or not pacer.pong_taken(payload, self.written):
            return False
        self._follow(pacer)
        return True

    def _look(self) -> None:
        if self._pacer is not None:
            self._pacer.look(self.written)
            self._follow(self._pacer)

    def _follow(self, pacer: Pacer) -> None:
        """Write on, or wait, as the pace says."""
        self._limit = pacer.pace.limit
        self.mark = pacer.mark
        self.settle()

    @property
    def under_way(self) -> int:
        """Bytes that the client's library may not have read; 0 where nobody knows."""
        return 0 if self._pacer is None else self._pacer.pace.under_way(self.written)

    @property
    def overdue(self) -> bool:
        """Whether it is paused for a client that has not answered in time."""
        return self._pacer is not None and self._pacer.pace.late and self.written >= self._limit

    @property
    def patience_s(self) -> float:
        """Seconds for which this client may seem to read nothing."""
        return 0.0 if self._pacer is None else self._pacer.pace.patience_s

    def open_line(self) -> None:
        """Let rooms send by the line."""
        self.open = not self.paused and self._closing is None and not self.cut and self._protocol.state is OPEN

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake; cut the socket when it does not end in time.

        Of the reason the client gets as much as a close frame may hold.
        """
        self.open = False
        if self._closing is None:
            parting = self.door.part(code, reason, self.codec)
            if parting.last_words:
                self.write(parting.last_words)
            self.close_code = parting.code
            reason = _within_a_frame(parting.reason)
            self._closing = self._connection.loop.create_task(self._close(parting.code, reason))
        if code == CloseCode.OPERATOR:  # whoever it is that is sent away may not stay for as long as it reads nothing
            self._connection.loop.call_later(_OPERATOR_S, self._connection.cut)

    async def _close(self, code: int, reason: str) -> None:
        connection = self._connection
        try:
            # The library's own time-out starts when the close frame has left the buffer; this one, now.
            async with asyncio.timeout(connection.close_s):
                await connection.close(code, reason)
        except ConnectionClosed:
            pass
        except TimeoutError:
            connection.cut()

    def trust(self) -> None:
        """Let more be under way, and more frames be read at once."""
        self._most = _UNDER_WAY_TRUSTED
        self._connection.trust()

    def take(self, text: str) -> bool:
        """Hand a text message to the actor, unless too much of what was asked for is under way.

        What comes behind the message that the router closes for is dropped.
        """
        if self._closing is not None:
            return True
        if self.busy:
            return False
        self.begin()
        self._mailbox.tell(Frame(text))
        return True

    async def receive(self, message: str | bytes) -> None:
        """Hand a message to the actor when not too much is under way any more."""
        if isinstance(message, bytes):
            if self._under_way and self._pressure is not None:  # what was said before is answered before
                await self._down_to(0)
            self.close(CloseCode.BINARY_FRAME, "binary frame; send JSON in text frames")
            return
        while not self.take(message):
            await self.caught_up()

    def begin(self) -> None:
        """Something the client asked for is under way."""
        self._under_way += 1
        if self._under_way == 1 and self._pressure is not None:
            self._pressure.enter()

    def done(self) -> None:
        """It has been dealt with."""
        self._under_way -= 1
        if not self._under_way and self._pressure is not None:
            self._pressure.leave()
        if self._caught_up is not None and self._under_way <= self._go_on_at:
            self._release()

    @property
    def busy(self) -> bool:
        """Whether so much is under way that nothing more is read."""
        return self._pressure is not None and self._under_way >= min(self._most, self._pressure.share)

    async def caught_up(self) -> None:
        """Wait until half of it is dealt with, or the socket is gone.

        Meanwhile the client's pongs wait behind what is not read: that they are late says nothing of how it reads.
        """
        if self.busy:
            if self._pressure is not None and self._under_way < self._most:
                self._pressure.felt = True
            if self._pacer is not None:
                self._pacer.excuse(self.written)
                self._follow(self._pacer)
            await self._down_to(self._under_way // 2)
            if self._pacer is not None:
                self._pacer.hear(self.written)
                self._follow(self._pacer)

    async def _down_to(self, under_way: int) -> None:
        """Wait until no more than this is under way, or the socket is gone."""
        self._go_on_at = under_way
        self._caught_up = self._connection.loop.create_future()
        await self._caught_up

    def settle(self) -> None:
        """Be paused, or not, as the socket and the pace say; tell who waits when neither minds any more."""
        if self.overdue:
            self._connection.watch_stall()
        super().settle()

    def _held(self) -> bool:
        return self.written >= self._limit

    def _lags(self) -> bool:
        pace = None if self._pacer is None else self._pacer.pace
        return pace is not None and (pace.slow or (self._held() and pace.late))

    def lost(self) -> None:
        """The socket is gone."""
        self.open = False
        if self._pacer is not None:
            self._pacer.stop()
        if self._under_way and self._pressure is not None:
            self._pressure.leave()
        self._pressure = None
        self._release()

    def _release(self) -> None:
        waiter, self._caught_up = self._caught_up, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _within_a_frame(reason: str) -> str:
    """Cut a reason between two characters where it is too long; the library would raise, and nobody would be closed."""
    return reason.encode()[:_REASON_BYTES].decode(errors="ignore")
