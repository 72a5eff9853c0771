"""Arrivals: sockets that have come and whose clients are not let in; which of them has to go when there are too many.

A socket is a client's only once its handshake is over. Until then, and while a refused one is told so, it costs a
descriptor and nothing bounds how many come.
"""

from __future__ import annotations

import itertools
import socket
import sys
from collections import Counter

from .turned_away import FULL
from .wire import GuardedConnection

__all__ = ["Arrivals"]

if sys.platform == "win32":
    _FIONREAD: int | None = None
else:
    import fcntl
    import termios

    _FIONREAD = termios.FIONREAD

_OLDEST_LOOKED_AT = 8
_UNFINISHED = "unfinished"
_REASONS = {
    400: "bad_request",
    401: "bad_token",
    403: "foreign_origin",
    404: "not_found",
    426: "no_websocket",
    503: "draining",
}
"""Why a handshake was refused, by the status of its answer."""


class Arrivals:
    """Counts the listener's sockets, and turns away or cuts what is too many.

    Args:
        most_unfinished: Handshakes that may be unfinished at once.
        most_sockets: Sockets in all, those of clients that were let in too.
        per_address: Handshakes of one address that may be unfinished at once; 0: no cap.
        rejected: Counts those that came to nothing, by where that was and why.
    """

    def __init__(
        self, *, most_unfinished: int, most_sockets: int, per_address: int, rejected: Counter[tuple[str, str]]
    ) -> None:
        self._most_unfinished = most_unfinished
        self._most_sockets = most_sockets
        self._per_address = per_address
        self._rejected = rejected
        self._sockets = 0
        self._unfinished: dict[GuardedConnection, str] = {}
        self._refused: set[GuardedConnection] = set()
        self._by_address: Counter[str] = Counter()

    @property
    def unfinished(self) -> list[GuardedConnection]:
        """Those that are not let in."""
        return list(self._unfinished)

    def come(self, connection: GuardedConnection) -> None:
        """Count a new socket; make room for it, or send it away."""
        address = _address_of(connection)
        self._sockets += 1
        self._add(connection, address)
        if self._per_address and self._by_address[address] > self._per_address:
            self._turn_away(connection)
        elif self._sockets > self._most_sockets:
            if not self._cut_dawdler():
                self._turn_away(connection)
        elif len(self._unfinished) > self._most_unfinished:
            self._cut_dawdler()

    def let_in(self, connection: GuardedConnection) -> None:
        """Take note that the handshake is over."""
        self._remove(connection)

    def refuse(self, connection: GuardedConnection) -> None:
        """Count a client that is being told that it may not stay; it may not take its time for that."""
        self._add(connection, _address_of(connection))
        self._refused.add(connection)

    def gone(self, connection: GuardedConnection) -> None:
        """Count a socket no more."""
        self._sockets -= 1
        if connection in self._unfinished and connection not in self._refused:
            response = connection.response
            if response is None or response.status_code == 101:
                self._count(_UNFINISHED)
            elif response.status_code >= 400:
                self._count(_REASONS.get(response.status_code, "bad_request"))
        self._remove(connection)
        self._refused.discard(connection)

    def _add(self, connection: GuardedConnection, address: str) -> None:
        self._unfinished[connection] = address
        if self._per_address:
            self._by_address[address] += 1

    def _remove(self, connection: GuardedConnection) -> None:
        address = self._unfinished.pop(connection, None)
        if address is not None and self._per_address:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _count(self, reason: str) -> None:
        self._rejected["handshake", reason] += 1

    def _turn_away(self, connection: GuardedConnection) -> None:
        self._count("full")
        self._remove(connection)
        connection.transport.write(FULL)
        connection.transport.close()

    def _cut_dawdler(self) -> bool:
        """Cut the oldest client that is waited for, so that a newcomer gets in past those that dawdle; tell if one did.

        Whose request has come waits for us: when thousands come back at once nobody dawdles, and all are let in.
        """
        for connection in itertools.islice(self._unfinished, _OLDEST_LOOKED_AT):
            waited_for = connection.request is None and not _has_come(connection.transport.get_extra_info("socket"))
            if waited_for or connection in self._refused:
                if connection not in self._refused:
                    self._count(_UNFINISHED)
                self._remove(connection)
                connection.cut()
                return True
        return False


def _address_of(connection: GuardedConnection) -> str:
    address = connection.remote_address
    return str(address[0]) if address else ""


def _has_come(sock: socket.socket | None) -> bool:
    """Tell whether bytes wait in the kernel; False where the platform does not say."""
    if _FIONREAD is None or sock is None:
        return False
    try:
        return any(fcntl.ioctl(sock.fileno(), _FIONREAD, bytes(4)))
    except (OSError, ValueError):
        return False
