"""Supervision: the router's log in; what its supervisors did out, and what went wrong that nobody planned."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

__all__ = ["Supervision"]

_PLANNED = "explode"
"""What an actor that is made to fail does not know how to do."""
_FINE = frozenset({"actor_failed", "actor_given_up", "request_failed"})
"""Errors that crashes bring with them."""


class Supervision:
    """What is in a log so far.

    Args:
        path: The log, of JSON lines.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_to = 0
        self.failed: Counter[str] = Counter()
        """Planned failures, by class."""
        self.events: Counter[str] = Counter()
        """Lines, by event; `stalled` are the connections that were cut because they read nothing."""
        self.unplanned: list[str] = []

    def read(self) -> None:
        """Read what was written since the last time."""
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # it is being written
                self._read_to += len(line)
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            self.unplanned.append(line.decode(errors="replace").rstrip())
            return
        event = said["event"]
        self.events[event] += 1
        if event == "connection_closed" and said["stalled"]:
            self.events["stalled"] += 1
        elif event == "connections_closed":
            self.events["stalled"] += said["stalled"] or 0
        if event == "actor_failed" and _PLANNED in said["error"]:
            self.failed[said["actor_class"]] += 1
        elif event == "actor_failed" and said["exception_type"] == "Escalation":
            self.events["escalated"] += 1
        elif event == "actor_failed" or (said["level"] in ("error", "critical") and event not in _FINE):
            self.unplanned.append(line.decode().rstrip())
