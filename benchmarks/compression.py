"""`compression`: progress of one session to many subscribers, plain and compressed; bytes and CPU for each delivery.

In: a request. Out: its figures. Compressed bytes carry no mark that could be counted, so here the heads of frames are
read. What some subscribers received is kept and inflated afterwards: every event must be there, once and in order.
"""

import gc
import json
import re
import select
import socket
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .benchmark import CPU_COLUMNS, Benchmark, Column, Load, Shares
from .dialects import DIALECTS
from .generator import Invalid, Request, Span, answer
from .websocket import connect, exchange, text_frame

__all__ = ["COMPRESSION", "measure"]

_ROOM = "session:bench"
_EVENTS_PER_S = 20
_LOG_LINES = 16
_OFFER = "permessage-deflate; client_max_window_bits"
_KEPT_EVERY = 50
_TIMEOUT_S = 10.0
_READ_BYTES = 64 * 1024
_TEXT, _DEFLATED_TEXT, _PING = 0x81, 0xC1, 0x89
_CURRENT = re.compile(rb'"current": ?(\d+)')
_TAIL = b"\x00\x00\xff\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Shares):
    """What one measurement gave."""

    deliveries: float
    bytes_per_delivery: float
    """On the wire, heads of frames included, those of TCP not."""
    cpu_us_per_delivery: float
    """User and system time of the server process."""


class _Subscriber:
    """One connection: what it receives is split into frames."""

    def __init__(self, sock: socket.socket, *, kept: bool) -> None:
        self._sock = sock
        self._rest = b""
        self._kept: list[bytes] | None = [] if kept else None
        self.events = 0
        self.bytes = 0

    def read(self) -> int:
        """Read once and return how many events it brought."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            raise Invalid("the server closed a subscriber")
        self.bytes += len(data)
        data, at, events = self._rest + data, 0, 0
        while (end := _end_of_frame(data, at)) <= len(data):
            if data[at] in (_TEXT, _DEFLATED_TEXT):
                events += 1
                if self._kept is not None:
                    self._kept.append(data[at:end])
            elif data[at] == _PING:
                self._sock.send(bytes((0x8A, 0x80 | data[at + 1])) + bytes(4) + data[at + 2 : end])
            at = end
        self._rest = data[at:]
        self.events += events
        return events

    def currents(self) -> list[int] | None:
        """Return the number in each event received, or `None` where they were not kept."""
        if self._kept is None:
            return None
        inflater = zlib.decompressobj(-15)  # one for all: a server may refer to earlier messages, or not
        texts = (
            inflater.decompress(frame[_head_bytes(frame, 0) :] + _TAIL)
            if frame[0] == _DEFLATED_TEXT
            else frame[_head_bytes(frame, 0) :]
            for frame in self._kept
        )
        return [int(found.group(1)) for text in texts if (found := _CURRENT.search(text))]


def measure(request: Request) -> Figures:
    """Connect, warm up, publish steadily and verify every delivery.

    Raises:
        Invalid: a subscriber missed an event, or got one twice.
        OSError: the server could not be reached, or went away.
    """
    port, dialect, settings = request.server.port, DIALECTS[request.dialect], request.settings
    offer = _OFFER if request.load.startswith("deflate") else None
    subscribers: dict[int, _Subscriber] = {}
    sockets: list[socket.socket] = []
    epoll = select.epoll()
    try:
        for number in range(settings.subscribers):
            sock = connect(port, dialect.path, _TIMEOUT_S, offer)
            sockets.append(sock)
            for step in dialect.greeting:
                exchange(sock, step.send, step.expect)
            sock.sendall(text_frame(dialect.subscribe(_ROOM).send or b""))
            sock.setblocking(False)
            epoll.register(sock.fileno(), select.EPOLLIN)
            subscribers[sock.fileno()] = _Subscriber(sock, kept=number % _KEPT_EVERY == 0)
        publisher = connect(port, dialect.path, _TIMEOUT_S)
        sockets.append(publisher)
        for step in dialect.greeting:
            exchange(publisher, step.send, step.expect)
        publisher.setblocking(False)
        return _drive(request, subscribers, epoll, publisher)
    finally:
        epoll.close()
        for sock in sockets:
            sock.close()


def _drive(
    request: Request, subscribers: dict[int, _Subscriber], epoll: select.epoll, publisher: socket.socket
) -> Figures:
    gc.disable()
    messages = _messages(request.dialect, _LOG_LINES if request.load.endswith("-log") else 0)
    total = len(subscribers)
    _settle(subscribers, epoll, total)  # each has the answer to its subscription
    published = _publish(messages, publisher, subscribers, epoll, request.warm_up_s)
    deliveries_before = _settle(subscribers, epoll, total * (1 + published))
    bytes_before = sum(subscriber.bytes for subscriber in subscribers.values())

    span = Span(request.server)
    published += _publish(messages, publisher, subscribers, epoll, request.settings.seconds)
    deliveries = _settle(subscribers, epoll, total * (1 + published)) - deliveries_before
    span.end()

    for subscriber in subscribers.values():
        if subscriber.events != 1 + published:
            raise Invalid(f"a subscriber has {subscriber.events - 1} events of {published}")
        if (currents := subscriber.currents()) is not None and currents != list(range(published)):
            raise Invalid("a subscriber received the events out of order, or one twice and another not at all")
    received = sum(subscriber.bytes for subscriber in subscribers.values()) - bytes_before
    return Figures(
        deliveries=deliveries,
        bytes_per_delivery=received / deliveries,
        cpu_us_per_delivery=span.server_s * 1e6 / deliveries,
        **span.shares,
    )


def _publish(
    messages: Iterator[bytes],
    publisher: socket.socket,
    subscribers: dict[int, _Subscriber],
    epoll: select.epoll,
    seconds: float,
) -> int:
    """Publish each event at its own time; return how many."""
    start, total = time.monotonic(), max(1, int(_EVENTS_PER_S * seconds))
    for number in range(total):
        while (left := start + number / _EVENTS_PER_S - time.monotonic()) > 0:
            _pump(subscribers, epoll, left)
        publisher.sendall(next(messages))
    return total


def _settle(subscribers: dict[int, _Subscriber], epoll: select.epoll, wanted: int) -> int:
    """Read until so many events have arrived; return how many have."""
    while (have := sum(subscriber.events for subscriber in subscribers.values())) < wanted:
        if not _pump(subscribers, epoll, _TIMEOUT_S):
            raise Invalid(f"stalled: {wanted - have} of {wanted} deliveries are missing")
    return have


def _pump(subscribers: dict[int, _Subscriber], epoll: select.epoll, timeout_s: float) -> int:
    ready = epoll.poll(timeout_s, len(subscribers))
    for fd, _ in ready:
        subscribers[fd].read()
    return len(ready)


def _messages(dialect: str, lines: int) -> Iterator[bytes]:
    """Yield the publisher's frames: progress of an import, with what changes in such a thing changing.

    Postroom puts an event's place, id, time and estimates into it; for a relay, which does not, they are in the data.
    """
    current = 0
    while True:
        data: dict[str, object] = {
            "current": current,
            "total": 100_000,
            "message": "\n".join(
                [f"Importing row {current * 17} of customers.csv"]
                + [
                    f"row {current * 17 + line}: skipped, no customer {zlib.crc32(b'%d' % line)}"
                    for line in range(lines)
                ]
            ),
            "unit": "rows",
        }
        message: dict[str, object] = {"type": "publish", "room": _ROOM, "kind": "progress", "key": "import"}
        if dialect == "relay":
            seconds, ms = divmod(current * 50, 1000)
            estimates = {
                "percent": current / 1000,
                "rate": 20.0,
                "elapsed_s": current / 20,
                "eta_s": 5000 - current / 20,
            }
            data = {
                "offset": current + 1,
                "prev": current,
                "id": f"{zlib.crc32(b'%d' % current):032x}",
                "kind": "progress",
                "time": f"2026-01-01T12:{seconds // 60:02d}:{seconds % 60:02d}.{ms:03d}Z",
                "data": data | estimates,
                "key": "import",
                "delivery": "latest",
            }
        yield text_frame(json.dumps(message | {"data": data}, separators=(",", ":")).encode())
        current += 1


def _end_of_frame(data: bytes, at: int) -> int:
    """Return where the frame that begins at `at` ends; beyond the data where its head is not whole."""
    if len(data) < at + 2:
        return at + 2
    head = _head_bytes(data, at)
    if len(data) < at + head:
        return at + head
    size = data[at + 1] if head == 2 else int.from_bytes(data[at + 2 : at + head], "big")
    return at + head + size


def _head_bytes(data: bytes, at: int) -> int:
    return {126: 4, 127: 10}.get(data[at + 1], 2)


def _load(name: str, events: str, what: str) -> Load:
    return Load(
        name=name,
        title=lambda settings: (
            f"1 room x {settings.subscribers} subscribers, {_EVENTS_PER_S} {events}/s, clients that {what}"
        ),
        compared="cpu_us_per_delivery",
    )


def _progress(figures: Shares) -> str:
    assert isinstance(figures, Figures)
    return f"{figures.bytes_per_delivery:>7.1f} bytes/delivery {figures.cpu_us_per_delivery:>7.2f} us"


COMPRESSION = Benchmark(
    name="compression",
    generator="benchmarks.compression",
    figures=Figures,
    loads=(
        _load("plain", "small events", "offer no compression"),
        _load("deflate", "small events", "offer permessage-deflate, as browsers do"),
        _load("plain-log", "events of 1 KiB", "offer no compression"),
        _load("deflate-log", "events of 1 KiB", "offer permessage-deflate, as browsers do"),
    ),
    peers=("deflate", "broadcast-deflate"),
    columns=(
        Column("bytes/delivery", 16, "bytes_per_delivery", ".1f"),
        Column("CPU us/delivery", 17, "cpu_us_per_delivery", ".2f"),
        *CPU_COLUMNS,
    ),
    progress=_progress,
    same=("subscribers",),
    notes=(
        "bytes/delivery: on the wire, with the heads of WebSocket frames and without those of TCP and IP.",
        "CPU us/delivery: user and system time of the server process by events that reached subscribers.",
    ),
)


if __name__ == "__main__":
    answer(measure)
