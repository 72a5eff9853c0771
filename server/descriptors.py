"""Descriptors: how many open files this process may have in, what may be open of each kind out.

At the limit nothing works any more: no client gets in, and the journal's file cannot be opened. So all that strangers
can bring about is bounded below it.
"""

from __future__ import annotations

import contextlib
import sys
from typing import NamedTuple

import structlog

__all__ = ["MOST_REQUESTS", "Shares", "share"]

log = structlog.get_logger("postroom.app")

MOST_REQUESTS = 750
"""Connections to the HTTP API, those that wait for the next request included."""
_OTHER_FILES = 100
"""Listeners, the journal, logs, what plug-ins open."""


class Shares(NamedTuple):
    """What may be open at once."""

    connections: int
    """Clients."""
    handshakes: int
    """Sockets of clients that are not let in yet, or that are refused and being told so."""
    requests: int
    """Connections to the HTTP API."""

    @property
    def streams(self) -> int:
        """How many of those may be event streams, which stay: the others are left to services and operators."""
        return max(1, self.requests * 2 // 3)


def share(connections: int, handshakes: int) -> Shares:
    """Raise the limit of open files as far as it goes; return what fits under it.

    Args:
        connections: How many clients are wanted.
        handshakes: How many unfinished handshakes.
    """
    wanted = Shares(connections, handshakes, MOST_REQUESTS)
    files = sum(wanted) + _OTHER_FILES
    limit = _raised_to(files)
    if limit is None or limit >= files:
        return wanted
    left = max(0, limit - _OTHER_FILES)
    handshakes, requests = (max(1, min(most, left // 8)) for most in wanted[1:])
    possible = max(1, min(connections, left - handshakes - requests))
    if possible < connections * 0.9:
        log.warning("connections_capped", wanted=connections, possible=possible, open_files_limit=limit)
    return Shares(possible, handshakes, requests)


def _raised_to(files: int) -> int | None:
    """Raise the limit to this where it is lower; return what it is then, None: there is none."""
    if sys.platform == "win32":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < files:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (files if hard < 0 else min(files, hard), hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft >= 0 else None
