"""Following: one subscriber in one room, from the answer that let it in to its end; each record is judged as it comes.

A following goes on over a resume (`full`, `partial`) and ends where the subscriber begins anew (`fresh`, `none`). What
is not decided yet are its holes: offsets that were passed over may still come, too late.
"""

from __future__ import annotations

from typing import NamedTuple

from .findings import Findings, Kind
from .records import Event, Skipped, Subscribed

__all__ = ["Following", "Sight", "Sights"]

_MOST_HOLES = 1000


class Sight(NamedTuple):
    """An event as the first subscriber that got it saw it."""

    event_id: str
    prev: int
    number: int | None
    own: bool
    """Whether the router made it itself."""
    witness: str


Sights = dict[int, Sight]
"""What was seen in one room under one epoch, by offset."""


class _Hole(NamedTuple):
    first: int
    last: int
    kind: Kind
    where: str


class Following:
    """One subscriber in one room.

    Args:
        answer: The answer that let it in.
        start: The offset it follows from; None: the first thing that comes tells.
        sights: What is seen in the room under this epoch.
        findings: Where it goes if something is wrong.
    """

    __slots__ = (
        "_findings",
        "_holes",
        "_promised",
        "after_full",
        "connection",
        "ended",
        "epoch",
        "position",
        "room",
        "sights",
        "start",
        "subscriber",
    )

    def __init__(self, answer: Subscribed, start: int | None, sights: Sights, findings: Findings) -> None:
        self.subscriber = answer.subscriber
        self.room = answer.room
        self.epoch = answer.epoch
        self.connection = answer.connection
        self.start = -1 if start is None else start
        self.position = self.start
        """It has, or was told of, everything from `start` up to here. -1: not known yet."""
        self.sights = sights
        self.ended = False
        """Whether it was there to the end."""
        self._findings = findings
        self._holes: list[_Hole] = []
        self.after_full = False
        self._promised = 0

    def go_on(self, answer: Subscribed) -> None:
        """Take the answer to a resume that found the position good, at least in part."""
        assert answer.after is not None
        asked = answer.after.offset
        self.connection = answer.connection
        self.ended = False
        if asked > self.position:
            self._pass_over(asked, Kind.SILENT_GAP, f"it had come to {self.position} and resumed after {asked}")
        self.position = asked
        self.start = min(self.start, asked)
        self.after_full, self._promised = False, 0
        if answer.missing is not None:
            if answer.missing.from_ > asked + 1:
                gone = _span(answer.missing.from_, answer.missing.to)
                where = f"it resumed after {asked} and was told that {gone} is missing"
                self._pass_over(answer.missing.from_ - 1, Kind.SILENT_GAP, where)
            self.position = answer.missing.to
        elif answer.offset < asked:
            self._wrong(Kind.FABRICATED_FULL, f"resumed after {asked}, where the room has come to {answer.offset} only")
        else:
            self.after_full, self._promised = True, answer.offset

    def out_of_chain(self, event: Event) -> None:
        """Take an event that does not follow the position."""
        if self.position < 0:
            self.start = self.position = event.prev
        offset, prev = event.offset, event.prev
        if offset <= prev:
            self._wrong(Kind.OUT_OF_ORDER, f"{_name(event)} says that it follows {prev}")
        elif offset <= self.position:
            if self._take_from_hole(offset):
                self._wrong(Kind.OUT_OF_ORDER, f"{_name(event)} came when {self.position} had come already")
            else:
                self._wrong(Kind.TWICE, f"{_name(event)} came when it had come to {self.position} already")
            return
        elif prev > self.position:
            self._pass_over(prev, self._kind_of_gap, f"then came {_name(event)}, which follows {prev}")
        elif prev < self.position:
            what = f"{_name(event)} says that it follows {prev}, but it had come to {self.position}"
            self._wrong(Kind.DIVERGENT, what)
        self._move(offset)

    def skip(self, marker: Skipped) -> None:
        """Take a marker."""
        if self.position < 0:
            self.start = self.position = marker.from_ - 1
        span = _span(marker.from_, marker.to)
        if marker.to < marker.from_ or marker.from_ <= self.position:
            self._wrong(Kind.OUT_OF_ORDER, f"a marker for {span} came when it had come to {self.position} already")
        elif marker.from_ > self.position + 1:
            self._pass_over(marker.from_ - 1, self._kind_of_gap, f"then came a marker for {span}")
        self._move(max(self.position, marker.to))

    def close(self) -> None:
        """Decide what is undecided: nothing more comes."""
        if self.ended and self.position < 0:
            self._wrong(Kind.SILENT_GAP, "it was told that old events follow, and nothing came")
        for hole in self._holes:
            what = f"{_span(hole.first, hole.last)} did not come, and nothing says so: {hole.where}"
            self._wrong(hole.kind, what)
        self._holes.clear()

    @property
    def _kind_of_gap(self) -> Kind:
        promised = self.after_full or self.position < self._promised
        return Kind.FABRICATED_FULL if promised else Kind.SILENT_GAP

    def _move(self, position: int) -> None:
        self.position = position
        self.after_full = False

    def _pass_over(self, to: int, kind: Kind, where: str) -> None:
        if len(self._holes) < _MOST_HOLES:
            self._holes.append(_Hole(self.position + 1, to, kind, where))

    def _take_from_hole(self, offset: int) -> bool:
        for place, hole in enumerate(self._holes):
            if hole.first <= offset <= hole.last:
                parts = (hole._replace(last=offset - 1), hole._replace(first=offset + 1))
                self._holes[place : place + 1] = [part for part in parts if part.first <= part.last]
                return True
        return False

    def _wrong(self, kind: Kind, what: str) -> None:
        self._findings.add(kind, self.room, f"at {self.subscriber}, connection {self.connection}: {what}")


def _name(event: Event) -> str:
    return f"offset {event.offset} ({event.event_id})"


def _span(first: int, last: int) -> str:
    return f"offset {first}" if first == last else f"offsets {first} to {last}"
