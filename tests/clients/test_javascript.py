"""The JavaScript client: each test of node's own test runner is a test here, by its name."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from ..node import JAVASCRIPT
from .stage import stage

FILES = ("chain.test.js", "scripted.test.js", "router.test.js")
NODE_S = 150.0
SETTINGS = {"history_events": 300, "outbox_bytes": 262_144, "token_warning_s": 30.0}
TESTS = [
    (file, name)
    for file in FILES
    for name in re.findall(r'^test\("([^"]+)"', (JAVASCRIPT / file).read_text(), re.MULTILINE)
]

pytestmark = pytest.mark.usefixtures("node_modules")


class Outcome(NamedTuple):
    passed: bool
    why: str


async def run(file: str, environment: dict[str, str]) -> dict[tuple[str, str], Outcome]:
    """Run a file of tests in Node, and return what came of each."""
    process = await asyncio.create_subprocess_exec(
        *("node", "--test", "--test-reporter", str(JAVASCRIPT / "reporter.js"), str(JAVASCRIPT / file)),
        cwd=JAVASCRIPT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(NODE_S):
            printed, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        printed, _ = await process.communicate()
    found = [json.loads(line) for line in printed.decode().splitlines() if line.startswith("{")]
    missing = Outcome(False, f"no outcome; node printed: {printed.decode()[-3000:]}")
    outcomes = {each["name"]: Outcome(each["passed"], each["why"]) for each in found}
    return {(file, name): outcomes.get(name, missing) for each, name in TESTS if each == file}


async def run_all() -> dict[tuple[str, str], Outcome]:
    async with stage(**SETTINGS) as environment:
        runs = await asyncio.gather(*(run(file, environment) for file in FILES))
    return {test: outcome for each in runs for test, outcome in each.items()}


@pytest.fixture(scope="module")
def outcomes(node_modules: Path) -> dict[tuple[str, str], Outcome]:
    """What came of every test: the files are run once, side by side."""
    return asyncio.run(run_all())


@pytest.mark.parametrize(("file", "name"), TESTS, ids=[f"{file.partition('.')[0]}: {name}" for file, name in TESTS])
def test_in_node(file: str, name: str, outcomes: dict[tuple[str, str], Outcome]) -> None:
    """What node's runner says of the test."""
    outcome = outcomes[file, name]
    assert outcome.passed, outcome.why


def test_code_that_uses_it_is_type_checked(node_modules: Path) -> None:
    """TypeScript accepts a program as users write it, and refuses the mistakes that are marked in it."""
    done = subprocess.run(
        ["node", str(node_modules / "typescript" / "bin" / "tsc"), "--project", str(JAVASCRIPT / "types")],
        capture_output=True,
        text=True,
        timeout=NODE_S,
    )
    assert done.returncode == 0, done.stdout
