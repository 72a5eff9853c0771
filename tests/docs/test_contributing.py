"""Commands for those who change the code: taken from the pages, and run in the clone that they are meant for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ..node import JAVASCRIPT
from .pages import REPOSITORY, steps

COMMAND_S = 120.0
CONTRIBUTING = REPOSITORY / "CONTRIBUTING.md"
RELIABILITY = REPOSITORY / "docs" / "explanation" / "reliability.md"


def run(page: Path, test: str, cwd: Path, more: str = "") -> str:
    """Run the block that a test of this module is named for, each line with more arguments; return what it printed."""
    (block,) = [each for each in steps(page) if each.tested_by.endswith(f"::{test}")]
    script = "\n".join(f"{line} {more}" for line in block.text.splitlines())
    script = script.replace(".venv/bin/pytest", f"'{sys.executable}' -m pytest -p no:cacheprovider")
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=cwd,
        env=os.environ | {"PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_one_test_can_be_run_by_its_file_and_by_a_word_in_its_name() -> None:
    """Both find some, and they pass."""
    printed = run(CONTRIBUTING, "test_one_test_can_be_run_by_its_file_and_by_a_word_in_its_name", REPOSITORY)
    assert printed.count(" passed") == 2


def test_the_clients_tests_can_be_run_by_node_itself(node_modules: Path) -> None:
    """In their folder, whose packages are installed."""
    printed = run(CONTRIBUTING, "test_the_clients_tests_can_be_run_by_node_itself", JAVASCRIPT)
    assert "fail 0" in printed


def test_what_is_measured_at_full_size_is_there() -> None:
    """It takes minutes, so its tests are collected, and not run."""
    printed = run(RELIABILITY, "test_what_is_measured_at_full_size_is_there", REPOSITORY, more="--collect-only -q")
    assert "test_mutated_frames.py::" in printed
