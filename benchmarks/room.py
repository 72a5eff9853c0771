"""A room as the load generator sees it: many subscribers, one publisher, and what has arrived.

In: a port and a dialect. Out: events published, deliveries counted per subscriber, and a verdict on whether every
subscriber received every event once.
"""

import select
import socket
import time
from collections.abc import Iterable

from .deliveries import Closed, Subscriber, event
from .dialects import Dialect, Step
from .generator import Invalid
from .websocket import connect, exchange, pongs, text_frame

__all__ = ["Room"]

_SETUP_TIMEOUT_S = 10.0
_STALL_TIMEOUT_S = 10.0
_LATE_DUPLICATES_S = 0.1


class Room:
    """Connect all clients on creation; use as a context manager to close them.

    Args:
        port: where the server listens, on loopback.
        dialect: its protocol.
        subscribers: how many connections receive each event.
        sample_every: every n-th subscriber keeps the times of its events.
    """

    def __init__(self, port: int, dialect: Dialect, subscribers: int, sample_every: int) -> None:
        self.size = subscribers
        self.published_ns: list[int] = []
        self._before, self._after = dialect.publish
        self._sockets: list[socket.socket] = []
        self._subscribers: list[Subscriber] = []
        self._received = [0] * subscribers
        self._index: dict[int, int] = {}
        self._epoll = select.epoll()
        try:
            for index in range(subscribers):
                sock = self._enter(port, dialect.path, dialect.greeting + dialect.subscribe)
                self._index[sock.fileno()] = index
                self._subscribers.append(Subscriber(sock, sampled=index % sample_every == 0))
            self._publisher = self._enter(port, dialect.path, dialect.greeting)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection, without a closing handshake."""
        self._epoll.close()
        for sock in self._sockets:
            sock.close()

    def publish(self, count: int) -> None:
        """Send `count` events in one write, each stamped with the time now.

        Raises:
            Invalid: the server reads so slowly that the socket is full.
        """
        frames = bytearray()
        for _ in range(count):
            now = time.monotonic_ns()
            self.published_ns.append(now)
            frames += text_frame(self._before + event(now) + self._after)
        try:
            sent = self._publisher.send(frames)
        except BlockingIOError:
            sent = 0
        if sent < len(frames):
            raise Invalid("the server does not read what is published")

    def pump(self, timeout_s: float) -> bool:
        """Read from every connection that has something, waiting at most `timeout_s`; return whether there was any."""
        ready = self._epoll.poll(timeout_s, self.size + 1)
        received, index, subscribers = self._received, self._index, self._subscribers
        try:
            for fd, _ in ready:
                if (i := index.get(fd)) is not None:
                    received[i] = subscribers[i].read()
                else:
                    self._read_publisher()
        except OSError as error:
            raise Invalid(str(error)) from error
        return bool(ready)

    def in_flight(self) -> int:
        """Return how many published events some subscriber has yet to receive."""
        return len(self.published_ns) - min(self._received)

    def deliveries(self) -> int:
        """Return how many events have arrived, over all subscribers."""
        return sum(self._received)

    def settle(self) -> None:
        """Read until every subscriber has received every event.

        Raises:
            Invalid: nothing came for 10 s, although events are missing.
        """
        while self.in_flight() > 0:
            if not self.pump(_STALL_TIMEOUT_S):
                raise Invalid(f"stalled: {self._shortfall()}")

    def verify(self) -> None:
        """Check that every subscriber received every event, each once and, where sampled, in order.

        Raises:
            Invalid: says what is wrong.
        """
        until = time.monotonic() + _LATE_DUPLICATES_S
        while (left := until - time.monotonic()) > 0:
            self.pump(left)
        if any(count != len(self.published_ns) for count in self._received):
            raise Invalid(self._shortfall())
        for subscriber in self._subscribers:
            if subscriber.samples is None:
                continue
            stamps = [int(stamp) for _, read in subscriber.samples for stamp in read]
            if stamps != self.published_ns:
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

    def _enter(self, port: int, path: str, steps: Iterable[Step]) -> socket.socket:
        sock = connect(port, path, _SETUP_TIMEOUT_S)
        self._sockets.append(sock)
        for step in steps:
            exchange(sock, step.send, step.expect)
        sock.setblocking(False)
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        return sock

    def _read_publisher(self) -> None:
        said = self._publisher.recv(65536)
        if not said:
            raise Closed("the server closed the publisher")
        if answer := pongs(said):
            self._publisher.send(answer)
        elif b'"error"' in said:
            raise Invalid(f"the publisher was told {said[:300]!r}")

    def _shortfall(self) -> str:
        wrong = [count for count in self._received if count != len(self.published_ns)]
        return (
            f"{len(wrong)} of {self.size} subscribers received {min(wrong)} to {max(wrong)} "
            f"of {len(self.published_ns)} events"
        )
