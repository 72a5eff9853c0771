"""What the checker reads: files of JSON lines in, records out.

Each line is an object with a `type`; fields that are not named here are ignored. The records of one subscriber stand in
one file, in the order in which things happened to it; nothing else has to be in order.

attempt     a service published: `service`, `room`, `event_id`, `number`, and how it ended, `outcome`:
            `acknowledged` with the `receipt` {room, epoch, offset, event_id, duplicate},
            `refused` with the `code`,
            `unknown` (no answer: it may have been taken). An attempt that was never sent is not written down.
subscribed  a subscriber was let into a room, by `subscribed` or `welcome`: `subscriber`, `room`, `connection` (how many
            times it has connected), `after` {epoch, offset} where it asked to go on, `recovery`, `epoch`, `offset`,
            `replay`, and `missing` {from, to} for `partial`.
event       an event came: `subscriber`, `room`, `connection`, `epoch`, `offset`, `prev`, `event_id`, `kind`, and the
            `number` of its data, where it has one.
skipped     a marker came: `subscriber`, `room`, `connection`, `from`, `to`, `reason`.
end         the run is over, and this `subscriber` was in this `room` until nothing more could come.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

__all__ = [
    "Attempt",
    "End",
    "Event",
    "Missing",
    "Position",
    "Receipt",
    "Record",
    "RecordError",
    "Skipped",
    "Subscribed",
    "files",
    "read",
]

_CHUNK_BYTES = 1 << 20


class RecordError(Exception):
    """The records cannot be judged: one is no record, or does not go with those before it."""


class Position(msgspec.Struct, frozen=True, gc=False):
    """A place in a room's history."""

    epoch: str
    offset: int


class Missing(msgspec.Struct, frozen=True, gc=False, rename={"from_": "from"}):
    """What a partial recovery left out."""

    from_: int
    to: int


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What a publisher was told."""

    room: str
    epoch: str
    offset: int
    event_id: str
    duplicate: bool


class Attempt(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="attempt"):
    """One publish, and how it ended."""

    service: str
    room: str
    event_id: str
    number: int
    outcome: Literal["acknowledged", "refused", "unknown"]
    receipt: Receipt | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        if (self.outcome == "acknowledged") != (self.receipt is not None):
            raise ValueError("a receipt goes with `acknowledged`, and only with it")
        if (self.outcome == "refused") != (self.code is not None):
            raise ValueError("a code goes with `refused`, and only with it")


class Subscribed(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="subscribed"):
    """A subscriber was let in."""

    subscriber: str
    room: str
    connection: int
    recovery: Literal["fresh", "full", "partial", "none"]
    epoch: str
    offset: int
    replay: int
    after: Position | None = None
    missing: Missing | None = None

    def __post_init__(self) -> None:
        if (self.recovery == "partial") != (self.missing is not None):
            raise ValueError("`missing` goes with `partial`, and only with it")


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="event"):
    """An event reached a subscriber."""

    subscriber: str
    room: str
    connection: int
    epoch: str
    offset: int
    prev: int
    event_id: str
    kind: str
    number: int | None = None


class Skipped(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="skipped", rename={"from_": "from"}):
    """A subscriber was told that offsets will not come."""

    subscriber: str
    room: str
    connection: int
    from_: int
    to: int
    reason: str


class End(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="end"):
    """A subscriber followed a room to the end of the run."""

    subscriber: str
    room: str


Record = Attempt | Subscribed | Event | Skipped | End
_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def files(paths: list[Path]) -> list[Path]:
    """Name the files to read: those given, and of a folder all its `*.jsonl`.

    Raises:
        RecordError: There are none.
    """
    found = [path for given in paths for path in (sorted(given.glob("*.jsonl")) if given.is_dir() else [given])]
    if not found:
        raise RecordError(f"no records in {', '.join(map(str, paths))}: files are named, or folders with *.jsonl files")
    return found


def read(path: Path) -> Iterator[list[Record]]:
    """Read a file, some records at a time.

    Raises:
        RecordError: It cannot be read, or a line is no record.
    """
    try:
        with path.open("rb") as file:
            yield from _records(path, file)
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from None


def _records(path: Path, file: BinaryIO) -> Iterator[list[Record]]:
    lines_before = 0
    while lines := file.readlines(_CHUNK_BYTES):
        try:
            records = _DECODER.decode_lines(b"".join(lines))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RecordError(_complaint(path, lines, lines_before)) from None
        if len(records) != sum(1 for line in lines if line.strip()):  # the decoder takes several on one line
            raise RecordError(_complaint(path, lines, lines_before))
        yield records
        lines_before += len(lines)


def _complaint(path: Path, lines: list[bytes], lines_before: int) -> str:
    for number, line in enumerate(lines, lines_before + 1):
        try:
            if line.strip():
                _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return f"{path}:{number} is no record: {error}"
    return f"{path}: somewhere in lines {lines_before + 1} to {lines_before + len(lines)} is something else than a line"
