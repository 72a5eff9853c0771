"""Report: rounds in; a line a minute, and at the end the figures with their bars out."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .looks import Look, slope
from .plan import SoakPlan
from .run import Soak

__all__ = ["Report"]

_SLOPE_MIB = 1.0
"""How much the memory may grow in 10 minutes."""
_WARM_UP_S = 600.0
"""Until then caches of room names and token patterns fill, 4,096 entries each, and the journal comes to its bound."""
_JUDGED_S = 600.0
"""Over less time than this a slope says little: the warm-up and noise are most of it."""
_JOURNAL_MIB = 6.0
"""It is set to hold 4 MiB; it is looked at again after some transactions."""
_WAL_MIB = 34.0
"""SQLite writes it into the journal after 8,000 pages of 4 KiB at the latest."""


class Report:
    """Says how a soak goes on.

    Args:
        plan: What it does.
    """

    def __init__(self, plan: SoakPlan) -> None:
        self._plan = plan
        self._began = time.monotonic()
        self._lines = 0

    def round(self, soak: Soak) -> None:
        """Print a line if a minute is over."""
        minutes = int((time.monotonic() - self._began) / 60)
        if minutes > self._lines:
            self._lines = minutes
            print(self._line(minutes, soak), flush=True)

    def end(self, soak: Soak) -> bool:
        """Print what came of it; return whether every bar was reached."""
        last, supervision = soak.looks[-1], soak.supervision
        constant = last.counts["tasks"] - last.counts["connections"]
        print(f"{soak.tally}")
        print(f"chaos      {_listed(supervision.failed)}")
        events = ("actor_restarted", "connection_repaired", "room_repaired", "actor_given_up", "stalled")
        print(f"repairs    {', '.join(f'{name} {supervision.events[name]}' for name in events)}")
        print(f"left       {_listed(last.counts)}")
        print(f"tasks      connections + {constant}; threads {soak.looks[0].threads} to {last.threads}")
        journal, wal = _most(soak)
        print(f"journal    {journal:.1f} MiB at most, its write-ahead log {wal:.1f} MiB")
        print(f"memory     {self._memory(soak.looks)}")
        print(f"checker    {len(soak.checks)} verdicts, {sum(_clean(each) for each in soak.checks)} of 0 violations")
        missed = [*soak.complaints, *self._missed(soak)]
        for complaint in missed:
            print(f"missed: {complaint}")
        return not missed

    def _line(self, minutes: int, soak: Soak) -> str:
        last, tally = soak.looks[-1], soak.tally
        return (
            f"{minutes:3} min  rounds {len(soak.looks) - 1}, acknowledged {tally.acknowledged}, "
            f"received {tally.events}, drops {tally.drops}, crashes {soak.supervision.failed.total()}, "
            f"stalled {soak.supervision.events['stalled']}; memory {last.memory_mib:.1f} MiB, "
            f"tasks {last.counts['tasks']}, connections {last.counts['connections']}, actors {last.counts['actors']}, "
            f"descriptors {last.counts['descriptors']}, threads {last.threads}, "
            f"journal {last.journal_mib:.1f} + {last.wal_mib:.1f} MiB; "
            f"missed {len(soak.complaints)}"
        )

    def _warm(self, looks: list[Look]) -> list[Look]:
        """Leave out what belongs to the warm-up: ten minutes, or the first third of a short run."""
        first = looks[0].at_s
        warm_up_s = min(_WARM_UP_S, (looks[-1].at_s - first) / 3)
        return [each for each in looks if each.at_s - first >= warm_up_s]

    def _memory(self, looks: list[Look]) -> str:
        warm = self._warm(looks)
        text = f"{looks[0].memory_mib:.1f} MiB before the first round, {looks[-1].memory_mib:.1f} MiB after the last"
        if len(warm) < 2:
            return text
        over_s = warm[-1].at_s - warm[0].at_s
        judged = "" if over_s >= _JUDGED_S else " (not judged: too short)"
        return f"{text}; slope {slope(warm):+.2f} MiB/10 min over {len(warm)} looks in {over_s / 60:.1f} min{judged}"

    def _missed(self, soak: Soak) -> Iterator[str]:
        warm = self._warm(soak.looks)
        if len(warm) > 1 and warm[-1].at_s - warm[0].at_s >= _JUDGED_S and slope(warm) >= _SLOPE_MIB:
            yield f"memory grows by {slope(warm):.2f} MiB in 10 minutes, and should by less than {_SLOPE_MIB:g}"
        for what, most, bar in zip(("journal", "write-ahead log"), _most(soak), (_JOURNAL_MIB, _WAL_MIB), strict=True):
            if most > bar:
                yield f"the {what} has grown to {most:.1f} MiB, and should not be larger than {bar:.0f}"
        yield from untested(soak)


def untested(soak: Soak) -> Iterator[str]:
    """Say what should have happened in a soak and has not."""
    for actor in ("Connection", "Room", "NotificationSource", "Journal", "Supervisor"):
        if not soak.supervision.failed[actor]:
            yield f"no {actor} was made to fail"
    if not soak.supervision.events["stalled"]:
        yield "no client was cut for reading nothing"
    if not soak.tally.acknowledged:
        yield "no event was acknowledged"
    if not soak.tally.resumes:
        yield "no subscriber resumed"


def _most(soak: Soak) -> tuple[float, float]:
    """Return how large the journal and its write-ahead log were at most."""
    return max(each.journal_mib for each in soak.looks), max(each.wal_mib for each in soak.looks)


def _clean(verdict: str) -> bool:
    return verdict.startswith("0 violations\n")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "nothing"
