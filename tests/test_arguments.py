"""The tools refuse a command line that makes no sense: with exit code 2, what is wrong, and nothing done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "line",
    [
        "simulation --seeds 0",
        "simulation --seeds x",
        "simulation --seed 5 --seeds 3",
        "torture --services 0",
        "torture --rooms 0",
        "torture --kills -1",
        "torture --seconds nan",
        "torture --journal memory",
        "torture --history 0",
        "torture --disk-full --cluster",
        "torture --journal x.db --cluster",
        "torture.power --cuts 0",
        "soak --minutes -1",
        "soak --minutes nan",
        "fuzz frames --seconds 0",
        "fuzz frames --replay /nope",
        "checker records --most -1",
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(line: str, tmp_path: Path) -> None:
    tool, *arguments = line.split()
    ended = subprocess.run(
        [sys.executable, "-m", f"tests.{tool}", *arguments],
        cwd=REPOSITORY,
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, list(tmp_path.iterdir())) == (2, "", [])
    option = next(each for each in reversed(arguments) if each.startswith("--"))
    assert "error: " in ended.stderr
    assert option in ended.stderr.splitlines()[-1]
