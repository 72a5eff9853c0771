"""The verdict: a folder of records in, what the checker says of it out."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

__all__ = ["check"]

_CHECK_S = 300.0
_REPOSITORY = Path(__file__).parents[2]


async def check(records: Path) -> tuple[str, int]:
    """Run the checker as a program of its own; return what it says and how it ends."""
    checker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.checker", str(records)),
        cwd=_REPOSITORY,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_CHECK_S):
            output, _ = await checker.communicate()
    finally:
        if checker.returncode is None:
            checker.kill()
            await checker.wait()
    assert checker.returncode is not None
    return output.decode(), checker.returncode
