"""One benchmark of a kept run, with where and when it was measured: what the documentation is written from.

In: a run's record. Out: a record of each of its benchmarks.
"""

from collections.abc import Iterator
from typing import TypedDict

from .record import Outcome, Record

__all__ = ["Measurement", "measurements"]


class Measurement(TypedDict):
    """One benchmark."""

    benchmark: str
    date: str
    command: str
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, float]
    skipped: dict[str, str]
    loads: dict[str, dict[str, Outcome]]
    """By load and server."""


def measurements(run: Record) -> Iterator[Measurement]:
    """Yield each benchmark of a run."""
    for name, measured in run["benchmarks"].items():
        yield Measurement(
            benchmark=name,
            date=run["date"],
            command=run["command"],
            machine=run["machine"],
            versions=run["versions"],
            settings=run["settings"],
            skipped=measured["skipped"],
            loads={load: each["servers"] for load, each in measured["loads"].items()},
        )
