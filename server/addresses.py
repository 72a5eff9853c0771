"""Addresses: where a router listens; and, where it cannot listen, why and what to do."""

from __future__ import annotations

import errno
from typing import NamedTuple

__all__ = ["Addresses", "cannot_listen"]


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
        return f"port {port} on {host} is in use by another program: stop it, or choose another port with {flag}"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user: choose one above 1023 with {flag}"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"
