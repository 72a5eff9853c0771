"""Judge: files of records in, what is wrong with them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .findings import Findings
from .records import Attempt, End, Event, Record, Skipped, Subscribed, files, read
from .room import Room

__all__ = ["judge", "judge_records"]

_TAKE: dict[type, Callable[[Room, Any], None]] = {
    Attempt: Room.attempt,
    Subscribed: Room.subscribed,
    Event: Room.event,
    Skipped: Room.skipped,
    End: Room.end,
}


def judge(paths: list[Path], findings: Findings) -> None:
    """Read files, or folders of them, once and note what is wrong.

    Raises:
        RecordError: They cannot be judged.
    """
    judge_records((record for path in files(paths) for records in read(path) for record in records), findings)


def judge_records(records: Iterable[Record], findings: Findings) -> None:
    """Take records one by one, those of one subscriber in their order, and note what is wrong.

    Raises:
        RecordError: They cannot be judged.
    """
    rooms: dict[str, Room] = {}
    for record in records:
        findings.counts["records"] += 1
        room = rooms.get(record.room)
        if room is None:
            room = rooms[record.room] = Room(record.room, findings)
        _TAKE[type(record)](room, record)
    findings.counts["rooms"] = len(rooms)
    for room in rooms.values():
        room.judge()
