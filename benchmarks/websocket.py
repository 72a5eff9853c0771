"""The client's side of RFC 6455, as little of it as a load generator needs.

In: where to connect and payloads to send. Out: an upgraded socket and client frames as bytes. While time counts,
frames that arrive are not parsed: `deliveries` counts events in the raw bytes. `messages` is for afterwards.
"""

import base64
import os
import re
import socket
from collections.abc import Iterator

__all__ = [
    "PING_BYTES",
    "HandshakeFailed",
    "come_in",
    "connect",
    "exchange",
    "expect",
    "knock",
    "messages",
    "pongs",
    "text_frame",
    "upgrade",
]

# A server's ping with a payload of at most 31 bytes. JSON never looks like it, for it holds no control characters, nor
# does the length of a text frame: the byte after it is the first of a printable payload.
# Other protocols ask with a message of their own instead, too short to be anything else.
_PING = re.compile(rb"\x89([\x00-\x1f])|\x81(\x02\{\}|\x012)")
_ANSWERS = {b"\x02{}": b"{}", b"\x012": b"3"}
PING_BYTES = 6
"""A ping of Postroom's, with its payload of 4 bytes; the others are shorter."""
_NO_MASK = bytes(4)
_HEAD_END = b"\r\n\r\n"
_HEAD_BYTES = 4096
_TEXT = 0x81


class HandshakeFailed(ConnectionError):
    """The server answered something else than 101 or the expected message."""


def connect(port: int, path: str, timeout_s: float, extensions: str | None = None) -> socket.socket:
    """Open a WebSocket to a loopback port and return its socket, still blocking, just behind the handshake.

    Raises:
        HandshakeFailed: the server did not upgrade the connection.
        OSError: nobody listens, or nothing came for `timeout_s`.
    """
    sock = knock(port, path, timeout_s, extensions)
    come_in(sock, path)
    return sock


def knock(port: int, path: str, timeout_s: float, extensions: str | None = None) -> socket.socket:
    """Connect to a loopback port and ask for the upgrade, the first half of `connect`."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(upgrade(port, path, extensions))
    return sock


def come_in(sock: socket.socket, path: str) -> None:
    """Read the answer to the upgrade, the second half of `connect`; raises as that does."""
    head = b""
    while not head.endswith(_HEAD_END) and (seen := sock.recv(_HEAD_BYTES, socket.MSG_PEEK)):
        # What follows the head (socket.io speaks first) stays in the socket.
        end = (head + seen).find(_HEAD_END)
        head += sock.recv(len(seen) if end < 0 else end + len(_HEAD_END) - len(head))
    status = head.partition(b"\r\n")[0]
    if b" 101 " not in status + b" ":
        sock.close()
        raise HandshakeFailed(f"no upgrade on {path}: {status.decode(errors='replace') or 'closed'}")


def upgrade(port: int, path: str, extensions: str | None = None) -> bytes:
    """Return the request that opens a WebSocket (RFC 6455, 4.1)."""
    offer = "" if extensions is None else f"Sec-WebSocket-Extensions: {extensions}\r\n"
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    ).encode()


def exchange(sock: socket.socket, payload: bytes | None, part: bytes) -> bytes:
    """Send a message, or nothing, and return what comes up to and beyond `part`.

    Raises:
        HandshakeFailed: the server closed the connection before.
        OSError: nothing came within the socket's time-out.
    """
    if payload is not None:
        sock.sendall(text_frame(payload))
    return expect(sock, part)


def expect(sock: socket.socket, part: bytes) -> bytes:
    """Return what comes up to and beyond `part`; raises as `exchange` does."""
    answer = b""
    while part not in answer:
        read = sock.recv(65536)
        if not read:
            raise HandshakeFailed(f"closed after {answer[:200]!r}, expected {part!r}")
        answer += read
    return answer


def text_frame(payload: bytes) -> bytes:
    """Return `payload` as one text frame of a client, masked with zero (RFC 6455, 5.3), so that it stays readable."""
    return _frame(_TEXT, payload)


def pongs(chunk: bytes, behind: int = 0) -> bytes:
    """Return the pongs that answer all whole pings in `chunk` that end beyond its first bytes, or nothing."""
    answers = []
    for ping in _PING.finditer(chunk):
        end = ping.end() + (ping[1][0] if ping[1] else 0)
        if behind < end <= len(chunk):
            answers.append(_frame(0x8A, chunk[ping.end() : end]) if ping[1] else text_frame(_ANSWERS[ping[2]]))
    return b"".join(answers)


def messages(received: bytes | bytearray) -> Iterator[bytes]:
    """Yield the payloads of the whole text frames in what was received, from a server that sends no fragments."""
    at, end = 0, len(received)
    while at + 4 <= end:
        size, start = received[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(received[start : start + 2], "big"), start + 2
        elif size == 127:
            size, start = int.from_bytes(received[start : start + 8], "big"), start + 8
        if start + size > end:
            return
        if received[at] == _TEXT:
            yield bytes(received[start : start + size])
        at = start + size


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else bytes((0x80 | 126,)) + size.to_bytes(2, "big")
    return bytes((first,)) + length + _NO_MASK + payload
