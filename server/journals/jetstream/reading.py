"""Reading: a room's name in; what the streams hold of it, up to what its leader has stored when it is asked, out."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from nats.aio.msg import Msg

from server.cluster.link import ApiError, Link, NotAnswered

from .layout import Layout
from .records import Forgotten, Snapshot, Stored, Unreadable, read, read_snapshot

__all__ = [
    "PREV",
    "Found",
    "Reading",
    "last_offset",
    "missing",
    "read_room",
    "room_names",
    "snapshot_of",
    "tops",
    "watched_rooms",
]

log = structlog.get_logger("postroom.journal")

PREV = "Postroom-Prev"
"""Header of an old event that is kept: the offset of the room's event before it."""
_BATCH = 1000
_BATCH_BYTES = 1024 * 1024
"""A server cuts who does not read so fast what it asked for: `max_pending`, 64 MB unless told otherwise."""
_NO_MESSAGE = 10037
_TRIES = 100
_AGAIN_S = 0.02
"""A replica that answers may be behind the leader: it is asked again."""


class Found(NamedTuple):
    """A message of the stream of events."""

    offset: int
    stored: Stored | Forgotten | None
    """None: it cannot be read, and is passed over."""


class Reading(NamedTuple):
    """What there is of a room."""

    snapshot: Snapshot | None
    revision: int
    """Of the snapshot; 0: there is none."""
    written_s: float
    """When it was written, Unix time in seconds."""
    kept: list[tuple[int, Found]]
    """Old events that matter still, oldest first, each with the offset of the room's event before it."""
    found: list[Found]
    """All after what the snapshot says is gone, oldest first."""


async def read_room(link: Link, layout: Layout, room: str) -> Reading:
    """Read all of a room.

    Raises:
        ApiError, LinkDown, NotAnswered: It cannot be read now.
    """
    for _ in range(_TRIES):
        snapshot, revision, written_s = await snapshot_of(link, layout, room)
        top = await last_offset(link, layout, room)
        after = max(snapshot.gone, snapshot.base) if snapshot is not None else 0
        found = await missing(link, layout, room, after, top)
        kept = await _kept(link, layout, room, snapshot) if snapshot is not None and snapshot.kept else []
        if (await _last(link, layout.rooms, layout.state(room)))[0] == revision:  # else events may have gone meanwhile
            return Reading(snapshot, revision, written_s, kept, found)
    raise NotAnswered(f"{room} changes faster than it can be read")


async def last_offset(link: Link, layout: Layout, room: str) -> int:
    """Return where the last event of a room stands, as the stream's leader knows; 0: there is none."""
    return (await _last(link, layout.events, layout.event(room)))[0]


async def snapshot_of(link: Link, layout: Layout, room: str) -> tuple[Snapshot | None, int, float]:
    """Return a room's last snapshot, its revision, and when it was written."""
    revision, payload, written_s = await _last(link, layout.rooms, layout.state(room))
    try:
        return (read_snapshot(payload) if revision else None), revision, written_s
    except Unreadable as error:
        log.error("record_unreadable", room=room, what="snapshot", offset=revision, error=str(error))
        return None, revision, written_s


async def missing(link: Link, layout: Layout, room: str, after: int, up_to: int) -> list[Found]:
    """Return the messages of a room after an offset, up to another one and whatever came since."""
    found: list[Found] = []
    for _ in range(_TRIES):
        if after >= up_to:
            return found
        query = {"seq": after + 1, "next_by_subj": layout.event(room), "batch": _BATCH, "max_bytes": _BATCH_BYTES}
        page = [_found(room, each) for each in await _batch(link, layout.events, query)]
        if page:
            found += page
            after = page[-1].offset
        else:
            await asyncio.sleep(_AGAIN_S)
    raise NotAnswered(f"stream {layout.events} does not hold what its leader says it holds of {room}")


async def tops(link: Link, layout: Layout, rooms: list[str]) -> dict[str, int]:
    """Return where the last events of some rooms stand, as one of the replicas knows."""
    query = {"multi_last": [layout.event(room) for room in rooms], "batch": len(rooms)}
    return {
        layout.room(_header(each, "Nats-Subject")): _offset(each) for each in await _batch(link, layout.events, query)
    }


async def room_names(link: Link, layout: Layout) -> set[str]:
    """Return the names of all rooms of which the stream holds something."""
    rooms: set[str] = set()
    while True:
        query = {"subjects_filter": layout.all_events, "offset": len(rooms)}
        answer = await link.ask(f"STREAM.INFO.{layout.events}", query, wait_s=5.0)
        page = answer["state"].get("subjects") or {}
        rooms.update(map(layout.room, page))
        if not page or len(rooms) >= int(answer.get("total", 0)):
            return rooms


async def watched_rooms(link: Link, layout: Layout) -> set[str]:
    """Return the rooms in which something waits for its time."""
    rooms: set[str] = set()
    after = 0
    while True:
        query = {"seq": after + 1, "next_by_subj": layout.watched(), "batch": _BATCH}
        page = await _batch(link, layout.rooms, query)
        if not page:
            return rooms
        rooms.update(layout.room(_header(each, "Nats-Subject")) for each in page)
        after = _offset(page[-1])


async def _kept(link: Link, layout: Layout, room: str, snapshot: Snapshot) -> list[tuple[int, Found]]:
    """Return the old events that a snapshot says are kept; those that have grown too old for the stream are missing."""
    wanted = set(snapshot.kept)
    found: dict[int, tuple[int, Found]] = {}
    for _ in range(3):
        after = 0
        while True:
            query = {"seq": after + 1, "next_by_subj": layout.kept(room), "batch": _BATCH, "max_bytes": _BATCH_BYTES}
            page = await _batch(link, layout.rooms, query)
            if not page:
                break
            after = _offset(page[-1])
            for each in page:
                offset = int(_header(each, "Nats-Subject").rpartition(".")[2])
                if offset in wanted:
                    found[offset] = int(_header(each, PREV) or 0), _found(room, each)._replace(offset=offset)
        if len(found) == len(wanted):
            break
        await asyncio.sleep(_AGAIN_S)
    return [found[offset] for offset in sorted(found)]


async def _last(link: Link, stream: str, subject: str) -> tuple[int, bytes, float]:
    """Return the last message of a subject, as the stream's leader has it: where it stands, what it says, and when."""
    try:
        message = (await link.ask(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}))["message"]
    except ApiError as error:
        if error.err_code == _NO_MESSAGE:
            return 0, b"", 0.0
        raise
    try:
        payload = base64.b64decode(message.get("data", ""))
    except binascii.Error:
        payload = b""
    return int(message["seq"]), payload, _seconds(str(message["time"]))


async def _batch(link: Link, stream: str, query: dict[str, Any]) -> list[Msg]:
    """Return the messages that one direct get gives."""
    answers, over = await link.gather(f"$JS.API.DIRECT.GET.{stream}", json.dumps(query).encode(), _over)
    if not over:
        raise NotAnswered(f"stream {stream} does not answer")
    status = _header(answers[-1], "Status")
    if status == "503":
        raise NotAnswered(f"stream {stream} has nobody to answer now")
    if status not in ("204", "404"):
        raise ApiError(int(status), 0, f"stream {stream} refused to be read: {status}")
    return answers[:-1]


def _over(answers: list[Msg]) -> bool:
    """Tell whether the last one is none of the stream's messages, which may have such a header of their own."""
    return bool(answers) and bool(_header(answers[-1], "Status")) and not _header(answers[-1], "Nats-Sequence")


def _found(room: str, message: Msg) -> Found:
    offset = _offset(message)
    try:
        return Found(offset, read(message.data))
    except Unreadable as error:
        log.error("record_unreadable", room=room, what="event", offset=offset, error=str(error))
        return Found(offset, None)


def _offset(message: Msg) -> int:
    return int(_header(message, "Nats-Sequence"))


def _header(message: Msg, name: str) -> str:
    return (message.headers or {}).get(name, "")


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time[:19] + "+00:00").timestamp()
