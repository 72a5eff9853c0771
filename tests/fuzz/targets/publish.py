"""The body of `POST /v1/publish`: its events, each of them a draft for every room or refused; or refused as a whole."""

from __future__ import annotations

import contextlib

import msgspec

from actors.errors import ErrorCode, Refusal
from actors.events import Draft, draft
from server.http.bodies import BodyReader, PublishBody

__all__ = ["take"]

_READER = BodyReader(message_bytes=65_536)
_WHOLE = (ErrorCode.BAD_MESSAGE, ErrorCode.TOO_LARGE)
_EVENT = (ErrorCode.INVALID_EVENT, ErrorCode.TOO_LARGE)


def take(data: bytes) -> None:
    """Read a body; an event comes back out of its own JSON."""
    try:
        items, single = _READER.items(data)
    except Refusal as refusal:
        assert refusal.code in _WHOLE
        return
    assert not single or len(items) == 1
    for item in items:
        try:
            event = _READER.event(item)
        except Refusal as refusal:
            assert refusal.code in _EVENT
            continue
        assert isinstance(event, PublishBody)
        assert event.all_rooms
        assert _READER.event(msgspec.Raw(msgspec.json.encode(event))) == event
        with contextlib.suppress(Refusal):
            options = {"key": event.key, "delivery": event.delivery, "ack": event.ack}
            event_id = "e" if event.event_id is None else event.event_id
            assert isinstance(draft(event.kind, event.data, event_id=event_id, time_ms=0, **options), Draft)
