"""Poison: a message that made its actor fail twice in; what is kept of it, and how it is handed in again, out."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from .answers import NOBODY
from .clock import Clock
from .events import Draft
from .mailbox import Mailbox, Target
from .messages import Append, Publish
from .rooms import Directory

__all__ = ["Poison", "PoisonEvent", "digest", "of_append", "of_message", "of_publish", "rebuilt"]


class PoisonEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What its publisher said of an event."""

    kind: str
    data: msgspec.Raw
    event_id: str | None = None
    """None: its publisher gave it none, and the source had made none yet."""
    key: str | None = None
    delivery: str | None = None
    ack: str | None = None
    named: bool = False
    """Whether the id is the publisher's, so that the same id again is the same event."""


class Poison(NamedTuple):
    """A message, as far as a quarantine has to do with it."""

    message_type: str
    rooms: tuple[str, ...]
    """Where it would have gone; empty: it is no event."""
    event: PoisonEvent | None
    """None: it is no event, or one that JSON cannot hold."""
    send: Callable[[Target], object] | None
    """Hands it in again; the target is told one answer for each room, tagged with its place. None: it cannot be."""
    reply_to: Target | None = None
    """Who waited for the answer when it failed."""


def of_append(append: Append, room: str, directory: Directory, clock: Clock) -> Poison:
    """Describe an event on which a room failed."""
    draft = append.draft

    def send(to: Target) -> None:
        now_ms = int(clock.time() * 1000)
        again = msgspec.structs.replace(draft, time_ms=now_ms)
        directory.room(room).tell(Append(again, append.named, to, 0))

    ack = "required" if draft.ack else None
    event = PoisonEvent(draft.kind, draft.data, draft.id, draft.key, draft.delivery, ack, append.named)
    return Poison(Append.__name__, (room,), event, send, append.reply_to)


def of_publish(publish: Publish, source: Mailbox) -> Poison:
    """Describe an event on which the source failed."""
    # The same for all rooms and tries: where some rooms take it and others do not, the next try repeats nothing.
    event_id = publish.event_id if publish.event_id is not None else secrets.token_hex(8)

    def send(to: Target) -> None:
        for place, room in enumerate(publish.rooms):
            again = msgspec.structs.replace(publish, rooms=(room,), event_id=event_id, reply_to=to, tag=place, at=0.0)
            source.tell(again)

    return Poison(Publish.__name__, publish.rooms, _event_of(publish), send, publish.reply_to)


def _event_of(publish: Publish) -> PoisonEvent | None:
    try:
        data = msgspec.Raw(msgspec.json.encode(publish.data))
    except Exception:  # a value that is no JSON may raise anything, and may be what the source failed on
        return None
    named = publish.event_id is not None
    return PoisonEvent(publish.kind, data, publish.event_id, publish.key, publish.delivery, publish.ack, named)


def of_message(message: Any, mailbox: Mailbox) -> Poison:
    """Describe any other message. Nobody is told what comes of it when it is handed in again."""
    return Poison(type(message).__name__, (), None, lambda _to: mailbox.tell(message))


def digest(event: Mapping[str, Any]) -> str:
    """Return what tells whether an event is as it was."""
    return hashlib.blake2s(msgspec.json.encode(event, order="sorted"), digest_size=12).hexdigest()


def rebuilt(facts: Mapping[str, Any], directory: Directory, source: Mailbox, clock: Clock) -> Poison:
    """Describe a message again from what a quarantine had reported of it.

    One that was not kept, or not as it was (what looks like a token is hidden there), cannot be handed in.
    """
    message_type, rooms = str(facts["message_type"]), tuple(facts.get("rooms", ()))
    fields = facts.get("event")
    if fields is None or digest(fields) != facts.get("digest"):
        return Poison(message_type, rooms, None, None)
    event = PoisonEvent(**{**fields, "data": msgspec.Raw(msgspec.json.encode(fields["data"]))})
    if message_type == Publish.__name__:
        publish = Publish(
            rooms=rooms,
            kind=event.kind,
            data=fields["data"],
            event_id=event.event_id,
            key=event.key,
            delivery=event.delivery,
            ack=event.ack,
        )
        return of_publish(publish, source)._replace(reply_to=None)
    draft = Draft(
        id=str(event.event_id),
        kind=event.kind,
        time_ms=0,
        data=event.data,
        key=event.key,
        delivery=event.delivery,  # type: ignore[arg-type]  # as a draft had it
        ack=event.ack == "required",
    )
    return of_append(Append(draft, event.named, NOBODY, None), rooms[0], directory, clock)._replace(reply_to=None)
