"""An example that runs: `python -m examples NAME` on free ports, what it prints, and its end in good order."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..docs.pages import REPOSITORY, steps
from ..ports import free_port

__all__ = ["Example", "running_example"]

START_S = 60.0
STOP_S = 40.0
_DEFAULTS = ("8000", "8001", "8080")


class Example:
    """One of the examples, in a process of its own.

    Args:
        name: Its folder.
        folder: Where its output goes.
        environment: The whole environment.
    """

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.ports = [str(free_port()) for _ in _DEFAULTS]
        router, api, page = self.ports
        self.router = f"ws://127.0.0.1:{router}/v1/ws"
        self.api = f"http://127.0.0.1:{api}"
        self.page = f"http://127.0.0.1:{page}"
        self._output, self._complaints = folder / f"{name}.out", folder / f"{name}.err"
        command = [sys.executable, "-W", "error", "-m", "examples", name]
        options = ["--port", router, "--api-port", api, "--page-port", page]
        with self._output.open("wb") as output, self._complaints.open("wb") as complaints:
            self._process = subprocess.Popen(
                [*command, *options], cwd=REPOSITORY, env=environment, stdout=output, stderr=complaints
            )

    @property
    def printed(self) -> str:
        """What it has printed."""
        return self._output.read_text()

    @property
    def complaints(self) -> str:
        """What came on stderr."""
        return self._complaints.read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until it has printed a line like this."""
        deadline = time.monotonic() + START_S
        while (found := re.search(pattern, self.printed, re.MULTILINE)) is None:
            assert self._process.poll() is None, f"{self.name} ended: {self.printed}{self.complaints}"
            assert time.monotonic() < deadline, f"{pattern} not seen: {self.printed}{self.complaints}"
            time.sleep(0.05)
        return found

    def prints_what_stands_in(self, page: str) -> None:
        """Wait until every line has come that a page of its folder says comes; `…` stands for anything."""
        blocks = [block.text for block in steps(REPOSITORY / "examples" / self.name / page) if block.tested_by]
        assert blocks
        for line in "".join(blocks).splitlines():
            for default, port in zip(_DEFAULTS, self.ports, strict=True):
                line = line.replace(f"127.0.0.1:{default}", f"127.0.0.1:{port}")
            self.wait_for("^" + re.escape(line).replace("…", ".*") + "$")

    def stop(self) -> int:
        """End it as Ctrl-C does, and return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(STOP_S)
        finally:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_example(
    name: str, folder: Path, environment: dict[str, str], *, warns_of: str | None = None
) -> Iterator[Example]:
    """Run an example. In the end it must stop with exit code 0 and must not have complained.

    Args:
        name: Its folder.
        folder: Where its output goes.
        environment: The whole environment.
        warns_of: What may stand in a complaint; None: nothing.
    """
    example = Example(name, folder, environment)
    try:
        yield example
        code = example.stop()
        assert code == 0, example.complaints
        others = [line for line in example.complaints.splitlines() if warns_of is None or warns_of not in line]
        assert others == [], example.complaints
    finally:
        example.stop()
