"""Commands of a page that run on until they are ended: a command in, what it has printed out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

__all__ = ["Commands", "adapted"]

WAIT_S = 30.0


def adapted(text: str, changes: Mapping[str, str]) -> str:
    """Return a text of a page with the addresses and files of this machine; each of them is in it.

    All at once: what stands for one may hold the figures of another.
    """
    for shown in changes:
        assert shown in text, f"{shown!r} is not in {text!r}"
    pattern = "|".join(map(re.escape, sorted(changes, key=len, reverse=True)))
    return re.sub(pattern, lambda match: changes[match[0]], text)


class Commands:
    """Terminals of somebody who follows a page; at the end whatever runs in them is stopped, the newest first.

    Args:
        folder: Where the commands run.
        environment: Variables beyond those of the test.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        tools = Path(sys.executable).parent
        own = {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._environment = {**os.environ, **own}
        self._stack = ExitStack()
        self._count = 0

    def __enter__(self) -> Commands:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, command: str) -> str:
        """Run this to its end, which must be a good one, and return what it printed."""
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def start(self, command: str, until: str) -> Path:
        """Have this run on, wait until a line of what it prints has this, and return the file of all of it."""
        output = self._folder / f"output-{self._count}"
        self._count += 1
        with output.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self._stack.callback(_stop, process)
        self.wait_for(until, output)
        return output

    def wait_for(self, pattern: str, output: Path) -> re.Match[str]:
        """Wait until something printed fits."""
        deadline = time.monotonic() + WAIT_S
        while True:
            found = re.search(pattern, output.read_text(errors="replace"), re.MULTILINE)
            if found is not None:
                return found
            assert time.monotonic() < deadline, f"not seen: {pattern}\n{output.read_text(errors='replace')}"
            time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it as Ctrl-C does."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(WAIT_S)
    finally:
        process.kill()
        process.wait()
