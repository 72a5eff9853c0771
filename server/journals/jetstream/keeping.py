"""Keeping: how a room stands goes to the stream as a snapshot, and then what is old goes out of the stream of events.

Every router that has a room open does so. A snapshot takes the place of the one that its writer knew, or of none: a
router that is behind cannot put an older state over a newer one whose events are gone.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import structlog
from nats.aio.msg import Msg

from server.cluster.link import ApiError, Link

from .layout import Layout
from .reading import PREV, snapshot_of
from .records import written
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
        if await _store(link, layout, shelf):
            break
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
        if ahead:
            return  # who wrote it drops what is old, too
    await _drop(link, layout, shelf)


async def _store(link: Link, layout: Layout, shelf: Shelf) -> bool:
    """Store the snapshot; return whether it is, or another router has stored one meanwhile."""
    for offset in sorted(set(shelf.kept()) - shelf.stored_kept):
        event = shelf.event(offset)
        if event is not None:
            message = written(event.draft, named=offset in shelf.named, by="", number=0)
            _check(
                await link.request(
                    layout.kept(shelf.room, offset), message, headers={PREV: str(event.prev)}, wait_s=5.0
                )
            )
            shelf.stored_kept.add(offset)
    snapshot = shelf.snapshot()
    payload = msgspec.msgpack.encode(snapshot)
    if len(payload) > link.most_bytes - 1024:
        payload = msgspec.msgpack.encode(msgspec.structs.replace(snapshot, past_ids=()))
    headers = {"Nats-Expected-Last-Subject-Sequence": str(shelf.revision)}
    answer = await link.request(layout.state(shelf.room), payload, headers=headers, wait_s=5.0)
    try:
        shelf.revision = int(_check(answer)["seq"])
    except ApiError as error:
        if error.err_code in _OTHER_REVISION:
            return False
        raise
    return True


async def _drop(link: Link, layout: Layout, shelf: Shelf) -> None:
    """Have the streams drop what the snapshot says is gone."""
    room = shelf.room
    gone = max(shelf.gone, shelf.base)
    if gone > shelf.stored_gone:
        # The newest always stays: by it a router knows whether it has missed one.
        await link.ask(
            f"STREAM.PURGE.{layout.events}", {"filter": layout.event(room), "seq": min(gone + 1, shelf.seen)}
        )
        shelf.stored_gone = gone
    for offset in sorted(shelf.stored_kept - set(shelf.kept())):
        await link.ask(f"STREAM.PURGE.{layout.rooms}", {"filter": layout.kept(room, offset)})
        shelf.stored_kept.discard(offset)
    if shelf.is_watched:  # another router may have taken it back, which did not know of the last alert
        _check(await link.request(layout.watched(room), b"", wait_s=5.0))
        shelf.stored_watched = True
    elif shelf.stored_watched:
        shelf.stored_watched = False
        await link.ask(f"STREAM.PURGE.{layout.rooms}", {"filter": layout.watched(room)})


def _check(answer: Msg) -> dict[str, Any]:
    """Return what JetStream says of a message that it was given."""
    said: dict[str, Any] = json.loads(answer.data)
    error = said.get("error")
    if error is not None:
        raise ApiError(error.get("code", 0), error.get("err_code", 0), error.get("description", "no reason given"))
    return said
