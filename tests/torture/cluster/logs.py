"""Logs: what routers logged in, the lines that no fault from outside explains out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

__all__ = ["unexplained"]

_EXPLAINED = frozenset({"cluster_link_lost", "cluster_unavailable"})
"""Errors that a router on a NATS that fails has to log."""
_NO_START = ("postroom: JetStream ", "postroom: NATS ")
"""What a router says that cannot start for NATS is away."""


def unexplained(log: Path) -> Iterator[str]:
    """Return what must not be in the log of a router whose NATS was killed: failed actors, and anything not JSON."""
    for line in log.read_text(errors="replace").splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            if not line.startswith(_NO_START):
                yield line
            continue
        if said["level"] in ("error", "critical") and said["event"] not in _EXPLAINED:
            yield line
