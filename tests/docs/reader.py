"""A reader of the documentation: pages in; routers, shells and programs do what they say, and print what they show."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..conftest import RouterProcess
from .pages import REPOSITORY, steps

__all__ = ["Reader"]

WAIT_S = 60.0
_VARYING = re.compile(
    r"(?P<time>\d\d:\d\d:\d\d\.\d{3})|(?P<uuid>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"|(?P<connection>\b[0-9a-f]{8}-[0-9a-f]+\b)|(?P<epoch>\b[0-9a-f]{12}\b)|(?P<made>\b[0-9a-f]{10}-[0-9a-f]+\b)"
    r"|(?P<incident>\[[0-9a-f]{6}-\d+\])"
    r"|(?P<left>, [\d.]+ s left)|(?P<wait>\bin [\d.]+ s\b)|(?P<any>…)"
)
_SHAPES = {
    "time": r"\d\d:\d\d:\d\d\.\d{3}",
    "uuid": r"[0-9a-f-]{36}",
    "connection": r"[0-9a-f]{8}-[0-9a-f]+",
    "made": r"[0-9a-f]{10}-[0-9a-f]+",
    "incident": r"\[[0-9a-f]{6}-\d+\]",
    "left": r"(?:, [\d.e+-]+ s left)?",
    "wait": r"in [\d.]+ s",
    "any": r".*",
}


class Reader:
    """Somebody who follows a page: starts its routers, runs its blocks, and looks for what it shows.

    What is not a router runs in one shell's environment. Default addresses are replaced with those of the router.
    """

    def __init__(self, folder: Path, cwd: Path) -> None:
        self._folder = folder
        self._cwd = cwd
        self._routers: list[RouterProcess] = []
        self._state = folder / "state.sh"
        tools = Path(sys.executable).parent
        clean = " ".join(variable for variable in os.environ if variable.startswith("POSTROOM_"))
        self._state.write_text(f"unset {clean} _\nexport PYTHONUNBUFFERED=1 PATH={shlex.quote(str(tools))}:$PATH\n")
        self._outputs: list[Path] = []
        self._listeners: list[subprocess.Popen[bytes]] = []
        self._epochs: dict[str, str] = {}

    @property
    def logs(self) -> str:
        """What the routers have logged so far."""
        return "".join(router.log for router in self._routers)

    def follow(self, page: Path) -> None:
        """Do all that the page says, and raise AssertionError where it is not so."""
        for block in steps(page):
            if block.tested_by or block.not_run:
                continue
            if block.save_as:
                (self._cwd / block.save_as).write_text(block.text)
            elif block.language == "sh":
                self._type(block.text)
            elif block.language == "python":
                script = self._folder / "script.py"
                script.write_text(self._localised(block.text))
                self._run([f"python {script}"])
            elif block.language == "text":
                self._expect(block.text)
            elif block.language.startswith("stop"):
                self._stop_listening()
                if block.language == "stop the router":
                    self._routers[-1].stop()

    def _type(self, text: str) -> None:
        """Run the commands of a block; those that do not end by themselves run on."""
        pending: list[str] = []
        for line in text.replace("\\\n", " ").splitlines():
            command = line.partition("  #")[0].strip()
            if command.startswith("make "):
                makefile = (REPOSITORY / "Makefile").read_text()
                assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE), command
            if command == "make run":
                self._serve("--dev --plugin server.demo:plugin")
            elif command.startswith("postroom serve"):
                self._run(pending)
                self._serve(command.removeprefix("postroom serve"))
            elif re.match(r"(\w+=\S.* )?postroom listen ", command):
                self._run(pending)
                self._listen(command)
            elif command.startswith("sqlite3 ") and shutil.which("sqlite3") is None:
                continue  # the page has another way, too
            elif command and not command.startswith(("make ", "source .venv")):
                pending.append(line)
        self._run(pending)

    def _serve(self, arguments: str) -> None:
        same_ports: list[str] = []
        if self._routers:
            last = self._routers[-1]
            same_ports = [
                *("--port", last.ws_url.split(":")[2].partition("/")[0]),
                *("--api-port", last.api_url.split(":")[2]),
            ]
            last.stop()
        lines = subprocess.check_output(["bash", "-c", f". {self._state}; env -0"]).decode().split("\0")
        environment = dict(line.split("=", 1) for line in lines if line.startswith("POSTROOM_"))
        log = self._folder / f"router-{len(self._routers)}.log"
        router = RouterProcess([*same_ports, *shlex.split(arguments)], log, environment, self._cwd)
        self._routers.append(router)
        with self._state.open("a") as state:
            state.write(f"export POSTROOM_URL={router.ws_url} POSTROOM_API_URL={router.api_url}\n")
        back = sum(listener.poll() is None for listener in self._listeners)
        self._wait(lambda: router.log.count('"connection_opened"') >= back, "listeners that have come back")

    def _run(self, pending: list[str]) -> None:
        """Run these lines to their end and keep what they export."""
        if not pending:
            return
        script = self._localised("\n".join(pending))
        pending.clear()
        output = self._new_output()
        whole = f"set -e; . {self._state}\n{script}\nexport -p > {self._state}"
        with output.open("wb") as out:
            code = subprocess.call(
                ["bash", "-c", whole], cwd=self._cwd, stdout=out, stderr=subprocess.STDOUT, timeout=60
            )
        assert code == 0, f"{script}\n{output.read_text()}"

    def _listen(self, command: str) -> None:
        output = self._new_output()
        whole = f". {self._state}; exec env {self._localised(command)}"
        with output.open("wb") as out:
            listener = subprocess.Popen(["bash", "-c", whole], cwd=self._cwd, stdout=out, stderr=subprocess.STDOUT)
        self._listeners.append(listener)

        def settled() -> bool:
            said = output.read_text()
            return "listening to" in said or (listener.poll() is not None and "forbidden: " in said)

        self._wait(settled, command)

    def _expect(self, text: str) -> None:
        for line in text.splitlines():
            if line.strip(" …"):
                pattern, epochs = self._pattern(self._localised(line))
                found = self._wait(lambda pattern=pattern: re.search(pattern, self._printed(), re.MULTILINE), line)
                for group, epoch in epochs.items():
                    self._epochs[epoch] = found[group]

    def _pattern(self, line: str) -> tuple[str, dict[str, str]]:
        """Make a pattern of a line, in which what differs from run to run may differ; epochs keep their meaning."""
        pattern, end = "^", 0
        epochs: dict[str, str] = {}
        for match in _VARYING.finditer(line.rstrip()):
            pattern += re.escape(line[end : match.start()])
            end = match.end()
            kind = match.lastgroup or ""
            if kind == "epoch" and match[0] not in self._epochs.values():
                group = f"epoch{len(epochs)}"
                epochs[group] = match[0]
                pattern += f"(?P<{group}>[0-9a-f]{{12}})"
            else:
                pattern += _SHAPES[kind] if kind != "epoch" else match[0]
        return pattern + re.escape(line.rstrip()[end:]) + "$", epochs

    def _localised(self, text: str) -> str:
        for router in self._routers[-1:]:
            address = router.ws_url.removeprefix("ws").removesuffix("/v1/ws")
            text = text.replace("ws://127.0.0.1:8000/", f"ws{address}/")
            text = text.replace("http://127.0.0.1:8000", f"http{address}")
            text = text.replace("http://127.0.0.1:8001", router.api_url)
        for shown, real in self._epochs.items():
            text = text.replace(shown, real)
        return text

    def _new_output(self) -> Path:
        self._outputs.append(self._folder / f"output-{len(self._outputs)}")
        self._outputs[-1].touch()
        return self._outputs[-1]

    def _printed(self) -> str:
        return "\n".join(output.read_text() for output in self._outputs)

    def _wait(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + WAIT_S
        while True:
            found = condition()
            if found:
                return found
            assert time.monotonic() < deadline, f"not seen: {what}\n\n{self._printed()}\n\n{self.logs[-2000:]}"
            time.sleep(0.05)

    def leave(self) -> None:
        """Stop whatever runs."""
        self._stop_listening()
        for router in self._routers:
            router.stop()

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            if listener.poll() is None:
                listener.send_signal(signal.SIGINT)
        for listener in self._listeners:
            try:
                listener.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                listener.kill()
                listener.wait()
        self._listeners.clear()
