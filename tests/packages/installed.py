"""A machine on which only Python and its installers are, and what an installed router must do there."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from ..conftest import RouterProcess
from .building import REPOSITORY, Packages

__all__ = ["INSTALL_S", "Machine", "check_router"]

INSTALL_S = 300.0
_WAIT_S = 20.0
_TOOLS = ("pipx", "uv", "uvx")
_AS_USERS_HAVE_IT = {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": ""}
_OF_THE_TESTS = re.compile(r"POSTROOM_|OTEL_|PIPX_|UV_TOOL|PYTHON|VIRTUAL_ENV")


class Machine:
    """A home folder, a working folder and a `PATH` with `python3`, `pipx` and `uv`; a shell runs there.

    Installers take this repository's packages for theirs, and everything else from where they always do.

    Args:
        folder: What it is made in.
        packages: What can be installed.
    """

    def __init__(self, folder: Path, packages: Packages) -> None:
        self.home = folder / "home"
        self.cwd = folder / "work"
        tools = folder / "bin"
        for each in (self.home, self.cwd, tools):
            each.mkdir(parents=True)
        here = Path(sys.executable).parent
        programs = {"python3": Path(sys._base_executable), **{name: here / name for name in _TOOLS}}  # type: ignore[attr-defined]  # in no stub
        for name, program in programs.items():
            script = tools / name
            script.write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
            script.chmod(0o755)
        constraints = str(packages.constraints(folder / "constraints.txt"))
        real_home = Path.home()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not _OF_THE_TESTS.match(name)},
            "HOME": str(self.home),
            "PATH": f"{self.home}/.local/bin:{tools}:/usr/bin:/bin",
            # Caches and settings are the user's, who is the same one.
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(real_home / ".cache")),
            "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME", str(real_home / ".config")),
            "PIP_CONSTRAINT": constraints,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_COMPILE": "1",  # Python does so when it runs
            "PIPX_DEFAULT_BACKEND": "uv",
            "UV_CONSTRAINT": constraints,
            "UV_PYTHON": sys.executable,
            "UV_PYTHON_DOWNLOADS": "never",
        }

    def run(self, script: str, **environment: str) -> str:
        """Run lines of a shell, none of which may fail; return what they printed."""
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=self.cwd,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_S,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def program(self) -> Path | None:
        """Return where the command `postroom` is; None: it is not installed."""
        places = (self.home / ".local/bin/postroom", self.home / "postroom/bin/postroom")
        return next((each for each in places if each.exists()), None)


def check_router(machine: Machine, *arguments: str) -> None:
    """Have the installed router serve, publish and be listened to, and give out each of its files."""
    program = str(machine.program())
    log = machine.home / "router.log"
    router = RouterProcess(["--dev", *arguments], log, _AS_USERS_HAVE_IT, machine.cwd, program=[program])
    try:
        _check_events(program, router, machine)
        _check_files(router)
    finally:
        assert router.stop() == 0


def _check_events(program: str, router: RouterProcess, machine: Machine) -> None:
    addresses = {"POSTROOM_URL": router.ws_url, "POSTROOM_API_URL": router.api_url}
    listener = subprocess.Popen(
        [program, "listen", "session:1"],
        cwd=machine.cwd,
        env={**machine.environment, **addresses, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        _read_until(listener, b"listening to")
        machine.run(f'{program} publish session:1 lab.tried \'{{"from": "a wheel"}}\'', **addresses)
        _read_until(listener, b' lab.tried {"from": "a wheel"}')
        listener.send_signal(signal.SIGINT)
        assert listener.wait(_WAIT_S) == 0
    finally:
        listener.kill()
        listener.communicate()


def _read_until(process: subprocess.Popen[bytes], wanted: bytes) -> None:
    assert process.stdout is not None
    read = b""
    deadline = time.monotonic() + _WAIT_S
    while wanted not in read:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        more = os.read(process.stdout.fileno(), 65536) if ready else b""
        assert more, f"no {wanted!r} in {read!r}"
        read += more


def _check_files(router: RouterProcess) -> None:
    """What browsers get is what is in the repository: the console, and the client and its types."""
    javascript = REPOSITORY / "clients" / "javascript"
    files = {
        "/": REPOSITORY / "server/console/index.html",
        "/postroom.js": javascript / "postroom.js",
        "/postroom.d.ts": javascript / "postroom.d.ts",
        **{f"/console/{each.name}": each for each in (REPOSITORY / "server/console").iterdir()},
    }
    for path, file in files.items():
        with urllib.request.urlopen(router.api_url + path, timeout=_WAIT_S) as answer:
            assert answer.read() == file.read_bytes(), path
