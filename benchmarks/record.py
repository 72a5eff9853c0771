"""A run kept as JSON under `results/`, and the one before it.

In: results. Out: a file per run, and figures to compare with.
"""

import json
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from .measure import Result, Settings
from .peers import Peer
from .targets import TARGETS, judge

__all__ = ["Record", "previous_figure", "previous_ratio", "recall", "record", "save"]

_RESULTS = Path(__file__).parent / "results"


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
    ratios: dict[str, float]
    """By target."""


def record(
    benchmark: str,
    settings: Settings,
    peers: Iterable[Peer],
    results: Mapping[str, Mapping[str, Result]],
    skipped: Mapping[str, str],
) -> Record:
    """Return everything worth keeping of a run that ends now."""
    verdicts = {target.name: judge(target, results) for target in TARGETS}
    versions: dict[str, str] = {}
    for peer in peers:
        versions |= peer.versions()
    return Record(
        benchmark=benchmark,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        machine=_machine(),
        versions=versions,
        settings=asdict(settings),
        skipped=dict(skipped),
        loads={
            load: {name: _outcome(result) for name, result in of_peers.items()} for load, of_peers in results.items()
        },
        ratios={name: verdict.ratio for name, verdict in verdicts.items() if verdict is not None},
    )


def save(run: Record) -> Path:
    """Write a run to a file of its own and return its path."""
    _RESULTS.mkdir(exist_ok=True)
    stamp = run["date"].replace("+00:00", "Z").replace(":", "").replace("-", "")
    path = _RESULTS / f"{run['benchmark']}-{stamp}.json"
    path.write_text(json.dumps(run, indent=2) + "\n")
    return path


def recall(current: Record) -> Record | None:
    """Return the newest run kept that `current` can be compared with, or `None`.

    It had as many subscribers, and has figures for everything that `current` has figures for.
    """
    for path in sorted(_RESULTS.glob(f"{current['benchmark']}-*.json"), reverse=True):
        run: Record = json.loads(path.read_text())
        if run["settings"]["subscribers"] == current["settings"]["subscribers"] and _measured(run) >= _measured(
            current
        ):
            return run
    return None


def previous_figure(run: Record | None, load: str, peer: str, figure: str) -> float | None:
    """Return one median of an earlier run, or `None` where it has none."""
    outcome = run["loads"].get(load, {}).get(peer) if run is not None else None
    median = outcome["median"] if outcome is not None else None
    return median[figure] if median is not None else None


def previous_ratio(run: Record | None, target: str) -> float | None:
    """Return a target's ratio in an earlier run, or `None` where it was not judged."""
    return run["ratios"].get(target) if run is not None else None


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
    load = os.getloadavg()[0]
    return {"cpu": cpu, "cores": str(os.cpu_count()), "kernel": platform.release(), "load average": f"{load:.1f}"}
