"""Clients that lose their connections all at once, and come back all at once with their positions.

In: a server, rooms and clients. Out: when each client had everything, how often it had to try, and a verdict on whether
it got every event once and in order.
"""

import errno
import heapq
import random
import select
import socket
import struct
import time
from collections.abc import Sequence

import msgspec

from . import native
from .deliveries import MARK
from .generator import Invalid
from .running import Server
from .websocket import connect, exchange, messages, pongs, text_frame, upgrade

__all__ = ["Crowd"]

_TIMEOUT_S = 10.0
_STALL_TIMEOUT_S = 30.0
_LATE_DUPLICATES_S = 0.2
_RETRY_S = (0.5, 1.0)
"""Between these a client that was turned away waits before it tries again, as our own does the first time."""
_READ_BYTES = 256 * 1024
_PING = 0x89
_WELCOME = b'"type":"welcome"'
_RESET = struct.pack("ii", 1, 0)

# Clients are read one after the other, so one buffer serves all.
_buffer = bytearray(_READ_BYTES)
_view = memoryview(_buffer)


class _Joined(msgspec.Struct):
    recovery: str
    replay: int
    offset: int


class _Message(msgspec.Struct):
    """A welcome or an event, as far as it is looked at."""

    type: str
    room: str = ""
    offset: int = 0
    prev: int = 0
    rooms: dict[str, _Joined] = {}


class _Client:
    """One client, over all its connections."""

    __slots__ = ("attempts", "back", "events", "greeted", "number", "position", "received", "room", "sock", "token")

    def __init__(self, number: int, room: str, token: str | None) -> None:
        self.number = number
        self.room = room
        self.token = token
        self.sock: socket.socket
        self.position: native.Position
        """Where it was when its connection was cut."""
        self.attempts = 0
        self.greeted = False
        """Whether the server has upgraded the connection, and the hello is sent."""
        self.received = bytearray()
        """Everything since then; before that, the answer to the handshake."""
        self.events = 0
        self.back: float | None = None
        """When it had everything, as `time.monotonic` tells it."""


class Crowd:
    """Connect all clients on creation, one after the other, each in one room; use as a context manager to cut them.

    Args:
        server: Postroom.
        rooms: the clients are spread over them.
        tokens: one for each client; `None`: it shows none.
    """

    def __init__(self, server: Server, rooms: Sequence[str], tokens: Sequence[str | None]) -> None:
        self._port = server.port
        self._upgrade = upgrade(server.port, native.PATH)
        self._clients: list[_Client] = []
        self._by_fd: dict[int, _Client] = {}
        self._turned_away: list[tuple[float, int]] = []
        """A heap of (when it tries again, which client)."""
        self._epoll = select.epoll()
        try:
            for number, token in enumerate(tokens):
                client = _Client(number, rooms[number % len(rooms)], token)
                client.sock = connect(server.port, native.PATH, _TIMEOUT_S)
                self._clients.append(client)
                exchange(client.sock, native.hello(token), b'"welcome"')
                client.position = native.top(client.sock, client.room)
        except BaseException:
            self.cut()
            raise

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cut()
        self._epoll.close()

    def cut(self) -> None:
        """Reset every connection that is there."""
        for client in self._clients:
            if client.sock.fileno() >= 0:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.sock.close()

    def come_back(self, events: int) -> list[float]:
        """Let all clients connect at once, and wait until each has its welcome and so many events.

        Returns:
            When each of them had everything, in order.

        Raises:
            Invalid: nothing came for 30 s, or a client was closed after its welcome.
        """
        for client in self._clients:
            self._connect(client)
        missing = len(self._clients)
        while missing:
            now = time.monotonic()
            while self._turned_away and self._turned_away[0][0] <= now:
                self._connect(self._clients[heapq.heappop(self._turned_away)[1]])
            wait_s = min(_STALL_TIMEOUT_S, self._turned_away[0][0] - now) if self._turned_away else _STALL_TIMEOUT_S
            ready = self._epoll.poll(wait_s, len(self._clients))
            if not ready and not self._turned_away:
                raise Invalid(f"{missing} of {len(self._clients)} clients are not back, and nothing comes any more")
            for fd, happened in ready:
                client = self._by_fd[fd]
                self._serve(client, happened)
                if client.back is None and client.events >= events and _WELCOME in client.received:
                    client.back = time.monotonic()
                    missing -= 1
        return sorted(client.back for client in self._clients if client.back is not None)

    @property
    def turned_away(self) -> int:
        """How many attempts to come back the server refused or cut."""
        return sum(client.attempts - 1 for client in self._clients)

    def verify(self, events: int) -> None:
        """Check that every client was told `full`, and got every event once, in order.

        Raises:
            Invalid: says what is wrong.
        """
        until = time.monotonic() + _LATE_DUPLICATES_S
        while (left := until - time.monotonic()) > 0:
            for fd, happened in self._epoll.poll(left, len(self._clients)):
                self._serve(self._by_fd[fd], happened)
        for client in self._clients:
            if (wrong := _what_is_wrong(client, events)) is not None:
                raise Invalid(f"client {client.number} in {client.room}: {wrong}")

    def _connect(self, client: _Client) -> None:
        client.attempts += 1
        client.greeted, client.events = False, 0
        client.received.clear()
        client.sock = socket.socket()
        client.sock.setblocking(False)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if (error := client.sock.connect_ex(("127.0.0.1", self._port))) not in (0, errno.EINPROGRESS):
            raise OSError(error, "cannot connect")
        self._by_fd[client.sock.fileno()] = client
        self._epoll.register(client.sock.fileno(), select.EPOLLOUT)

    def _serve(self, client: _Client, happened: int) -> None:
        try:
            if happened & select.EPOLLOUT:
                client.sock.send(self._upgrade)
                self._epoll.modify(client.sock.fileno(), select.EPOLLIN)
            elif size := client.sock.recv_into(_buffer):
                self._take(client, size)
            else:
                self._lost(client)
        except BlockingIOError:
            return
        except ConnectionError:
            self._lost(client)

    def _take(self, client: _Client, size: int) -> None:
        before = len(client.received)
        client.received += _view[:size]
        if not client.greeted:
            self._greet(client)
            return
        # An event whose mark was cut in two is found when the rest is there.
        client.events += client.received.count(MARK, max(0, before - len(MARK) + 1))
        if _buffer.find(_PING, 0, size) >= 0 and (answer := pongs(bytes(_view[:size]))):
            client.sock.send(answer)

    def _greet(self, client: _Client) -> None:
        head, end, _ = client.received.partition(b"\r\n\r\n")
        if not end:
            return
        if b" 101 " not in head.partition(b"\r\n")[0]:
            self._lost(client)
            return
        client.greeted = True
        client.received.clear()  # a server does not speak before the hello
        client.sock.send(text_frame(native.hello(client.token, {client.room: client.position})))

    def _lost(self, client: _Client) -> None:
        if _WELCOME in client.received:
            raise Invalid(f"client {client.number} was closed after its welcome and {client.events} events")
        del self._by_fd[client.sock.fileno()]
        client.sock.close()
        heapq.heappush(self._turned_away, (time.monotonic() + random.uniform(*_RETRY_S), client.number))


def _what_is_wrong(client: _Client, events: int) -> str | None:
    welcome, *rest = (msgspec.json.decode(message, type=_Message) for message in messages(client.received))
    before, top = client.position.offset, client.position.offset + events
    joined = welcome.rooms.get(client.room)
    if joined != _Joined("full", events, top):
        return f"was welcomed with {joined}, to {top} expected"
    for offset, message in enumerate(rest, before + 1):
        if (message.type, message.room, message.offset, message.prev) != ("event", client.room, offset, offset - 1):
            return f"got {message} at {offset}"
    return None if len(rest) == events else f"got {len(rest)} messages, not {events}"
