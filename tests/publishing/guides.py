"""What a guide has its reader save and type: a page in; files, commands and running programs out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

from ..docs.pages import REPOSITORY, Block, steps

__all__ = ["WAIT_S", "Program", "done", "lines", "program", "until", "written"]

WAIT_S = 20.0
_NAMED = re.compile(r"# (?P<name>[\w/]+\.py)(?P<added>, at its end)?\n")


def _blocks(page: str, language: str) -> Iterator[Block]:
    return (block for block in steps(REPOSITORY / page) if block.tested_by and block.language == language)


def written(page: str, folder: Path) -> None:
    """Save the programs of a page that a test tries, under the name that stands in their first line."""
    for block in _blocks(page, "python"):
        named = _NAMED.match(block.text)
        assert named, f"{page}: which file is this?\n{block.text}"
        path = folder / named["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if named["added"] else "w") as file:
            file.write(block.text)


def lines(page: str, word: str) -> list[str]:
    """Return the commands of a page that a test tries and that begin with a word."""
    commands = [line for block in _blocks(page, "sh") for line in block.text.replace("\\\n", " ").splitlines()]
    found = [command.partition("  #")[0].strip() for command in commands if command.startswith(word)]
    assert found, f"{page} has no command {word}"
    return found


async def until(condition: Callable[[], Awaitable[object] | object], what: str) -> None:
    """Wait for what no event tells of, for some time."""
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while True:
        held = condition()
        if await held if isinstance(held, Awaitable) else held:
            return
        assert asyncio.get_running_loop().time() < deadline, f"not seen: {what}"
        await asyncio.sleep(0.05)


class Program:
    """A command that runs on, and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def printed(self) -> str:
        """All that it wrote so far."""
        return self._output.read_text(errors="replace")

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait until it has printed this, and return the match."""
        await until(
            lambda: self.process.returncode is not None or re.search(pattern, self.printed),
            f"{pattern}: {self._output}",
        )
        match = re.search(pattern, self.printed)
        assert match, self.printed
        return match

    async def ends(self) -> int:
        """Wait for its end, and return its exit code."""
        async with asyncio.timeout(WAIT_S):
            return await self.process.wait()


def done(command: str, folder: Path, **environment: str) -> str:
    """Run a command to its end, which has to be a good one, and return what it printed."""
    ended = subprocess.run(
        shlex.split(command),
        cwd=folder,
        env=_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3 * WAIT_S,
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}"
    return ended.stdout


def _environment(more: dict[str, str]) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **more}


@contextlib.asynccontextmanager
async def program(command: str, folder: Path, **environment: str) -> AsyncIterator[Program]:
    """Run a command from a folder; it is killed at the end where it runs on."""
    output = folder / f"{command.split()[0]}.out"
    with output.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *shlex.split(command),
            cwd=folder,
            env=_environment(environment),
            stdout=out,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # so that workers that outlive a master that was killed end with it
        )
    try:
        yield Program(process, output)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
