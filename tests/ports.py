"""Ports of loopback for programs that have to be told theirs before they start."""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterator

__all__ = ["free_port"]

_PORTS = range(11_000, 20_000)
"""Below those that the system gives to outgoing connections, one of which could come first; the examples' lie above."""


def free_port() -> int:
    """Return a port that nobody uses now, and that no other call in this run of the tests returns soon. Any thread."""
    for port in itertools.islice(_order, len(_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that were closed are none
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("there is no free port")


def _own() -> Iterator[int]:
    """Go round and round through the ports of this process; the others of one run of the tests have theirs."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = _PORTS[number :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    return itertools.cycle(random.sample(own, len(own)))


_order = _own()
