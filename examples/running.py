"""What runs an example: processes are started one after the other, waited for, and stopped in reverse with Ctrl-C.

It is here so that one command is enough. In earnest, a router and a back end are two services of your machine:
docs/how-to/systemd.md and docs/how-to/containers.md show them.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

_PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections, one of which would keep a router from coming back."""
_untried = iter(random.sample(_PORTS, len(_PORTS)))
START_S = 30.0
STOP_S = 15.0
POSTROOM = [sys.executable, "-P", "-m", "server.cli"]
"""The command `postroom` of this environment."""


class Processes:
    """Child processes, each in a session of its own: Ctrl-C reaches us alone, and we stop them in order.

    Leave the `with` block by KeyboardInterrupt as by its end: both are what a user wants.
    """

    def __init__(self) -> None:
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for ends in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(ends, _as_ctrl_c)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has background jobs ignore it
        others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        os.environ["no_proxy"] = ",".join(filter(None, (others, "127.0.0.1")))  # all of it is on this machine
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough: nobody may be left behind
        on_purpose = kind is not None and issubclass(kind, KeyboardInterrupt)
        if on_purpose:
            print("\nstopping", flush=True)
        for process in reversed(self.running.values()):
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return on_purpose

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str], *, shown: bool = False) -> None:
        """Start one.

        Args:
            name: What we call it.
            command: What it runs.
            environment: More variables for it; of ours, those of Postroom are left out.
            shown: Whether all that it prints is part of our output. Else only what it complains of is, on stderr.
        """
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("POSTROOM_")}
        self.running[name] = subprocess.Popen(
            command,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=None if shown else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if shown else None,
            start_new_session=True,
        )

    def kill(self, name: str) -> None:
        """End one without a word, as `kill -9` does."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def until_ready(self, name: str, url: str) -> None:
        """Wait until it answers with 200 there."""
        deadline = time.monotonic() + START_S
        while not _answers(url):
            self.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"the {name} was not ready within {START_S:g} s: {url}")
            time.sleep(0.05)

    def check(self) -> None:
        """Leave when one of them has ended: the reason is on its stderr, above."""
        for name, process in self.running.items():
            if process.poll() is not None:
                raise SystemExit(f"the {name} ended with exit code {process.returncode}")

    def stay(self) -> None:
        """Stay until one of them ends, or until Ctrl-C, which is no error."""
        while True:
            self.check()
            time.sleep(0.2)


class Addresses(NamedTuple):
    """Where everything is, on this machine."""

    router: str
    api: str
    page: str


def free_port() -> int:
    """Return a port that nobody uses now: another one each time, as what was returned may not be in use yet."""
    for port in _untried:
        if _why_not(port) is None:
            return port
    raise SystemExit("there is no free port")


def addresses() -> Addresses:
    """Read the ports from the command line, and see that nobody has them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000, help="the router's port for clients")
    parser.add_argument("--api-port", type=int, default=8001, help="the router's port for services")
    parser.add_argument("--page-port", type=int, default=8080, help="the page's port")
    ports = parser.parse_args()
    for port in (ports.port, ports.api_port, ports.page_port):
        if (reason := _why_not(port)) is not None:
            others = "PORT=9000 API_PORT=9001 PAGE_PORT=9080"
            raise SystemExit(f"port {port} cannot be used ({reason}): stop what runs there, or add {others}")
    return Addresses(
        f"ws://127.0.0.1:{ports.port}/v1/ws",
        f"http://127.0.0.1:{ports.api_port}",
        f"http://127.0.0.1:{ports.page_port}",
    )


def router_ports(where: Addresses) -> list[str]:
    """Return the options with which a router takes these addresses."""
    return ["--port", str(urlsplit(where.router).port), "--api-port", str(urlsplit(where.api).port)]


def start_with_page(processes: Processes, where: Addresses, app: str, **environment: str) -> dict[str, str]:
    """Start a router that asks for tokens and lets the page in, and the back end that serves the page.

    Returns:
        The variables that a service needs: where the router is, and the secret to sign tokens with.
    """
    port = str(urlsplit(where.page).port)
    known = {
        "POSTROOM_URL": where.router,
        "POSTROOM_API_URL": where.api,
        "POSTROOM_SECRET": secrets.token_urlsafe(32),
    }
    processes.start(
        "router",
        [*POSTROOM, "serve", "--journal", "memory", *router_ports(where)],
        {
            "POSTROOM_SECRET": known["POSTROOM_SECRET"],
            "POSTROOM_ORIGINS": f"{where.page},http://localhost:{port}",
            "POSTROOM_LOG_LEVEL": "warning",
            "POSTROOM_LOG_FORMAT": "console",
            "POSTROOM_DRAIN_S": "1",
        },
    )
    processes.until_ready("router", f"{where.api}/readyz")
    uvicorn = [sys.executable, "-m", "uvicorn", app, "--port", port, "--ws", "none", "--log-level", "warning"]
    processes.start("back end", uvicorn, {**known, **environment})
    processes.until_ready("back end", where.page)
    return known


def _why_not(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.strerror
    return None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5.0) as answer:
            return bool(answer.status == 200)
    except OSError:  # refused, or an HTTPError
        return False


def _as_ctrl_c(_number: int, _frame: object) -> None:
    signal.raise_signal(signal.SIGINT)  # which asyncio, where it runs, knows how to take
