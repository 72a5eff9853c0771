"""Publishers that do not wait: WebSockets of services written to as long as they take it, and batches over HTTP.

In: a server, rooms, and how much may be under way or is due. Out: how many events were acknowledged and refused.
"""

import contextlib
import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from . import native
from .deliveries import event
from .generator import Invalid
from .running import Server
from .websocket import connect, exchange, pongs, text_frame

__all__ = ["BATCH", "STEP", "HttpPublisher", "Publisher", "WebSocketPublisher", "http_publishers", "ws_publishers"]

BATCH = 100
"""Events in one request, and in one write to a WebSocket."""
STEP = 10**12
"""The stamps of a publisher's events count up from its number times this."""

_READ_BYTES = 256 * 1024
_TIMEOUT_S = 10.0
_SEND_BUFFER = 64 * 1024
"""What waits in the kernel for the server to read it is answered some time; it says nothing of the server."""
_RECEIPT = b'"type":"published"'
_ERROR = b'"type":"error"'
_BUSY = b'"code":"busy"'
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Publisher(ABC):
    """One connection that publishes.

    Args:
        sock: connected.
        number: its place among the publishers, from 1 on.
        rooms: where the events go, in turn.
    """

    def __init__(self, sock: socket.socket, number: int, rooms: Sequence[bytes]) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.sent = self.acknowledged = self.refused = 0
        """Events."""
        self._rooms = rooms
        self._first = number * STEP
        self._unsent = b""
        self._rest = b""

    @property
    def under_way(self) -> int:
        """Events that are not answered."""
        return self.sent - self.acknowledged - self.refused

    def flush(self) -> bool:
        """Write what is left; return whether all of it is written."""
        if self._unsent:
            with contextlib.suppress(BlockingIOError):
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        return not self._unsent

    def publish(self) -> bool:
        """Publish a batch unless the last one is not written yet; return whether it was."""
        if not self.flush():
            return False
        first, self.sent = self.sent, self.sent + BATCH
        rooms, stamps = self._rooms, self._first
        self._unsent = self._pack([(rooms[n % len(rooms)], event(stamps + n)) for n in range(first, first + BATCH)])
        self.flush()
        return True

    def read(self) -> None:
        """Take what has come.

        Raises:
            Invalid: it is no receipt and no refusal as busy, or the server closed the connection.
        """
        try:
            read = self.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        if not read:
            raise Invalid(f"the server closed a publisher: {self._rest[-200:]!r}")
        self._take(read)

    @abstractmethod
    def _pack(self, events: list[tuple[bytes, bytes]]) -> bytes:
        """Return a batch of (room, data) as it is sent."""

    @abstractmethod
    def _take(self, read: bytes) -> None:
        """Count what an answer says."""


class WebSocketPublisher(Publisher):
    """A service that does not wait for receipts."""

    def _pack(self, events: list[tuple[bytes, bytes]]) -> bytes:
        return b"".join(text_frame(native.publish(1, room, data)) for room, data in events)

    def _take(self, read: bytes) -> None:
        if answer := pongs(read):
            self._unsent += answer  # behind what is being written, which may end within a frame
        # Up to the last whole message: each ends in a brace, and the next one's header holds none.
        chunk = self._rest + read
        end = chunk.rfind(b"}") + 1
        whole, self._rest = chunk[:end], chunk[end:]
        busy = whole.count(_BUSY)
        if whole.count(_ERROR) != busy:
            raise Invalid(f"a publisher was told {whole[-300:]!r}")
        self.acknowledged += whole.count(_RECEIPT)
        self.refused += busy


class HttpPublisher(Publisher):
    """A service that sends a batch over HTTP, and the next one when that is answered.

    Args:
        head: The request line and headers, up to the length of the body.
    """

    def __init__(self, sock: socket.socket, number: int, rooms: Sequence[bytes], head: bytes) -> None:
        super().__init__(sock, number, rooms)
        self._head = head

    def _pack(self, events: list[tuple[bytes, bytes]]) -> bytes:
        body = b"[" + b",".join(native.item(room, data) for room, data in events) + b"]"
        return self._head + b"%d\r\n\r\n" % len(body) + body

    def _take(self, read: bytes) -> None:
        self._rest += read
        head, end, body = self._rest.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not end or length is None or len(body) < int(length[1]):
            return
        self._rest = b""
        if head.startswith(b"HTTP/1.1 503 ") and b"retry-after:" in head.lower():
            self.refused += BATCH
            return
        acknowledged, busy = body.count(b'"duplicate":false'), body.count(_BUSY)
        if not head.startswith(b"HTTP/1.1 200 ") or acknowledged + busy != BATCH:
            raise Invalid(f"a batch was answered with {head[:80]!r} {body[:300]!r}")
        self.acknowledged += acknowledged
        self.refused += busy


def ws_publishers(server: Server, rooms: Sequence[str], count: int) -> list[Publisher]:
    """Connect services over WebSockets."""

    def make(number: int, token: str) -> Publisher:
        sock = connect(server.port, native.PATH, _TIMEOUT_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        exchange(sock, native.hello(token), b'"welcome"')
        return WebSocketPublisher(sock, number, [room.encode() for room in rooms])

    return _make(server, count, make)


def http_publishers(server: Server, rooms: Sequence[str], count: int) -> list[Publisher]:
    """Connect services over HTTP."""

    def make(number: int, token: str) -> Publisher:
        head = (
            f"POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1:{server.api_port}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        sock = socket.create_connection(("127.0.0.1", server.api_port), timeout=_TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return HttpPublisher(sock, number, [room.encode() for room in rooms], head.encode())

    return _make(server, count, make)


def _make(server: Server, count: int, make: Callable[[int, str], Publisher]) -> list[Publisher]:
    token = native.token(server.secret, "bench", "service")
    return [make(number, token) for number in range(1, count + 1)]
