"""Events counted in raw bytes: the reason why the generator keeps up.

In: one subscriber's socket. Out: how many events each read brought, and for a sampled subscriber when each was
published and received. Nothing is parsed: every event carries a mark once, and `count` finds it in whatever frames.
"""

import re
import socket
import time

from .websocket import pongs

__all__ = ["MARK", "Closed", "Subscriber", "event"]

# Long, so that the search skips 17 bytes at a time; no server puts it into an envelope.
MARK = b"~" * 16
_STAMP_DIGITS = 19
_STAMP = re.compile(MARK + rb"(\d{%d})" % _STAMP_DIGITS)
_EVENT_BYTES = 130

# The end of the last read is put before the next one, so a mark or a stamp cut in two is found; it is one byte too
# short to hold a whole one, so none is found twice.
_TAIL = len(MARK) + _STAMP_DIGITS - 1
_MARK_TAIL_AT = _TAIL - (len(MARK) - 1)
_READ_BYTES = 256 * 1024
_PING = 0x89

_BEFORE_STAMP = b'{"stamp":"' + MARK
_AFTER_STAMP = b'","text":"' + b"All work and no play makes a dull benchmark. " * 3
_AFTER_STAMP = _AFTER_STAMP[: _EVENT_BYTES - len(_BEFORE_STAMP) - _STAMP_DIGITS - 2] + b'"}'

# Subscribers are read one after the other, so one buffer serves all.
_buffer = bytearray(_TAIL + _READ_BYTES)
_room_behind_tail = memoryview(_buffer)[_TAIL:]


class Closed(ConnectionError):
    """The server closed a subscriber's connection."""


def event(published_ns: int) -> bytes:
    """Return an event of 130 bytes, a JSON object with the mark and the time it was published."""
    return _BEFORE_STAMP + b"%0*d" % (_STAMP_DIGITS, published_ns) + _AFTER_STAMP


class Subscriber:
    """One connection that receives the room's events.

    Args:
        sock: connected, subscribed and non-blocking.
        sampled: whether the time of every event is kept.
    """

    __slots__ = ("_receive", "_sock", "_tail", "received", "samples")

    def __init__(self, sock: socket.socket, *, sampled: bool) -> None:
        self._sock = sock
        self._receive = sock.recv_into
        self._tail = bytearray(_TAIL)
        self.received = 0
        self.samples: list[tuple[int, list[bytes]]] | None = [] if sampled else None
        """(received ns, [published ns, ..]) per read, or `None` when not sampled."""

    def read(self) -> int:
        """Read once what has arrived, answer pings, and return the count of all events received so far.

        Raises:
            Closed: the server closed the connection.
        """
        try:
            size = self._receive(_room_behind_tail)
        except BlockingIOError:
            return self.received
        if not size:
            raise Closed(f"the server closed a subscriber after {self.received} events")
        end = _TAIL + size
        _buffer[:_TAIL] = self._tail
        self.received += _buffer.count(MARK, _MARK_TAIL_AT, end)
        if self.samples is not None:
            self.samples.append((time.monotonic_ns(), _STAMP.findall(_buffer, 0, end)))
        if _buffer.find(_PING, _TAIL, end) >= 0 and (answer := pongs(bytes(_buffer[_TAIL:end]))):
            self._sock.send(answer)
        self._tail = _buffer[size:end]
        return self.received
