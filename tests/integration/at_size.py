"""What tests at size share: how large they are, what they print, and what a router process uses and has logged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..conftest import RouterProcess

__all__ = ["FULL", "MIB", "cpu_s", "log_of", "report", "rss", "size"]

FULL = os.environ.get("POSTROOM_FULL", "") not in ("", "0")
MIB = 1024 * 1024


def size(short: int, full: int) -> int:
    """Return how large a test is."""
    return full if FULL else short


def report(what: str, **figures: object) -> None:
    """Print the figures of a run (`pytest -rP` shows them)."""
    print(what, *(f"{name}={value}" for name, value in figures.items()))


def log_of(process: RouterProcess) -> list[dict[str, Any]]:
    """Return what the process has logged so far; every line that is not JSON must be about an unknown variable."""
    lines = process.log.rpartition("\n")[0].splitlines()  # the last one may be half written
    assert not [line for line in lines if not line.startswith(("{", "postroom: POSTROOM_FULL"))], process.log
    return [json.loads(line) for line in lines if line.startswith("{")]


def rss(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def cpu_s(pid: int) -> float:
    """Return how much of a core's time a process has used so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
