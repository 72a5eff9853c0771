"""The script of a run: lives of journals, each ended by a cut and followed by the next, and the checker at the end."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..recording import Recorder
from .disk import Change, Disk, read_trace
from .life import Life, Line, live
from .moment import MOMENTS, Failing
from .preload import File, Kind
from .witness import Witness

__all__ = ["Plan", "Tally", "run"]

_CUTS_EACH = 25
"""After so many cuts the next journal begins on an empty disk."""
_KILLED = 0.2
"""How often a process is killed while the power stays: what it had not synced is still there, and still not synced."""
_FAILING = 0.15
"""How often the disk fails in a life."""
_MOST_BYTES = 512 * 1024
_ROOMS = 5
_LINES: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
_TELLTALES = (
    "journal_set_aside",
    "journal_epochs_renewed",
    "journal_room_damaged",
    "journal_batch_failed",
    "Traceback",
)
"""What a power cut must never lead to, as it stands in the log."""


class Plan(NamedTuple):
    """What a run does."""

    seed: int
    cuts: int
    plant: str | None = None

    def repeat(self) -> str:
        """Return the command that makes the same decisions again."""
        planted = "" if self.plant is None else f" --plant {self.plant}"
        return f"python -m tests.torture.power --cuts {self.cuts} --seed {self.seed}{planted}"


class Tally:
    """What happened."""

    def __init__(self) -> None:
        self.cuts = 0
        self.kills = 0
        self.journals = 0
        self.acknowledged = 0
        self.failures = 0
        """How often a journal could not be written for a while."""
        self.trimmed = 0
        """How often something was dropped because a journal was too large."""
        self.during: Counter[str] = Counter()
        """Cuts by what the journal was doing."""
        self.before: Counter[str] = Counter()
        """Cuts by the change that they came before."""

    def __str__(self) -> str:
        during, before = (
            ", ".join(f"{what} {count}" for what, count in each.most_common()) for each in (self.during, self.before)
        )
        return (
            f"cuts       {self.cuts} on {self.journals} journals, {self.kills} kills without a cut\n"
            f"failures   {self.failures} times a journal could not be written for a while\n"
            f"events     acknowledged {self.acknowledged}; journals cut down to size {self.trimmed}\n"
            f"cut while  {during}\n"
            f"cut before {before}"
        )


def run(plan: Plan, folder: Path) -> tuple[Tally, list[str]]:
    """Let journals live on disks whose power is cut.

    Args:
        plan: What to do.
        folder: Empty; gets `records`, a log for each journal, and the disk.

    Returns:
        What happened, and what was wrong that the records do not tell.
    """
    (folder / "records").mkdir()
    tally = Tally()
    complaints: list[str] = []
    while tally.cuts < plan.cuts:
        tally.journals += 1
        number = tally.journals
        with Recorder(folder / "records", f"journal-{number}") as recorder:
            journal = _Journal(plan, folder, number, Witness(recorder), tally)
            journal.run(min(_CUTS_EACH, plan.cuts - tally.cuts))
        complaints += (f"journal {number}: {complaint}" for complaint in journal.complaints)
    return tally, complaints


class _Journal:
    def __init__(self, plan: Plan, folder: Path, number: int, witness: Witness, tally: Tally) -> None:
        self._plan = plan
        self._random = random.Random(f"{plan.seed}:{number}")
        self._witness = witness
        self._tally = tally
        self.complaints = witness.complaints
        place = folder / f"disk-{number}"
        place.mkdir()
        self._disk = Disk(place)
        self._log = folder / f"journal-{number}.log"
        self._rooms = tuple(f"power:{number}-{room}" for room in range(1, _ROOMS + 1))
        self._most_bytes = self._random.choice((0, _MOST_BYTES))
        self._lives = 0

    def run(self, cuts: int) -> None:
        source = self._random
        cut = 0
        while cut < cuts:
            moment = source.choice(MOMENTS)
            failing = Failing.draw(source) if source.random() < _FAILING else None
            life = self._life(source.randint(2, 60))._replace(moment=moment, after=moment.draw(source), failing=failing)
            self._live(life)
            if source.random() < _KILLED:
                self._tally.kills += 1
            else:
                cut += 1
                self._tally.cuts += 1
                self._disk.cut(source)
        self._live(self._life(0))
        if not self._witness.stopped:
            self.complaints.append("the last life did not end by itself")
        self._witness.end()
        self._tally.acknowledged += self._witness.acknowledged

    def _life(self, steps: int) -> Life:
        self._lives += 1
        journal = self._disk.folder / "journal.db"
        return Life(self._lives, journal, self._rooms, steps, MOMENTS[0], -1, self._most_bytes, self._plan.plant)

    def _live(self, life: Life) -> None:
        self._witness.begin(life.number, failing=life.failing is not None)
        source = random.Random(self._random.random())
        with tempfile.TemporaryFile() as trace, self._log.open("ab") as log:
            before = log.tell()
            status = self._fork(life, source, trace.fileno(), log.fileno())
            trace.seek(0)
            changes = list(read_trace(trace.read()))
        self._witness.end_life()
        self._disk.follow(changes)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
            self.complaints.append(f"life {life.number}: it hung")
        elif not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
            self.complaints.append(f"life {life.number}: it ended with {os.WEXITSTATUS(status)}, see {self._log}")
        said = self._log.read_bytes()[before:].decode(errors="replace")
        self.complaints += (f"life {life.number}: {each}" for each in _TELLTALES if each in said)
        self._tally.trimmed += said.count("journal_trimmed")
        self._tally.failures += said.count("journal_unavailable")
        self._count(changes, life)

    def _fork(self, life: Life, source: random.Random, trace: int, log: int) -> int:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(reading)
                live(life, source, trace, writing, log)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(writing)
        with open(reading, "rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # the last one may be cut off
                    self._witness.take(_LINES.decode(line))
        _, status = os.waitpid(child, 0)
        return status

    def _count(self, changes: list[Change], life: Life) -> None:
        if life.after < 0:
            return
        witness = self._witness
        doing = "stopped" if witness.stopped else "stopping" if witness.stopping else "at work"
        self._tally.during[doing if witness.opened else "opening"] += 1
        for change in changes:
            if change.kind is Kind.CUT:
                self._tally.before[f"{Kind(change.inode).name} {File(change.offset).name}".lower()] += 1
