"""The runs that the documentation is written from: one of each benchmark.

In: files under `results/`. Out: the newest run of each benchmark that has the settings of `make bench`, or the one that
the documentation has already.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from .__main__ import BY_NAME, defaults
from .measurement import Measurement, measurements
from .record import FORMAT, RESULTS, Record

__all__ = ["RECORD", "newest", "save"]

RECORD = Path(__file__).parents[1] / "docs" / "explanation" / "performance.json"


def newest() -> dict[str, Measurement]:
    """Return a run of each benchmark that was ever measured, by name, in the order of `make bench`."""
    kept: dict[str, Measurement] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for name in BY_NAME:
        runs = sorted(_runs(name), key=lambda run: run["date"])
        if runs and (name not in kept or runs[-1]["date"] > kept[name]["date"]):
            kept[name] = runs[-1]
    return {name: kept[name] for name in BY_NAME if name in kept}


def save(records: dict[str, Measurement]) -> None:
    """Keep what the pages are written from."""
    RECORD.write_text(json.dumps(records, indent=1) + "\n")


def _runs(name: str) -> Iterator[Measurement]:
    same, usual = BY_NAME[name].same, defaults()
    for path in RESULTS.glob("*.json"):
        run: Record = json.loads(path.read_text())
        if run.get("format") == FORMAT and all(run["settings"].get(each) == getattr(usual, each) for each in same):
            yield from (each for each in measurements(run) if each["benchmark"] == name)
