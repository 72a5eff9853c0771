"""The servers that are compared: how each is started, which protocol it speaks and which versions it consists of.

In: free ports. Out: command lines.
"""

import importlib.util
import shutil
import sqlite3
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from . import node
from .bus import Bus
from .bus import unavailable as bus_unavailable
from .bus import versions as bus_versions

__all__ = ["HISTORIES", "PEERS", "Peer"]

HISTORIES = (1, 1000, 10_000, 100_000)
"""Events that a room keeps, in the growth of the history."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One server."""

    name: str
    """What `--peers` calls it."""

    title: str
    """What the tables call it."""

    dialect: str
    """A key of `DIALECTS`."""

    command: Callable[[int, int], list[str]] | None
    """The command line for a WebSocket port and a second port, for servers that have one; `None`: it is no server, and
    the generator does by itself what is measured."""

    health: str | None
    """The path that answers 200 when the server is ready; `None`: it is when it accepts connections."""

    unavailable: Callable[[], str | None]
    """Why it cannot run on this machine, or `None` if it can."""

    versions: Callable[[], dict[str, str]]
    """The versions of its runtime and packages, by name."""

    journal: str | None = None
    """The file in its working directory that it keeps events in; `None`: none."""

    settings: Mapping[str, str] = field(default_factory=dict)
    """Variables that it gets on top of the environment."""

    bus: Bus | None = None
    """What its processes have in common; `None`: it is one process by itself."""

    workers: int = 0
    """Routers that its one command starts on the same ports, with a NATS server between them; 0: it is the router."""

    @property
    def routers(self) -> int:
        """How many commands are given."""
        return 1 if self.bus is None else self.bus.routers


def _python_versions(*packages: str) -> dict[str, str]:
    return {"python": sys.version.partition(" ")[0], **{name: version(name) for name in packages}}


def _node_relay(name: str, title: str, dialect: str, package: str, script: str) -> Peer:
    return Peer(
        name=name,
        title=title,
        dialect=dialect,
        command=lambda port, _: ["node", str(node.PEERS / script), str(port)],
        health=None,
        unavailable=lambda: node.unavailable(package),
        versions=lambda: node.versions(package),
    )


def _postroom() -> str:
    """Return the command of this environment, or else of the PATH, or nothing."""
    beside = Path(sys.executable).with_name("postroom")
    return str(beside) if beside.exists() else shutil.which("postroom") or ""


def _serve(port: int, api_port: int) -> list[str]:
    return [_postroom(), "serve", "--dev", "--port", str(port), "--api-port", str(api_port)]


def _router(name: str, title: str, journal: str | None, settings: Mapping[str, str] | None = None) -> Peer:
    return Peer(
        name=name,
        title=title,
        dialect="postroom",
        command=lambda port, api_port: [*_serve(port, api_port), "--journal", journal or "memory"],
        health="/healthz",
        unavailable=lambda: None if _postroom() else "the command `postroom` is not installed",
        versions=lambda: (
            _python_versions("postroom", "websockets", "uvloop", "msgspec", "pykka")
            | ({"sqlite": sqlite3.sqlite_version} if journal else {})
        ),
        journal=journal,
        settings=settings or {},
    )


def _cluster(name: str, title: str, bus: Bus | None, workers: int = 0) -> Peer:
    options = ["--journal", "memory", "--workers", str(workers)] if workers else []
    return Peer(
        name=name,
        title=title,
        dialect="postroom",
        command=lambda port, api_port: [*_serve(port, api_port), *options],
        health="/healthz",
        unavailable=lambda: bus_unavailable() if _postroom() else "the command `postroom` is not installed",
        versions=lambda: _python_versions("postroom", "websockets", "uvloop", "msgspec", "pykka") | bus_versions(),
        settings={} if bus is None else bus.settings,
        bus=bus,
        workers=workers,
    )


def _remembering(events: int, journal: str, file: str | None) -> Peer:
    settings = {"POSTROOM_HISTORY_EVENTS": str(events)}
    return _router(f"history-{events}-{journal}", f"history {events:,}, {journal}", file, settings=settings)


def _python_socketio_missing() -> str | None:
    missing = [name for name in ("socketio", "uvicorn", "httptools") if importlib.util.find_spec(name) is None]
    return f"the extra `bench` is not installed: {', '.join(missing)} missing" if missing else None


def _actors(name: str, title: str, *packages: str) -> Peer:
    return Peer(
        name=name,
        title=title,
        dialect=name,
        command=None,
        health=None,
        unavailable=lambda: None,
        versions=lambda: _python_versions("pykka", *packages),
    )


def _broadcast(name: str, title: str, *options: str) -> Peer:
    return Peer(
        name=name,
        title=title,
        dialect="relay",
        command=lambda port, _: [sys.executable, str(node.PEERS / "broadcast_relay.py"), str(port), *options],
        health=None,
        unavailable=lambda: None,
        versions=lambda: _python_versions("websockets", "uvloop"),
    )


PEERS = (
    _router("postroom", "Postroom, memory", None),
    _router("sqlite", "Postroom, sqlite", "journal.db"),
    _node_relay("ws", "Node ws", "relay", "ws", "ws_relay.js"),
    _node_relay("socketio", "Node socket.io", "socketio", "socket.io", "socketio_relay.js"),
    _broadcast("broadcast", "websockets.broadcast"),
    Peer(
        name="socketio-py",
        title="python-socketio",
        dialect="socketio",
        command=lambda port, _: [sys.executable, str(node.PEERS / "asgi_relay.py"), str(port)],
        health=None,
        unavailable=_python_socketio_missing,
        versions=lambda: _python_versions("python-socketio", "uvicorn", "uvloop", "websockets"),
    ),
    _actors("loop", "LoopActor", "uvloop"),
    _actors("thread", "pykka.ThreadingActor"),
    _router("deflate", "Postroom, deflate", None, {"POSTROOM_COMPRESSION": "postroom.v1"}),
    _broadcast("broadcast-deflate", "broadcast, deflate", "deflate"),
    _cluster("nats", "Postroom, NATS", Bus()),
    _cluster("nats-synced", "Postroom, NATS synced", Bus(synced=True)),
    _cluster("nats-3", "Postroom, 3 NATS", Bus(servers=3)),
    _cluster("workers-2", "2 workers, NATS", None, workers=2),
    _cluster("routers-3", "3 routers, NATS", Bus(routers=3)),
    _cluster("cut-off", "2 routers, one cut off", Bus(routers=2, proxy=True)),
    *(
        _remembering(events, journal, file)
        for events in HISTORIES
        for journal, file in (("memory", None), ("sqlite", "journal.db"))
    ),
)
