"""Outbox: the frames that wait for one client, in order and within a bound."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Outbox"]


class Outbox:
    """Frames that wait because the client's socket takes no more.

    When it is full the client is closed with 4002 and resumes from the room's history: it costs its bound and no more.

    Args:
        limit: Bytes that may wait, those in the socket's own write buffer counted in.
    """

    __slots__ = ("_frames", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        """Bytes that wait here."""
        self._frames: list[bytes] = []

    @property
    def full(self) -> bool:
        """Whether as much waits as may, whatever the socket could take."""
        return self.size > self.limit

    def push(self, frames: bytes) -> None:
        """Put whole frames at the end."""
        self._frames.append(frames)
        self.size += len(frames)

    def flush(self, write: Callable[[bytes], None]) -> None:
        """Hand everything to `write` in one piece, and keep it when that fails."""
        frames = self._frames
        write(frames[0] if len(frames) == 1 else b"".join(frames))
        self.clear()

    def clear(self) -> None:
        """Drop everything: the client will not get it on this connection."""
        self._frames = []
        self.size = 0

    def over(self, buffered: int) -> bool:
        """Tell whether more waits than may, with `buffered` bytes in the socket's write buffer."""
        return self.size + buffered > self.limit
