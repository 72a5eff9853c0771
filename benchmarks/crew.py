"""The processes of `postroom serve --workers`: routers on the same ports, and the NATS server between them.

In: the process that has started them. Out: each of them, when all are ready.
"""

import http.client
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from .processes import LOAD_CORE, StartFailed

__all__ = ["Router", "workers"]

_READY_S = 20.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Router:
    """One process that serves clients."""

    pid: int
    port: int
    api_port: int


def workers(parent: Router, count: int) -> tuple[list[Router], tuple[int, ...]]:
    """Wait until so many are ready; return them, and the NATS server's process, which then has the generator's core.

    Raises:
        StartFailed: they were not within 20 s.
    """
    until = time.monotonic() + _READY_S
    while _ready(parent.api_port) < count:
        if time.monotonic() > until:
            raise StartFailed(f"{count} workers were not ready after {_READY_S:g} s")
        time.sleep(_POLL_S)
    children = [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]
    nats = tuple(pid for pid in children if Path(f"/proc/{pid}/comm").read_text().startswith("nats-server"))
    if LOAD_CORE is not None:
        for pid in nats:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {LOAD_CORE})
    return [Router(pid, parent.port, parent.api_port) for pid in children if pid not in nats], nats


def _ready(api_port: int) -> int:
    """Return how many nodes are ready, as one of them knows."""
    connection = http.client.HTTPConnection("127.0.0.1", api_port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        nodes = json.loads(connection.getresponse().read()).get("nodes", [])
        return sum(node["ready"] for node in nodes)
    except OSError:
        return 0
    finally:
        connection.close()
