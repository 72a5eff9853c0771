"""The Makefile on machines that lack something: what it says before anything is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
NEEDS = ("setup.cfg", "pyproject.toml", "clients/python/pyproject.toml")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


def refused(folder: Path, python: str, *words: str) -> str:
    """Let `make setup` fail in a copy of the repository's face; return what it printed."""
    for name in ("Makefile", *NEEDS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    command = ["make", "setup", f"PYTHON={python}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert not (folder / ".venv").exists()
    assert all(each in done.stdout for each in words), done.stdout + done.stderr
    return done.stdout


def stand_in(folder: Path, *answers: str) -> str:
    """Make a Python that answers a command that holds some words: `WORDS) COMMAND`."""
    script = folder / "python"
    script.write_text("\n".join(["#!/bin/sh", 'case "$*" in', *(f"{each};;" for each in answers), "esac", ""]))
    script.chmod(0o755)
    return "./python"


def test_without_python_it_says_what_is_needed(tmp_path: Path) -> None:
    refused(tmp_path, "", "There is no Python here.", "make run PYTHON=/path/to/python3")
    refused(tmp_path, "python3.99", "There is no Python here by the name of python3.99.")


def test_with_a_python_that_does_not_run_it_says_so(tmp_path: Path) -> None:
    """As the stand-ins of version managers do not, where that version is not installed."""
    refused(tmp_path, stand_in(tmp_path, '"-c ") exit 127'), "./python does not run here.", "make run PYTHON=")


def test_with_an_old_python_it_says_which_one_it_found(tmp_path: Path) -> None:
    python = stand_in(tmp_path, "*version_info*) exit 1", "-V) echo Python 3.9.2")
    refused(tmp_path, python, "./python is Python 3.9.2, and Postroom needs 3.11 or newer")


def test_without_the_module_venv_it_says_which_package_has_it(tmp_path: Path) -> None:
    python = stand_in(tmp_path, "*ensurepip*) exit 1")
    refused(tmp_path, python, "sudo apt install python3-venv")
