"""Rooms as the load generator sees them: subscribers, one publisher, and what has arrived.

In: a port, a dialect and rooms. Out: events published, deliveries counted per subscriber, and a verdict on whether
every subscriber received every event of its room once.
"""

import contextlib
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence

from .deliveries import AROUND_STAMP, Closed, Subscriber, stamp
from .dialects import Dialect, Step
from .generator import Invalid
from .websocket import come_in, expect, knock, pongs, text_frame

__all__ = ["Audience"]

_SETUP_TIMEOUT_S = 10.0
_STALL_TIMEOUT_S = 5.0
_LATE_DUPLICATES_S = 0.1
_WAVE = 50
_RESET = struct.pack("ii", 1, 0)


class Audience:
    """Connect all clients on creation, fifty at a time; use as a context manager to close them.

    Args:
        port: where the server listens, on loopback.
        dialect: its protocol.
        rooms: their names; the publisher gives each an event in turn.
        size: how many subscribers each room has, every one on a connection of its own.
        sample_every: every n-th subscriber keeps the times of its events.
        at: where subscribers connect to, a room's one after the other, if not to `port` as the publisher does.
    """

    def __init__(
        self,
        port: int,
        dialect: Dialect,
        rooms: Sequence[str],
        *,
        size: int,
        sample_every: int,
        at: Sequence[int] = (),
    ) -> None:
        self.size = size
        self._at = at or (port,)
        self.published = 0
        """Events, over all rooms."""
        self._published_ns: list[list[int]] = [[] for _ in rooms]
        self._turns = _turns(dialect, rooms, self._published_ns)
        self._unsent = bytearray()
        self._sockets: list[socket.socket] = []
        self._subscribers: list[Subscriber] = []
        self._received = [0] * (len(rooms) * size)
        self._deliveries = 0
        self._index: dict[int, int] = {}
        self._epoll = select.epoll()
        try:
            for first in range(0, len(self._received), _WAVE):
                wave = range(first, min(first + _WAVE, len(self._received)))
                ports = [self._at[index % size % len(self._at)] for index in wave]
                steps = [(*dialect.greeting, dialect.subscribe(rooms[index // size])) for index in wave]
                for index, sock in zip(wave, self._enter(ports, dialect.path, steps), strict=True):
                    self._index[sock.fileno()] = index
                    sampled = index % sample_every == 0
                    self._subscribers.append(Subscriber(sock, sampled=sampled, heartbeat=dialect.heartbeat))
                self.pump(0)  # those who came first are pinged already
            (self._publisher,) = self._enter([port], dialect.path, [dialect.greeting])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Audience":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Reset every connection: thousands that wait for their end would keep their ports from the next ones."""
        self._epoll.close()
        for sock in self._sockets:
            if sock.fileno() >= 0:  # one that was not let in is closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.close()

    def publish(self, count: int) -> None:
        """Send `count` events in one write, each stamped with the time now; what the socket does not take follows."""
        for _, (before, after, published_ns) in zip(range(count), self._turns, strict=False):
            now = time.monotonic_ns()
            published_ns.append(now)
            self._unsent += before + stamp(now) + after
        self.published += count
        self._send()

    def pump(self, timeout_s: float) -> int:
        """Read from every connection that has something, waiting at most `timeout_s`; return how many there were."""
        ready = self._epoll.poll(timeout_s, len(self._sockets))
        received, index, subscribers = self._received, self._index, self._subscribers
        try:
            for fd, happened in ready:
                if (i := index.get(fd)) is not None:
                    new = subscribers[i].read()
                    received[i] += new
                    self._deliveries += new
                elif happened & select.EPOLLOUT:
                    self._send()
                else:
                    self._read_publisher()
        except OSError as error:
            raise Invalid(str(error)) from error
        return len(ready)

    def in_flight(self, place: int | None = None) -> int:
        """Return how many published events some subscriber of their room has yet to receive.

        Args:
            place: of `at`: only those who connected there count; `None`: all do.
        """
        received, size = self._received, self.size
        start, step = (0, 1) if place is None else (place, len(self._at))
        return self.published - sum(
            min(received[at + start : at + size : step]) for at in range(0, len(received), size)
        )

    def free(self, in_flight: int) -> int:
        """Return how many more events may be published until so many are in flight, or 0."""
        # As if no subscriber were ahead of another: far quicker to tell, and never too many.
        if self.published - self._deliveries // self.size >= in_flight:
            return 0
        return max(0, in_flight - self.in_flight())

    def deliveries(self) -> int:
        """Return how many events have arrived, over all subscribers."""
        return self._deliveries

    def settle(self) -> None:
        """Read until every subscriber has received every event of its room.

        Raises:
            Invalid: no event came for 5 s, although some are missing.
        """
        deliveries, until = self._deliveries, time.monotonic() + _STALL_TIMEOUT_S
        while self.in_flight() > 0:
            self.pump(_STALL_TIMEOUT_S)
            if self._deliveries > deliveries:
                deliveries, until = self._deliveries, time.monotonic() + _STALL_TIMEOUT_S
            elif time.monotonic() > until:
                raise Invalid(f"stalled: {self._shortfall()}")

    def verify(self) -> None:
        """Check that every subscriber received every event of its room, each once and, where sampled, in order.

        Raises:
            Invalid: says what is wrong.
        """
        until = time.monotonic() + _LATE_DUPLICATES_S
        while (left := until - time.monotonic()) > 0:
            self.pump(left)
        if self._missing():
            raise Invalid(self._shortfall())
        for index, subscriber in enumerate(self._subscribers):
            if subscriber.samples is None:
                continue
            stamps = [int(digits) for _, read in subscriber.samples for digits in read]
            if stamps != self._published_ns[index // self.size]:
                raise Invalid("a subscriber received the events out of order, or one twice and another not at all")

    def latencies_ms(self, since_ns: int) -> list[float]:
        """Return the time from publishing to receipt, sorted, of sampled events published from `since_ns` on."""
        return sorted(
            (received_ns - published_ns) / 1e6
            for subscriber in self._subscribers
            for received_ns, stamps in subscriber.samples or ()
            for published_ns in map(int, stamps)
            if published_ns >= since_ns
        )

    def _enter(self, ports: Sequence[int], path: str, clients: Sequence[Sequence[Step]]) -> Sequence[socket.socket]:
        """Connect clients at once: all of them take a step before any takes the next."""
        wave = []
        for port in ports:
            wave.append(knock(port, path, _SETUP_TIMEOUT_S))
            self._sockets.append(wave[-1])
        for sock in wave:
            come_in(sock, path)
        for steps in zip(*clients, strict=True):
            for sock, step in zip(wave, steps, strict=True):
                if step.send is not None:
                    sock.sendall(text_frame(step.send))
            for sock, step in zip(wave, steps, strict=True):
                if answer := pongs(expect(sock, step.expect)):  # a heartbeat may come in between
                    sock.sendall(answer)
        for sock in wave:
            sock.setblocking(False)
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        return wave

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            del self._unsent[: self._publisher.send(self._unsent)]
        wanted = select.EPOLLIN | select.EPOLLOUT if self._unsent else select.EPOLLIN
        self._epoll.modify(self._publisher.fileno(), wanted)

    def _read_publisher(self) -> None:
        said = self._publisher.recv(65536)
        if not said:
            raise Closed("the server closed the publisher")
        if answer := pongs(said):
            self._unsent += answer
            self._send()
        elif b'"error"' in said:
            raise Invalid(f"the publisher was told {said[:300]!r}")

    def _missing(self) -> list[int]:
        """Return by how many events each subscriber is wrong that is."""
        return [
            wrong
            for index, count in enumerate(self._received)
            if (wrong := len(self._published_ns[index // self.size]) - count)
        ]

    def _shortfall(self) -> str:
        missing = self._missing()
        return (
            f"{len(missing)} of {len(self._received)} subscribers lack {min(missing)} to {max(missing)} "
            f"of {self.published} events"
        )


def _turns(
    dialect: Dialect, rooms: Sequence[str], published_ns: Sequence[list[int]]
) -> Iterator[tuple[bytes, bytes, list[int]]]:
    """Yield, for one room after the other and over again, an event's frame around its stamp and the room's list."""
    blank = stamp(0)
    frames = []
    for room, times in zip(rooms, published_ns, strict=True):
        (before, after), (head, tail) = dialect.publish(room), AROUND_STAMP
        # All frames are equally long, so all have the same header.
        frame = text_frame(before + head + blank + tail + after)
        at = frame.index(head) + len(head)
        frames.append((frame[:at], frame[at + len(blank) :], times))
    while True:
        yield from frames
