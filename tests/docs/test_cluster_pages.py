"""What how-to/cluster.md, more-than-one-process.md and nats.md show is done as they say, with a real NATS server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..conftest import SECRET
from ..ports import free_port
from .commands import Commands, adapted
from .taken import taken

READY = r"is ready"


@pytest.fixture
def ports() -> tuple[str, ...]:
    """Ports that nobody uses."""
    return tuple(str(free_port()) for _ in range(5))


def test_two_routers_serve_one_room(tmp_path: Path, ports: tuple[str, ...]) -> None:
    """What is published through one comes out of the other, as cluster.md prints it."""
    server, one, other, listen, publish, line = taken("how-to/cluster.md", "test_two_routers_serve_one_room")
    nats, ws, api, other_ws, other_api = ports
    cluster = {"127.0.0.1:4222": f"127.0.0.1:{nats}"}
    with Commands(tmp_path) as terminals:
        terminals.start(f"{server.strip()} --port {nats}", "Server is ready")
        terminals.start(f"{adapted(one, cluster).strip()} --port {ws} --api-port {api}", READY)
        terminals.start(adapted(other, {"--port 9000": f"--port {other_ws}", "9001": other_api, **cluster}), READY)
        heard = terminals.start(adapted(listen, {"127.0.0.1:8000": f"127.0.0.1:{ws}"}), "listening to")
        terminals.run(adapted(publish, {"127.0.0.1:9001": f"127.0.0.1:{other_api}"}))
        _, room, _, rest = line.strip().split(" ", 3)
        terminals.wait_for(rf"{room} #\d+ {re.escape(rest)}$", heard)


def test_several_processes_share_two_ports(tmp_path: Path, ports: tuple[str, ...]) -> None:
    """They say what more-than-one-process.md shows."""
    command, banner = taken("how-to/more-than-one-process.md", "test_several_processes_share_two_ports")
    ws, api, *_ = ports
    with Commands(tmp_path, {"POSTROOM_SECRET": SECRET}) as terminals:
        printed = terminals.start(f"{command.strip()} --port {ws} --api-port {api}", READY)
        for line in adapted(banner, {"8000": ws, "8001": api, "/home/you/postroom": str(tmp_path)}).splitlines():
            terminals.wait_for(f"^{re.escape(line)}$", printed)
    assert (tmp_path / "postroom-data" / "nats").is_dir()


def test_workers_are_told_of_servers_elsewhere(tmp_path: Path) -> None:
    """The options of `serve` are taken, and mean what they say."""
    (command,) = taken("how-to/more-than-one-process.md", "test_workers_are_told_of_servers_elsewhere")
    with Commands(tmp_path, {"POSTROOM_SECRET": SECRET}) as terminals:
        settings = terminals.run(adapted(command, {"postroom serve": "postroom check-config"}))
    assert re.search(r"^workers = 4 ", settings, re.MULTILINE)
    assert len(re.findall(r"nats://nats-\d:4222", settings)) == 3


def test_nats_takes_what_is_shown(tmp_path: Path) -> None:
    """The lines of nats.md, by themselves."""
    (text,) = taken("how-to/nats.md", "test_nats_takes_what_is_shown")
    (tmp_path / "nats.conf").write_text(text)
    with Commands(tmp_path) as terminals:
        assert "is valid" in terminals.run("nats-server -t -c nats.conf")
