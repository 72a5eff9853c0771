"""Publishers that wait for receipts: batches over HTTP, and one WebSocket with many publishes under way.

In: a server and for how long. Out: how many publishes were acknowledged, and how long each took.
"""

import re
import secrets
import select
import socket
import time
from collections.abc import Sequence
from typing import Protocol

from . import native
from .deliveries import event
from .generator import Invalid
from .running import Server
from .websocket import connect, exchange, pongs, text_frame

__all__ = ["BATCH", "HTTP_CONNECTIONS", "IN_FLIGHT", "Batches", "HttpConnection", "Pipeline", "Publishers"]

BATCH = 100
"""Events in one request."""
HTTP_CONNECTIONS = 4
"""Each waits for the answer before it sends the next batch."""
IN_FLIGHT = 2000
"""Publishes on the WebSocket without a receipt."""

_TIMEOUT_S = 10.0
_READ_BYTES = 256 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
# Only a publish without an `id` of its own would have none here, and data has no field of this name.
_RECEIPT = re.compile(rb'"id":(\d+)[,}]')


class Publishers(Protocol):
    """One way to publish."""

    acknowledged: int
    """Publishes with a receipt, each counted once."""
    waits_ms: list[float]
    """From sending to receipt, of each of them."""

    def run(self, seconds: float) -> None:
        """Publish as fast as it goes, and wait for the last receipt.

        Raises:
            Invalid: a publish was refused, or not answered.
        """

    def close(self) -> None:
        """Close every connection."""


class HttpConnection:
    """One keep-alive connection to `POST /v1/publish`.

    Args:
        port: of the HTTP API, on loopback.
        token: a service's.
    """

    def __init__(self, port: int, token: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = (
            f"POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._answer = b""
        self._count = 0

    def send(self, items: Sequence[bytes]) -> None:
        """Send a batch; the answer before this one must have been read."""
        body = b"[" + b",".join(items) + b"]"
        self._count = len(items)
        self.sock.sendall(self._head + b"%d\r\n\r\n" % len(body) + body)

    def read(self) -> int:
        """Read once; return how many events were acknowledged, which is none before the answer is whole.

        Raises:
            Invalid: the answer is another one.
        """
        chunk = self.sock.recv(_READ_BYTES)
        if not chunk:
            raise Invalid("the server closed a publisher's connection")
        self._answer += chunk
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return 0
        length = _LENGTH.search(head + b"\r\n")
        if length is None:
            raise Invalid(f"an answer without a length: {head[:300]!r}")
        if len(body) < int(length[1]):
            return 0
        # A duplicate would be a receipt without an event.
        if not head.startswith(b"HTTP/1.1 200 ") or body.count(b'"duplicate":false') != self._count:
            raise Invalid(f"{self._count} events were answered with {head[:80]!r} {body[:300]!r}")
        self._answer = b""
        return self._count

    def ask(self, items: Sequence[bytes]) -> None:
        """Publish a batch and wait for its receipts; raises as `read` does."""
        self.send(items)
        while not self.read():
            pass


class Batches:
    """Batches over a few HTTP connections.

    Args:
        server: Postroom.
        rooms: where the events go, in turn.
        named: whether each event has an id of its own, as a service that may have to repeat itself gives it.
    """

    def __init__(self, server: Server, rooms: Sequence[str], *, named: bool) -> None:
        self.acknowledged = 0
        self.waits_ms: list[float] = []
        self._rooms = [room.encode() for room in rooms]
        self._ids = secrets.token_hex(4).encode() if named else None
        self._sent = 0
        token = native.token(server.secret, "bench", "service")
        self._connections = [HttpConnection(server.api_port, token) for _ in range(HTTP_CONNECTIONS)]
        self._idle = list(self._connections)
        self._by_fd = {connection.sock.fileno(): connection for connection in self._connections}
        self._epoll = select.epoll()
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN)

    def run(self, seconds: float) -> None:
        """Publish as fast as it goes, and wait for the last receipt; raises `Invalid`."""
        end = time.monotonic() + seconds
        sent_at: dict[HttpConnection, float] = {}
        while True:
            now = time.monotonic()
            while self._idle and now < end:
                connection = self._idle.pop()
                connection.send(self._batch())
                sent_at[connection] = now
            if len(self._idle) == len(self._connections):
                return
            ready = self._epoll.poll(_TIMEOUT_S)
            if not ready:
                raise Invalid(f"no answer for {_TIMEOUT_S:g} s")
            for fd, _ in ready:
                connection = self._by_fd[fd]
                if count := connection.read():
                    self.acknowledged += count
                    self.waits_ms += [(time.monotonic() - sent_at[connection]) * 1000] * count
                    self._idle.append(connection)

    def close(self) -> None:
        """Close every connection."""
        self._epoll.close()
        for connection in self._connections:
            connection.sock.close()

    def _batch(self) -> list[bytes]:
        first, self._sent = self._sent, self._sent + BATCH
        rooms, ids, data = self._rooms, self._ids, event(time.monotonic_ns())
        return [
            native.item(rooms[n % len(rooms)], data, None if ids is None else b"%b-%d" % (ids, n))
            for n in range(first, first + BATCH)
        ]


class Pipeline:
    """One WebSocket of a service, which does not wait for a receipt before it goes on.

    Args:
        server: Postroom.
        rooms: where the events go, in turn.
    """

    def __init__(self, server: Server, rooms: Sequence[str]) -> None:
        self.acknowledged = 0
        self.waits_ms: list[float] = []
        self._rooms = [room.encode() for room in rooms]
        self._sent_at: list[float] = []
        """By number; 0 once there is a receipt."""
        self._rest = b""
        self._sock = connect(server.port, native.PATH, _TIMEOUT_S)
        exchange(self._sock, native.hello(native.token(server.secret, "bench", "service")), b'"welcome"')

    def run(self, seconds: float) -> None:
        """Publish as fast as it goes, and wait for the last receipt; raises `Invalid`."""
        end = time.monotonic() + seconds
        while True:
            if (free := IN_FLIGHT - len(self._sent_at) + self.acknowledged) > 0 and time.monotonic() < end:
                self._publish(free)
            if self.acknowledged == len(self._sent_at):
                return
            self._read()

    def close(self) -> None:
        """Close the connection, without a closing handshake."""
        self._sock.close()

    def _publish(self, count: int) -> None:
        first, rooms, data = len(self._sent_at), self._rooms, event(time.monotonic_ns())
        frames = [text_frame(native.publish(n, rooms[n % len(rooms)], data)) for n in range(first, first + count)]
        self._sent_at += [time.monotonic()] * count
        # It waits while the server is slow to read. The receipts meanwhile, IN_FLIGHT of them at most, fit into the
        # kernel's buffers, so the server never waits for this process in turn.
        self._sock.sendall(b"".join(frames))

    def _read(self) -> None:
        read = self._sock.recv(_READ_BYTES)
        if not read:
            raise Invalid("the server closed the publisher")
        if answer := pongs(read):
            self._sock.sendall(answer)
        chunk, end, now = self._rest + read, 0, time.monotonic()
        if b'"error"' in chunk:
            raise Invalid(f"the publisher was told {chunk[:300]!r}")
        for receipt in _RECEIPT.finditer(chunk):
            end, number = receipt.end(), int(receipt[1])
            if not self._sent_at[number]:
                raise Invalid(f"publish {number} was acknowledged twice")
            self.waits_ms.append((now - self._sent_at[number]) * 1000)
            self._sent_at[number] = 0.0
            self.acknowledged += 1
        self._rest = chunk[end:]
