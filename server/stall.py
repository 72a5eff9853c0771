"""Stalls: a socket whose client takes nothing in, its end out; and what the kernel is asked to do about such sockets.

Used by every socket on which clients are sent events, whatever they speak.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import Protocol

__all__ = ["WRITE_LIMIT", "StallWatch", "Stallable", "guard", "unread"]

WRITE_LIMIT = 64 * 1024
"""Bytes in a socket's write buffer from which on the outbox waits."""
_UNSENT = 64 * 1024
"""Bytes that the kernel takes while the client's side has no room for them (tcp(7), TCP_NOTSENT_LOWAT)."""
_UNACKNOWLEDGED_MS = 6000
"""How long what was sent may stay unacknowledged before TCP gives a client up (tcp(7), TCP_USER_TIMEOUT)."""
_LOOKS = 5
"""How often a client that is behind is looked at within `stall_s`."""

if sys.platform == "linux":
    import fcntl
    import termios

    _TIOCOUTQ: int | None = termios.TIOCOUTQ  # of a TCP socket: bytes that were not acknowledged (tcp(7), SIOCOUTQ)
else:
    _TIOCOUTQ = None


def guard(transport: asyncio.BaseTransport) -> None:
    """Have TCP find a peer that vanishes while something is sent to it, and the kernel keep little for one."""
    sock = transport.get_extra_info("socket")
    for option, value in (("TCP_USER_TIMEOUT", _UNACKNOWLEDGED_MS), ("TCP_NOTSENT_LOWAT", _UNSENT)):
        if sock is not None and hasattr(socket, option):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class Stallable(Protocol):
    """What a watch looks at."""

    @property
    def stall_s(self) -> float:
        """Seconds after which a client that took not one byte is cut."""

    @property
    def transport(self) -> asyncio.Transport:
        """The socket."""

    @property
    def watched(self) -> bool:
        """Whether the client is behind."""

    @property
    def under_way(self) -> int:
        """Bytes that the kernel has sent and the client's library may not have read; 0 where nobody knows."""

    @property
    def patience_s(self) -> float:
        """Seconds for which this client may seem to read nothing."""

    def cut_stalled(self) -> None:
        """Drop the socket: the client takes nothing."""


class StallWatch:
    """Looks whether a client that is behind takes anything, and cuts one that does not.

    Args:
        client: The client.
    """

    __slots__ = ("_client", "_timer")

    def __init__(self, client: Stallable) -> None:
        self._client = client
        self._timer: asyncio.TimerHandle | None = None
        self._look_later(self._unread(), 0)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def looking(self) -> bool:
        """Whether it goes on: it ends by itself when the client is not behind any more."""
        return self._timer is not None

    def _look_later(self, unread: int, looks: int) -> None:
        delay_s = self._client.stall_s / _LOOKS
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._look, unread, looks)

    def _unread(self) -> int:
        return unread(self._client.transport) + self._client.under_way

    def _look(self, unread_then: int, looks: int) -> None:
        """Cut a client that took nothing over so many looks in a row."""
        self._timer = None
        client = self._client
        if not client.watched:
            return
        now = self._unread()
        looks = looks + 1 if now >= unread_then else 0
        if looks >= _LOOKS and looks * client.stall_s / _LOOKS >= client.patience_s:
            client.cut_stalled()
        else:
            self._look_later(now, looks)


def unread(transport: asyncio.Transport) -> int:
    """Count the bytes that the client's side has not taken, as far as the platform tells.

    The kernel asks for more only when a third of its own buffer is free, which may be megabytes: a client that reads
    200 KB/s leaves the write buffer alone for 7 s (measured), so what the kernel holds is counted too.
    """
    waiting = transport.get_write_buffer_size()
    if _TIOCOUTQ is not None:
        with contextlib.suppress(OSError, ValueError):
            answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), _TIOCOUTQ, bytes(4))
            waiting += int.from_bytes(answer, sys.byteorder)
    return waiting
