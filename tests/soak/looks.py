"""Looks: a router's process in, what it holds out; and how its memory goes on over many of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from postroom_client.testing._control import Control

__all__ = ["Look", "counts_as", "look", "slope"]

MIB = 1024 * 1024
_SETTLE_S = 15.0


class Look(NamedTuple):
    """What a router holds at a quiet moment."""

    at_s: float
    """By the monotonic clock."""
    memory_mib: float
    """Its own memory: what it has of files and libraries depends on who else has them just then."""
    threads: int
    journal_mib: float
    """The journal's file."""
    wal_mib: float
    """The write-ahead log beside it."""
    counts: dict[str, int]
    """What it counts inside."""


def look(pid: int, journal: Path, counts: dict[str, int]) -> Look:
    """Look at a process, just after it has counted: then it has collected its garbage."""
    memory = _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss_Anon") / 1024
    threads = _field(Path(f"/proc/{pid}/status"), "Threads")
    wal = journal.with_name(f"{journal.name}-wal")
    sizes = [path.stat().st_size / MIB for path in (journal, wal)]
    return Look(time.monotonic(), memory, threads, *sizes, counts)


async def counts_as(plugin: Control, wanted: Callable[[dict[str, int]], bool]) -> tuple[dict[str, int], bool]:
    """Have the router count until it has settled; return the last counts and whether it did within 15 s."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        counts = await plugin.do("counts")
        if wanted(counts) or time.monotonic() > deadline:
            return counts, wanted(counts)
        await asyncio.sleep(0.1)


def slope(looks: Sequence[Look]) -> float:
    """Return how many MiB the memory grows in 10 minutes: the median over every two looks (Theil and Sen's)."""
    return statistics.median(
        (later.memory_mib - earlier.memory_mib) / (later.at_s - earlier.at_s) * 600
        for earlier, later in combinations(looks, 2)
    )


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ValueError(f"no {name} in {path}")
