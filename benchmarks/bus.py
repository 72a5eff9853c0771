"""NATS servers between the routers of a cluster, on the load generator's core; and a proxy that can be stopped.

In: what is between them. Out: where each router finds it, for as long as a `with` block lasts.
"""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from .processes import LOAD_CORE, free_ports, started

__all__ = ["Bus", "Joined", "joined", "unavailable", "versions"]

_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Bus:
    """What is between the routers."""

    routers: int = 1
    servers: int = 1
    """NATS servers, each with a copy of every event."""
    synced: bool = False
    """Whether a server has an event on its disk before it says that it has it; else it is the kernel that has it."""
    proxy: bool = False
    """Whether there is a proxy between NATS and the last router."""

    @property
    def settings(self) -> dict[str, str]:
        """The variables that every router gets."""
        return {"POSTROOM_CLUSTER_REPLICAS": str(self.servers)}


@dataclass(frozen=True, slots=True)
class Joined:
    """NATS servers that run."""

    urls: tuple[str, ...]
    """What each router connects to, separated by commas."""
    pids: tuple[int, ...]
    proxy: int
    """The proxy's process; 0: there is none."""


@contextmanager
def joined(bus: Bus, folder: Path) -> Iterator[Joined]:
    """Start the servers, wait until they can be connected to, and end them after the block.

    Raises:
        StartFailed: one of them ended, or was not ready within 20 s.
    """
    ports, routes = free_ports(bus.servers), free_ports(bus.servers)
    with ExitStack() as stack:
        pids = []
        for number, port in enumerate(ports):
            own = folder / f"nats-{number}"
            own.mkdir()
            (own / "server.conf").write_text(_configuration(bus, own, port, number, routes))
            command = [_binary(), "-c", "server.conf"]
            pids.append(stack.enter_context(started(command, port, None, folder=own, core=LOAD_CORE)))
        url, proxy = ",".join(f"nats://127.0.0.1:{port}" for port in ports), 0
        urls = [url] * bus.routers
        if bus.proxy:
            (port,) = free_ports(1)
            command = [sys.executable, "-m", "benchmarks.proxy", str(port), str(ports[0])]
            proxy = stack.enter_context(started(command, port, None, folder=_ROOT, core=LOAD_CORE))
            urls[-1] = f"nats://127.0.0.1:{port}"
        yield Joined(tuple(urls), tuple(pids), proxy)


def unavailable() -> str | None:
    """Return why there can be no cluster on this machine, or `None` if there can."""
    if importlib.util.find_spec("nats") is None:
        return "the extra `workers` is not installed: nats-py missing"
    return None if _binary() else "there is no `nats-server`: install the extra `workers`"


def versions() -> dict[str, str]:
    """Return the versions of NATS, server and client, by name."""
    said = subprocess.run([_binary(), "--version"], capture_output=True, text=True, check=True, timeout=10)
    return {"nats-server": said.stdout.strip().rpartition("v")[2], "nats-py": version("nats-py")}


def _configuration(bus: Bus, folder: Path, port: int, number: int, routes: list[int]) -> str:
    sync = "sync_interval: always" if bus.synced else ""
    lines = [
        f"server_name: nats-{number}",
        f"listen: 127.0.0.1:{port}",
        f'jetstream {{ store_dir: "{folder}/store", {sync} }}',
    ]
    if bus.servers > 1:
        all_of_them = ", ".join(f"nats-route://127.0.0.1:{route}" for route in routes)
        lines.append(f"cluster {{ name: bench, listen: 127.0.0.1:{routes[number]}, routes: [{all_of_them}] }}")
    return "\n".join([*lines, ""])


def _binary() -> str:
    """Return the command of this environment, or else of the PATH, or nothing."""
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server") or ""
