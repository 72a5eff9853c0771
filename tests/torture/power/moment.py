"""Moments at which the power is cut: which changes are counted, and how far."""

from __future__ import annotations

import random
from typing import NamedTuple

from .preload import File, Kind

__all__ = ["MOMENTS", "Failing", "Moment"]

_ALL_KINDS = frozenset(Kind) - {Kind.CUT}
_ALL_FILES = frozenset(File)
_NAMES = frozenset({Kind.CREATE, Kind.UNLINK, Kind.RENAME, Kind.LINK, Kind.SYNC_FOLDER})
_CONTENT = frozenset({Kind.WRITE, Kind.TRUNCATE, Kind.SYNC})


class Moment(NamedTuple):
    """Cut before a change of these kinds to these files."""

    name: str
    kinds: frozenset[Kind]
    files: frozenset[File]
    most: int
    """Up to so many of them are made first; which, a seed says."""
    waits_for: str = ""
    """Counted from the first `trim`, or from the `stop`; empty: from the beginning."""

    def draw(self, source: random.Random) -> int:
        """Choose before which of the changes it is."""
        return source.randrange(self.most)


class Failing(NamedTuple):
    """What a disk does not do: it says `Input/output error` to so many changes of these kinds, after so many."""

    kinds: frozenset[Kind]
    files: frozenset[File]
    after: int
    count: int

    @classmethod
    def draw(cls, source: random.Random) -> Failing:
        """Choose what fails."""
        files = source.choice((File.WAL, File.WAL, File.JOURNAL, File.LOCK))
        kinds = source.choice((_CONTENT, frozenset({Kind.SYNC})))
        return cls(kinds, frozenset({files}), source.randrange(60), source.choice((1, 3, 1000)))


MOMENTS = (
    Moment("anywhere", _ALL_KINDS, _ALL_FILES, 600),
    Moment("opening", _ALL_KINDS, _ALL_FILES, 40),
    Moment("commit", _CONTENT, frozenset({File.WAL}), 200),
    Moment("checkpoint", _CONTENT, frozenset({File.JOURNAL}), 60),
    Moment("lock", _ALL_KINDS, frozenset({File.LOCK}), 8),
    Moment("names", _NAMES, _ALL_FILES, 6),
    Moment("trim", _CONTENT, _ALL_FILES, 30, "trim"),
    Moment("stop", _ALL_KINDS, _ALL_FILES, 20, "stop"),
)
