"""Events counted in raw bytes: the reason why the generator keeps up.

In: one subscriber's socket. Out: how many events each read brought, and for a sampled subscriber when each was
published and received. Nothing is parsed: every event carries a mark once, and `count` finds it in whatever frames.
"""

import re
import socket
import time

from .websocket import PING_BYTES, pongs

__all__ = ["AROUND_STAMP", "MARK", "Closed", "Subscriber", "event", "stamp"]

# Long, so that the search skips 17 bytes at a time; no server puts it into an envelope.
MARK = b"~" * 16
_STAMP_DIGITS = 19
_STAMP = re.compile(MARK + rb"(\d{%d})" % _STAMP_DIGITS)
_EVENT_BYTES = 130

# The end of the last read is put before the next one, so a mark or a stamp cut in two is found; it is one byte too
# short to hold a whole one, so none is found twice.
_TAIL = len(MARK) + _STAMP_DIGITS - 1
_MARK_TAIL_AT = _TAIL - (len(MARK) - 1)
# Behind these no mark or stamp is cut in two, for neither contains them. Most reads end so.
_LAST_OF_FRAME = b"}]"
_NOTHING = bytearray()
_READ_BYTES = 256 * 1024
_PING = 0x89

_BEFORE_STAMP = b'{"stamp":"' + MARK
_AFTER_STAMP = b'","text":"' + b"All work and no play makes a dull benchmark. " * 3
_AFTER_STAMP = _AFTER_STAMP[: _EVENT_BYTES - len(_BEFORE_STAMP) - _STAMP_DIGITS - 2] + b'"}'
AROUND_STAMP = _BEFORE_STAMP, _AFTER_STAMP
"""What comes before and after the stamp of every event."""

# Subscribers are read one after the other, so one buffer serves all.
_buffer = bytearray(_TAIL + _READ_BYTES)
_room_behind_tail = memoryview(_buffer)[_TAIL:]


class Closed(ConnectionError):
    """The server closed a subscriber's connection."""


def event(published_ns: int) -> bytes:
    """Return an event of 130 bytes, a JSON object with the mark and the time it was published."""
    return _BEFORE_STAMP + stamp(published_ns) + _AFTER_STAMP


def stamp(published_ns: int) -> bytes:
    """Return the time an event was published as it stands in the event."""
    return b"%0*d" % (_STAMP_DIGITS, published_ns)


class Subscriber:
    """One connection that receives the room's events.

    Args:
        sock: connected, subscribed and non-blocking.
        sampled: whether the time of every event is kept.
        heartbeat: the frame in which the server asks for an answer, beside WebSocket's pings; `None`: there is none.
    """

    __slots__ = ("_heartbeat", "_receive", "_sock", "_tail", "samples")

    def __init__(self, sock: socket.socket, *, sampled: bool, heartbeat: bytes | None = None) -> None:
        self._sock = sock
        self._heartbeat = heartbeat
        self._receive = sock.recv_into
        self._tail = _NOTHING
        self.samples: list[tuple[int, list[bytes]]] | None = [] if sampled else None
        """(received ns, [published ns, ..]) per read, or `None` when not sampled."""

    def read(self) -> int:
        """Read once what has arrived, answer pings, and return how many events it brought.

        Raises:
            Closed: the server closed the connection.
        """
        try:
            size = self._receive(_room_behind_tail)
        except BlockingIOError:
            return 0
        if not size:
            raise Closed("the server closed a subscriber")
        end = _TAIL + size
        start = mark_start = _TAIL
        if tail := self._tail:
            start -= len(tail)
            mark_start = max(start, _MARK_TAIL_AT)
            _buffer[start:_TAIL] = tail
        events = _buffer.count(MARK, mark_start, end)
        if self.samples is not None:
            self.samples.append((time.monotonic_ns(), _STAMP.findall(_buffer, start, end)))
        ping_start = max(start, _TAIL - (PING_BYTES - 1))  # one may be cut in two
        asked = _buffer.find(_PING, ping_start, end) >= 0 or (
            self._heartbeat is not None and _buffer.find(self._heartbeat, ping_start, end) >= 0
        )
        if asked and (answer := pongs(bytes(_buffer[ping_start:end]), behind=_TAIL - ping_start)):
            self._sock.send(answer)
        self._tail = _NOTHING if _buffer[end - 1] in _LAST_OF_FRAME else _buffer[max(start, size) : end]
        return events
