"""Power cuts under real journals, in short form: `make torture` cuts a thousand times."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
RUN_S = 60.0


async def power(folder: Path, *options: str) -> tuple[int | None, str]:
    """Run the power cuts as a program; return how it ended and what it said."""
    if sys.platform != "linux" or (shutil.which(os.environ.get("CC", "cc")) is None and "CI" not in os.environ):
        pytest.skip("power cuts take Linux and a C compiler")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.torture.power", *options),
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # it begins again as a child of its own, and has journals as further ones
    )
    try:
        async with asyncio.timeout(RUN_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return process.returncode, said.decode()


async def test_nothing_acknowledged_is_lost_over_power_cuts(tmp_path: Path) -> None:
    """At any change to any file of the journal; offsets, epochs and positions stay good, and it goes on by itself."""
    code, said = await power(tmp_path, "--cuts", "25", "--seed", "1")
    assert code == 0, said
    assert "\n0 violations\n" in said


@pytest.mark.parametrize("plant", ["normal", "early"])
async def test_power_cuts_find_a_journal_that_acknowledges_too_early(tmp_path: Path, plant: str) -> None:
    code, said = await power(tmp_path, "--cuts", "40", "--seed", "1", "--plant", plant)
    assert code == 1, said
    assert re.search(r"^[1-9]\d* violations?$", said, re.MULTILINE), said
