"""Ports: two addresses held for processes that share them. Whatever else uses one is found out, and kept out."""

from __future__ import annotations

import socket

from actors.errors import PostroomError
from server.addresses import cannot_listen

__all__ = ["Port", "PortTaken"]


class PortTaken(PostroomError):
    """An address cannot be listened on; `str()` says why and what to do."""


class Port:
    """One port, held but not listened on, so that processes of this user may listen on it together.

    Args:
        flag: The option that chooses the port.
        host: The address.
        port: The port; 0: any free one.

    Raises:
        PortTaken: The address cannot be listened on.
    """

    def __init__(self, flag: str, host: str, port: int) -> None:
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
                0
            ]
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as asyncio listens on it
                self._socket.bind(address)
                # After `bind`: before, it would share the port with another service that is run by workers, too.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            except BaseException:
                self._socket.close()
                raise
        except OSError as error:
            raise PortTaken(cannot_listen(flag, host, port, error)) from error

    @property
    def number(self) -> int:
        """The port."""
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()
