"""A reader of the documentation: pages in; routers, shells and programs do what they say, and print what they show."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

from ..conftest import RouterProcess
from ..node import installed_modules
from ..ports import free_port
from .pages import REPOSITORY, Block, steps
from .shown import Shown
from .tab import Browser

__all__ = ["Reader"]

WAIT_S = 60.0
COMMAND_S = 120.0

_VARIABLES = r"""(?P<variables>(?:\w+=(?:\$\([^)]*\)|"[^"]*"|'[^']*'|\S)+ )*)"""
_ROUTER = re.compile(
    _VARIABLES + r"(?P<what>make run|postroom (?:serve|demo))\b(?P<arguments>.*?)(?: 2> (?P<log>\S+))?$"
)
_FOLLOWER = re.compile(_VARIABLES + r"(?:postroom listen |curl -N )")
_ASKS_DEFAULT = re.compile(r"^ *(?:\w+=\S+ )*(?:curl|postroom) .*127\.0\.0\.1:800[01]\b", re.MULTILINE)
"""Asks whoever listens where a router does by default, and that is none of the page's."""
_DEMO = "--dev --plugin server.demo:plugin "


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
        self._state.write_text(
            f"unset {clean} _\nexport PYTHONUNBUFFERED=1 PATH={shlex.quote(str(tools))}:$PATH\n"
            f"export CURL_HOME={shlex.quote(str(folder))}\n"
        )
        (folder / ".curlrc").write_text("silent\nshow-error\n")  # as in a terminal: no meter among what is printed
        self._outputs: list[Path] = []
        self._listeners: list[subprocess.Popen[bytes]] = []
        self._left_running: list[subprocess.Popen[bytes]] = []
        self._shown = Shown()
        self._browser: Browser | None = None

    @property
    def logs(self) -> str:
        """What the routers have logged so far."""
        return "".join(router.log for router in self._routers)

    def follow(self, page: Path) -> None:
        """Do all that the page says, and raise AssertionError where it is not so."""
        for block in steps(page):
            if block.followed:
                self._do(block)
        assert self._browser is None or not self._browser.complaints, self._browser.complaints

    def _do(self, block: Block) -> None:
        if block.save_as:
            file = self._cwd / block.save_as
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._localised(block.text))
        elif block.language == "sh":
            self._type(block.text, block.runs_on)
        elif block.language in ("python", "js"):
            program = {"python": "python", "js": "node"}[block.language]
            script = self._folder / {"python": "script.py", "js": "script.mjs"}[block.language]
            script.write_text(self._localised(block.text))
            self._run([f"{program} {script}"])
        elif block.language == "text":
            self._expect(block.text)
        elif block.language == "json":
            self._expect_values(block.text)
        elif block.language == "open":
            self._browser = self._browser or Browser()
            self._browser.open(self._localised(block.text))
        elif block.language.startswith("stop"):
            self._stop_listening()
            if block.language == "stop the router":
                self._routers[-1].stop()

    def _type(self, text: str, runs_on: bool) -> None:
        """Run the commands of a block; those that do not end by themselves run on."""
        pending: list[str] = []
        lines = text.replace("\\\n", " ").splitlines()
        for place, line in enumerate(lines):
            command = line.partition("  #")[0].strip()
            if command.startswith("make "):
                makefile = (REPOSITORY / "Makefile").read_text()
                assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE), command
            if router := _ROUTER.match(command):
                self._run(pending)
                self._serve(router)
            elif _FOLLOWER.match(command) or (runs_on and place == len(lines) - 1):
                self._run(pending)
                self._leave_running(command, begins=not runs_on)
            elif command.startswith(("npm install ", "pip install ")):
                self._check_packages(command)
            elif command.startswith("sqlite3 ") and shutil.which("sqlite3") is None:
                continue  # the page has another way, too
            elif command and not command.startswith(("make ", "source .venv")):
                pending.append(line)
        self._run(pending)

    def _serve(self, command: re.Match[str]) -> None:
        ports: list[str] = []
        if self._routers:
            last = self._routers[-1]
            ports = [last.ws_url.split(":")[2].partition("/")[0], last.api_url.split(":")[2]]
            last.stop()
        elif "127.0.0.1:800" in command[0]:  # it names its own addresses, so they have to be known before
            ports = [str(free_port()), str(free_port())]
        whole = self._localised(command[0])
        for default, port in zip(("8000", "8001"), ports, strict=False):
            whole = whole.replace(f"127.0.0.1:{default}", f"127.0.0.1:{port}")
        parts = _ROUTER.match(whole)
        assert parts is not None
        lines = subprocess.check_output(["bash", "-c", f". {self._state}; {parts['variables']} env -0"]).decode()
        pairs = (line.split("=", 1) for line in lines.split("\0") if line)
        environment = {name: value for name, value in pairs if name.startswith(("POSTROOM_", "OTEL_"))}
        log = self._cwd / parts["log"] if parts["log"] else self._folder / f"router-{len(self._routers)}.log"
        demo = "" if parts["what"] == "postroom serve" else _DEMO
        same = [each for pair in zip(("--port", "--api-port"), ports, strict=False) for each in pair]
        arguments = [*same, *shlex.split(demo + parts["arguments"])]
        router = RouterProcess(arguments, log, environment, self._cwd)
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
        assert self._routers or not _ASKS_DEFAULT.search(script), f"the page has started no router yet: {script}"
        if re.search(r"^node ", script, re.MULTILINE):
            assert self._modules
        output = self._new_output()
        whole = f"set -e; . {self._state}\n{script}\nexport -p > {self._state}"
        with output.open("wb") as out:
            code = subprocess.call(
                ["bash", "-c", whole], cwd=self._cwd, stdout=out, stderr=subprocess.STDOUT, timeout=COMMAND_S
            )
        assert code == 0, f"{script}\n{output.read_text()}"

    def _leave_running(self, command: str, begins: bool) -> None:
        """Run a command beside the others; `begins`: wait until it follows what it was told to."""
        output = self._new_output()
        if "node " in command:
            assert self._modules
        whole = f". {self._state}; exec env {self._localised(command)}"
        with output.open("wb") as out:
            process = subprocess.Popen(["bash", "-c", whole], cwd=self._cwd, stdout=out, stderr=subprocess.STDOUT)
        listens = "postroom listen " in command
        (self._listeners if listens else self._left_running).append(process)
        if begins:
            begin = "listening to" if listens else "event: subscribed"

            def settled() -> bool:
                said = output.read_text()
                return begin in said or (process.poll() is not None and "forbidden: " in said)

            self._wait(settled, command)

    @cached_property
    def _modules(self) -> Path:
        """The folder in which Node finds what its programs import: the packages of the tests, and our own."""
        modules = self._folder / "node_modules"
        modules.mkdir()
        for package in installed_modules().iterdir():
            (modules / package.name).symlink_to(package)
        (modules / "postroom-client").symlink_to(REPOSITORY / "clients" / "javascript")
        return modules

    def _check_packages(self, command: str) -> None:
        """Look whether what is to be installed is there: no test of the documentation asks a registry."""
        tool, _, *packages = shlex.split(command)
        for package in packages:
            plain = package.partition("[")[0]
            if plain.startswith("."):
                assert (REPOSITORY / plain).exists(), command
            elif tool == "npm":
                assert (self._modules / plain).exists(), command
            else:
                assert importlib.metadata.version(plain), command

    def _expect(self, text: str) -> None:
        for line in text.splitlines():
            if line.strip(" …"):
                wanted = self._localised(line)
                self._wait(lambda wanted=wanted: self._shown.line(wanted, self._printed()), line)

    def _expect_values(self, text: str) -> None:
        try:
            values = [json.loads(self._localised(text))]
        except ValueError:
            values = [json.loads(line) for line in self._localised(text).splitlines()]
        for value in values:
            self._wait(
                lambda value=value: self._shown.value(value, [output.read_text() for output in self._outputs]),
                json.dumps(value),
            )

    def _localised(self, text: str) -> str:
        for router in self._routers[-1:]:
            address = router.ws_url.removeprefix("ws").removesuffix("/v1/ws")
            text = text.replace("ws://127.0.0.1:8000/", f"ws{address}/")
            text = text.replace("http://127.0.0.1:8000", f"http{address}")
            text = text.replace("http://127.0.0.1:8001", router.api_url)
        if "8080" in text:
            text = re.sub(r"\b8080\b", str(self._web_port), text)
        return self._shown.localised(text)

    @cached_property
    def _web_port(self) -> int:
        """The port of the web server that a page has for pages of its own."""
        return free_port()

    def _new_output(self) -> Path:
        self._outputs.append(self._folder / f"output-{len(self._outputs)}")
        self._outputs[-1].touch()
        return self._outputs[-1]

    def _printed(self) -> str:
        printed = [output.read_text() for output in self._outputs]
        return "\n".join([*printed, self._browser.text()] if self._browser else printed)

    def _wait(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + WAIT_S
        while True:
            found = condition()
            if found:
                return found
            assert time.monotonic() < deadline, f"not seen: {what}\n\n{self._printed()}\n\n{self.logs[-2000:]}"
            time.sleep(0.05)

    def leave(self) -> None:
        """Stop whatever runs; what ends badly keeps none of the others."""
        with ExitStack() as stack:
            for router in self._routers:
                stack.callback(router.stop)
            stack.callback(self._stop_listening)
            if self._browser is not None:
                stack.callback(self._browser.close)

    def _stop_listening(self) -> None:
        running = [*self._listeners, *self._left_running]
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in running:
            try:
                process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._listeners.clear()
        self._left_running.clear()
