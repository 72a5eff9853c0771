"""A run kept as JSON under `results/`, and the one before it.

In: results. Out: a file per run, and figures to compare with.
"""

import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from .benchmark import Benchmark, Settings
from .measure import Result
from .peers import Peer
from .targets import TARGETS, judge

__all__ = ["Record", "previous_figure", "previous_value", "recall", "record", "save"]

_RESULTS = Path(__file__).parent / "results"
_SYNCS = 30


class Outcome(TypedDict):
    """One load with one server."""

    invalid: str | None
    median: dict[str, float] | None
    rounds: list[dict[str, float]]


class Record(TypedDict):
    """One run."""

    benchmark: str
    date: str
    command: str
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, float]
    skipped: dict[str, str]
    loads: dict[str, dict[str, Outcome]]
    """By load and server."""
    targets: dict[str, float]
    """The ratio or the figure of each one that was judged."""


def record(
    benchmark: Benchmark,
    settings: Settings,
    peers: Iterable[Peer],
    results: Mapping[str, Mapping[str, Result]],
    skipped: Mapping[str, str],
) -> Record:
    """Return everything worth keeping of a run that ends now."""
    verdicts = {target.name: judge(target, results) for target in TARGETS if target.benchmark == benchmark.name}
    versions: dict[str, str] = {}
    for peer in peers:
        versions |= peer.versions()
    return Record(
        benchmark=benchmark.name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        machine=_machine(),
        versions=versions,
        settings=asdict(settings),
        skipped=dict(skipped),
        loads={
            load: {name: _outcome(result) for name, result in of_peers.items()} for load, of_peers in results.items()
        },
        targets={name: verdict.value for name, verdict in verdicts.items() if verdict is not None},
    )


def save(run: Record) -> Path:
    """Write a run to a file of its own and return its path."""
    _RESULTS.mkdir(exist_ok=True)
    stamp = run["date"].replace("+00:00", "Z").replace(":", "").replace("-", "")
    path = _RESULTS / f"{run['benchmark']}-{stamp}.json"
    path.write_text(json.dumps(run, indent=2) + "\n")
    return path


def recall(current: Record, benchmark: Benchmark) -> Record | None:
    """Return the newest run kept that `current` can be compared with, or `None`.

    The settings that matter were the same, and it has figures for everything that `current` has figures for.
    """
    for path in sorted(_RESULTS.glob(f"{benchmark.name}-*.json"), reverse=True):
        run: Record = json.loads(path.read_text())
        alike = run.keys() == current.keys() and all(
            run["settings"][name] == current["settings"][name] for name in benchmark.same
        )
        if alike and _measured(run) >= _measured(current):
            return run
    return None


def previous_figure(run: Record | None, load: str, peer: str, figure: str) -> float | None:
    """Return one median of an earlier run, or `None` where it has none."""
    outcome = run["loads"].get(load, {}).get(peer) if run is not None else None
    median = outcome["median"] if outcome is not None else None
    return median[figure] if median is not None else None


def previous_value(run: Record | None, target: str) -> float | None:
    """Return a target's ratio or figure in an earlier run, or `None` where it was not judged."""
    return run["targets"].get(target) if run is not None else None


def _measured(run: Record) -> set[tuple[str, str]]:
    return {
        (load, peer)
        for load, of_peers in run["loads"].items()
        for peer, outcome in of_peers.items()
        if outcome["median"] is not None
    }


def _outcome(result: Result) -> Outcome:
    median = result.median()
    return Outcome(
        invalid=result.invalid,
        median=None if median is None else asdict(median),
        rounds=[asdict(figures) for figures in result.rounds],
    )


def _machine() -> dict[str, str]:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "load average": f"{os.getloadavg()[0]:.1f}",
        "fsync": f"{_sync_ms():.2f} ms",
    }


def _sync_ms() -> float:
    """Return how long 4 KiB take to the disk that the journals of the servers are on; the median."""
    times_ms = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(os.urandom(4096))
            start = time.perf_counter()
            os.fsync(file.fileno())
            times_ms.append((time.perf_counter() - start) * 1000)
    return statistics.median(times_ms)
