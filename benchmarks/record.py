"""A run kept as JSON under `results/`, and the one before it.

In: the results of all benchmarks of a run. Out: one file, a `Record` as JSON, and figures to compare with. Names are
those of the source: benchmarks, loads (`A`), servers (`--peers`), figures (the fields of a benchmark's `Figures`) and
targets (`F1`). Fields may be added; `FORMAT` grows when one changes its meaning or goes.
"""

import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from .benchmark import Benchmark, Settings
from .measure import Result, Results
from .peers import PEERS, Peer
from .targets import TARGETS, judge

__all__ = [
    "FORMAT",
    "RESULTS",
    "Judged",
    "Measured",
    "MeasuredLoad",
    "Outcome",
    "Record",
    "Run",
    "previous_figure",
    "previous_value",
    "recall",
    "record",
    "save",
]

FORMAT = 1

RESULTS = Path(__file__).parent / "results"
_SYNCS = 30


@dataclass(frozen=True, slots=True)
class Run:
    """One benchmark, measured."""

    benchmark: Benchmark
    peers: Sequence[Peer]
    """Those that took part."""
    results: Results
    skipped: dict[str, str]
    """Why others did not, by name."""


class Outcome(TypedDict):
    """One load with one server."""

    invalid: str | None
    """Why there are no figures, or `None`."""
    median: dict[str, float] | None
    """By figure, each over the rounds by itself; `None` where invalid."""
    rounds: list[dict[str, float]]
    """By figure."""


class MeasuredLoad(TypedDict):
    """One load with all servers."""

    title: str
    servers: dict[str, Outcome]


class Measured(TypedDict):
    """One benchmark."""

    skipped: dict[str, str]
    """Why a server did not take part, by its name."""
    loads: dict[str, MeasuredLoad]


class Judged(TypedDict):
    """What became of one target."""

    what: str
    benchmark: str
    bound: float
    at_most: bool
    """Whether `bound` is the largest value that holds, or the smallest."""
    unit: str
    """`x`: a ratio."""
    value: float | None
    """Median over the rounds; `None`: not judged, because figures are missing."""
    lowest: float | None
    highest: float | None
    holds: bool | None


class Record(TypedDict):
    """One run: everything worth keeping."""

    format: int
    date: str
    """When it ended, as ISO 8601 in UTC."""
    command: str
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, float]
    servers: dict[str, str]
    """Title by name, in the order of the tables."""
    benchmarks: dict[str, Measured]
    targets: dict[str, Judged]
    """Those of the benchmarks of this run."""


def record(settings: Settings, runs: Sequence[Run]) -> Record:
    """Return everything worth keeping of a run that ends now."""
    versions: dict[str, str] = {}
    for run in runs:
        for peer in run.peers:
            versions |= peer.versions()
    return Record(
        format=FORMAT,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        machine=_machine(),
        versions=versions,
        settings=asdict(settings),
        servers={peer.name: peer.title for peer in PEERS},
        benchmarks={run.benchmark.name: _measured(run, settings) for run in runs},
        targets={name: judged for run in runs for name, judged in _judged(run)},
    )


def save(run: Record) -> Path:
    """Write a run to a file of its own and return its path."""
    RESULTS.mkdir(exist_ok=True)
    stamp = run["date"].replace("+00:00", "Z").replace(":", "").replace("-", "")
    path = RESULTS / f"{stamp}.json"
    path.write_text(json.dumps(run, indent=2) + "\n")
    return path


def recall(run: Run, settings: Settings) -> Record | None:
    """Return the newest run kept that this one can be compared with, or `None`.

    The settings that matter were the same, and it has figures for everything that this one has figures for.
    """
    now, name = asdict(settings), run.benchmark.name
    wanted = _with_figures(_measured(run, settings))
    for path in sorted(RESULTS.glob("*.json"), reverse=True):
        kept: Record = json.loads(path.read_text())
        if kept.get("format") != FORMAT or name not in kept["benchmarks"]:
            continue
        alike = all(kept["settings"].get(setting) == now[setting] for setting in run.benchmark.same)
        if alike and _with_figures(kept["benchmarks"][name]) >= wanted:
            return kept
    return None


def previous_figure(run: Record | None, benchmark: str, load: str, peer: str, figure: str) -> float | None:
    """Return one median of an earlier run, or `None` where it has none."""
    if run is None or load not in run["benchmarks"][benchmark]["loads"]:
        return None
    outcome = run["benchmarks"][benchmark]["loads"][load]["servers"].get(peer)
    return outcome["median"].get(figure) if outcome is not None and outcome["median"] is not None else None


def previous_value(run: Record | None, target: str) -> float | None:
    """Return a target's ratio or figure in an earlier run, or `None` where it was not judged."""
    judged = run["targets"].get(target) if run is not None else None
    return judged["value"] if judged is not None else None


def _measured(run: Run, settings: Settings) -> Measured:
    return Measured(
        skipped=run.skipped,
        loads={
            load.name: MeasuredLoad(
                title=load.title(settings),
                servers={name: _outcome(result) for name, result in run.results[load.name].items()},
            )
            for load in run.benchmark.loads
        },
    )


def _judged(run: Run) -> list[tuple[str, Judged]]:
    targets = [target for target in TARGETS if target.benchmark == run.benchmark.name]
    verdicts = [(target, judge(target, run.results)) for target in targets]
    return [
        (
            target.name,
            Judged(
                what=target.what,
                benchmark=target.benchmark,
                bound=target.bound,
                at_most=target.at_most,
                unit=target.unit,
                value=None if verdict is None else verdict.value,
                lowest=None if verdict is None else verdict.lowest,
                highest=None if verdict is None else verdict.highest,
                holds=None if verdict is None else verdict.holds,
            ),
        )
        for target, verdict in verdicts
    ]


def _with_figures(measured: Measured) -> set[tuple[str, str]]:
    return {
        (name, peer)
        for name, load in measured["loads"].items()
        for peer, outcome in load["servers"].items()
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
