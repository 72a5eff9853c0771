"""Keeping: how a room stands goes to the stream as a snapshot, and then what is old goes out of the stream of events.

Every router that has a room open does so. A snapshot takes the place of the one that its writer knew, or of none: a
router that is behind cannot put an older state over a newer one whose events are gone.
"""

from __future__ import annotations

import msgspec
import structlog

from server.cluster.link import ApiError, Link, NotAnswered, said_by_jetstream

from .layout import Layout
from .reading import PREV, snapshot_of
from .records import Snapshot, written
from .shelf import Shelf

__all__ = ["keep"]

log = structlog.get_logger("postroom.journal")

_OTHER_REVISION = (10071, 10164)
_TRIES = 5


async def keep(link: Link, layout: Layout, shelf: Shelf) -> None:
    """Store a room's snapshot, and drop what it says is gone.

    Raises:
        ApiError, LinkDown, NotAnswered: It is not, or not all of it, and has to be done again.
    """
    for _ in range(_TRIES):
        snapshot = await _store(link, layout, shelf)
        if snapshot is not None:
            await _drop(link, layout, shelf, snapshot)
            return
        other, revision, _ = await snapshot_of(link, layout, shelf.room)
        if other is not None and other.base > shelf.base:
            return  # another history has begun, of which this router will hear
        if other is None or other.epoch != shelf.epoch:
            shelf.revision = revision
            continue
        ahead = other.state_offset > shelf.state_offset or (
            other.state_offset == shelf.state_offset and other.gone >= shelf.gone
        )
        shelf.adopt(other, revision)
        if ahead:  # who wrote it drops what is old, too
            if shelf.is_watched:
                await _watch(link, layout, shelf)
            return
    raise NotAnswered(f"others store snapshots of {shelf.room} all the time")


async def _store(link: Link, layout: Layout, shelf: Shelf) -> Snapshot | None:
    """Store the snapshot; return it, or None where another router has stored one meanwhile.

    The room goes on while this takes its time: what is stored is how it stood at the beginning.
    """
    snapshot = shelf.snapshot()
    kept = [(event, event.offset in shelf.named) for event in shelf.kept() if event.offset not in shelf.stored_kept]
    for event, named in kept:
        message = written(event.draft, named=named, by="", number=0)
        headers = {PREV: str(event.prev)}
        said_by_jetstream(
            await link.request(layout.kept(shelf.room, event.offset), message, headers=headers, wait_s=5.0)
        )
        shelf.stored_kept.add(event.offset)
    payload = msgspec.msgpack.encode(snapshot)
    if len(payload) > link.most_bytes - 1024:
        payload = msgspec.msgpack.encode(msgspec.structs.replace(snapshot, past_ids=()))
    headers = {"Nats-Expected-Last-Subject-Sequence": str(shelf.revision)}
    answer = await link.request(layout.state(shelf.room), payload, headers=headers, wait_s=5.0)
    try:
        shelf.revision = int(said_by_jetstream(answer)["seq"])
    except ApiError as error:
        if error.err_code in _OTHER_REVISION:
            return None
        raise
    return snapshot


async def _drop(link: Link, layout: Layout, shelf: Shelf, snapshot: Snapshot) -> None:
    """Have the streams drop what the snapshot says is gone, and nothing that is gone only since it was made."""
    room = shelf.room
    gone = max(snapshot.gone, snapshot.base)
    if gone > shelf.stored_gone:
        # The newest always stays: by it a router knows whether it has missed one.
        await link.ask(
            f"STREAM.PURGE.{layout.events}", {"filter": layout.event(room), "seq": min(gone + 1, shelf.seen)}
        )
        shelf.stored_gone = gone
    for offset in sorted(shelf.stored_kept.difference(snapshot.kept)):
        await link.ask(f"STREAM.PURGE.{layout.rooms}", {"filter": layout.kept(room, offset)})
        shelf.stored_kept.discard(offset)
    if shelf.is_watched:
        await _watch(link, layout, shelf)
    elif shelf.stored_watched:
        shelf.stored_watched = False
        await link.ask(f"STREAM.PURGE.{layout.rooms}", {"filter": layout.watched(room)})


async def _watch(link: Link, layout: Layout, shelf: Shelf) -> None:
    """Say that the room is watched; another router may have taken it back, which did not know of the last alert."""
    said_by_jetstream(await link.request(layout.watched(shelf.room), b"", wait_s=5.0))
    shelf.stored_watched = True
