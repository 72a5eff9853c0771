"""Envelope: an event of a room as clients see it, in whatever protocol hands it on whole."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec

from actors.events import Delivery, Event
from actors.times import time_text

__all__ = ["Envelope", "envelope"]

E = TypeVar("E", bound="Envelope")


class Envelope(msgspec.Struct, omit_defaults=True):
    """An event with its place. `docs/reference/protocol.md` describes the fields."""

    room: str
    offset: int
    prev: int
    id: str
    kind: str
    time: str
    data: Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
    key: str | None = None
    delivery: Delivery = "keep"
    ack: Literal["required"] | None = None
    traceparent: str | None = None


def envelope(room: str, event: Event, into: type[E]) -> E:
    """Return an event of `room` as an `Envelope` of this class."""
    draft = event.draft
    return into(
        room=room,
        offset=event.offset,
        prev=event.prev,
        id=draft.id,
        kind=draft.kind,
        time=time_text(draft.time_ms),
        data=draft.data,
        key=draft.key,
        delivery=draft.delivery,
        ack="required" if draft.ack else None,
        traceparent=draft.traceparent,
    )
