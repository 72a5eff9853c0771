"""The servers of a peer: one process, or routers and what they have in common.

In: a peer. Out: what runs and is ready, for as long as a `with` block lasts.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .bus import joined
from .crew import Router, workers
from .peers import Peer
from .processes import free_ports, started

__all__ = ["Server", "running"]


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs and is ready."""

    pid: int
    port: int
    api_port: int
    """Where Postroom's HTTP API is; nobody listens there otherwise."""
    secret: str
    """What Postroom's tokens are signed with."""
    journal: str | None
    """The file that it keeps events in, or `None`."""
    others: tuple[Router, ...] = ()
    """The other routers of its cluster."""
    nats: tuple[int, ...] = ()
    """The processes of the NATS servers between them."""
    proxy: int = 0
    """The process through which the last router, and no other, reaches NATS; 0: there is none."""

    @property
    def routers(self) -> tuple[Router, ...]:
        """All of them, this one first."""
        return Router(self.pid, self.port, self.api_port), *self.others

    @property
    def kept_nothing(self) -> bool:
        """Whether there should be a journal and is none: then the figures are those of another server."""
        return self.journal is not None and not Path(self.journal).exists()


@contextmanager
def running(peer: Peer) -> Iterator[Server]:
    """Start a server on free loopback ports, wait until it is ready, and end it after the block.

    For a peer without a server this is the process that measures, and nothing is started.

    Raises:
        StartFailed: it ended, or was not ready within 20 s.
    """
    if peer.command is None:
        yield Server(pid=0, port=0, api_port=0, secret="", journal=None)
        return
    secret = secrets.token_hex(32)
    # Its settings are the defaults, wherever the benchmark is called from.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
    environment |= {"NODE_ENV": "production", "POSTROOM_SECRET": secret, **peer.settings}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bus = None if peer.bus is None else stack.enter_context(joined(peer.bus, folder))
        routers = []
        for number in range(peer.routers):
            port, api_port = free_ports(2)
            if bus is not None:
                environment |= {"POSTROOM_CLUSTER": bus.urls[number], "POSTROOM_NODE": f"node-{number + 1}"}
            command = peer.command(port, api_port)
            process = started(command, port, peer.health, folder=folder, environment=environment)
            routers.append(Router(stack.enter_context(process), port, api_port))
        nats = () if bus is None else bus.pids
        if peer.workers:
            routers, nats = workers(*routers, peer.workers)
        first, *others = routers
        yield Server(
            first.pid,
            first.port,
            first.api_port,
            secret,
            None if peer.journal is None else str(folder / peer.journal),
            tuple(others),
            nats,
            0 if bus is None else bus.proxy,
        )
