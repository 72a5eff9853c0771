"""Findings: what is wrong, a line each, and counts of everything that is worth knowing of a run.

lost               acknowledged, or seen by others, and it never came to a subscriber that was there to the end
phantom            it came, and nobody published it, or not like this
twice              one subscriber got one offset again, or one event has two offsets
out of order       it came after one that follows it, or before the answer that let the subscriber in
divergent          two do not agree on what is at an offset: two subscribers, or a subscriber and a receipt
silent gap         offsets were passed over, and neither a marker nor `missing` says so
fabricated full    the recovery was said to be full, and something after the position did not come
refused but seen   every attempt was refused, with a code that says that nothing was changed, and it was taken
receipts disagree  two receipts for one event name different places
none               a position was not good any more: said openly, and wrong where a log should have kept everything
"""

from __future__ import annotations

import enum
from collections import Counter

__all__ = ["Findings", "Kind"]


class Kind(enum.StrEnum):
    """The ways in which a history can be wrong; the table above says what each means."""

    LOST = "lost"
    PHANTOM = "phantom"
    TWICE = "twice"
    OUT_OF_ORDER = "out of order"
    DIVERGENT = "divergent"
    SILENT_GAP = "silent gap"
    FABRICATED_FULL = "fabricated full"
    REFUSED_BUT_SEEN = "refused but seen"
    RECEIPTS_DISAGREE = "receipts disagree"
    NONE = "none"


class Findings:
    """What was found so far.

    Args:
        most: How many lines are kept; the others are only counted.
        allow_none: Whether a recovery `none` is no violation.
    """

    def __init__(self, *, most: int = 1000, allow_none: bool = False) -> None:
        self._most = most
        self._allow_none = allow_none
        self.lines: list[str] = []
        self.found: Counter[Kind] = Counter()
        """How many there are of each kind, `none` counted in even if it is allowed."""
        self.counts: Counter[str] = Counter()
        """What the records hold, by a name in plain words."""

    def add(self, kind: Kind, room: str, what: str) -> None:
        """Note one thing that is wrong."""
        self.found[kind] += 1
        if len(self.lines) < self._most and not (kind is Kind.NONE and self._allow_none):
            self.lines.append(f"{kind}: {room}: {what}")

    @property
    def violations(self) -> int:
        """How many things are wrong."""
        return self.found.total() - (self.found[Kind.NONE] if self._allow_none else 0)

    def render(self) -> str:
        """Write it down for people: every violation, how many there are of each kind, and what was read."""
        lines = list(self.lines)
        if self.violations > len(lines):
            lines.append(f".. and {self.violations - len(lines)} more")
        lines.append(f"{self.violations} violation{'' if self.violations == 1 else 's'}")
        for kind in Kind:
            allowed = " (allowed)" if kind is Kind.NONE and self._allow_none else ""
            lines.append(f"  {kind:<32}{self.found[kind]:>12,}{allowed}")
        lines.append("read")
        lines += [f"  {name:<32}{count:>12,}" for name, count in sorted(self.counts.items())]
        return "\n".join(lines)
