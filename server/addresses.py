"""Addresses: where a router listens; and, where it cannot listen, why and what to do."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

__all__ = ["Addresses", "cannot_listen"]

_TRIED = 20
"""Ports that are tried for one that is free."""


class Addresses(NamedTuple):
    """Where the router listens."""

    ws_url: str
    api_url: str


def cannot_listen(flag: str, host: str, port: int, error: OSError) -> str:
    """Say why an address cannot be listened on, and what helps.

    Args:
        flag: The option that chooses the port.
        host: The address.
        port: The port.
        error: What the system said.
    """
    if error.errno == errno.EADDRINUSE:
        free = _free_port(host, port)
        example = "" if free is None else f", for example {flag} {free}, which is free"
        return (
            f"port {port} on {host} is in use by another program: stop it, or choose another port with {flag}{example}"
        )
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user: choose one above 1023 with {flag}"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"


def _free_port(host: str, taken: int) -> int | None:
    """Return the next port that is free; not the one right after, which may be that of the router's other door."""
    for port in range(taken + 2, min(taken + 2 + _TRIED, 65_536)):
        try:
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, socket.SOCK_STREAM) as attempt:
                attempt.bind(address)
        except OSError:
            continue
        return port
    return None
