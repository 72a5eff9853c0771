"""CloudEvents 1.0 in their JSON format, without I/O: an event of a structured or batch body in, ours out, or a refusal.

<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec

from actors.errors import ErrorCode, Refusal

from .bodies import PublishBody

__all__ = ["BATCH", "STRUCTURED", "CloudEvent", "CloudEventReader"]

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
_LONGEST_ID = 200

_Filled = Annotated[str, msgspec.Meta(min_length=1)]


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `type` is the kind, `subject` the room; `source` and `id` name the event for retries.

    `delivery`, `key`, `ack` and `traceparent` are extension attributes. All other attributes are ignored.
    """

    specversion: str
    id: _Filled
    source: _Filled
    type: _Filled
    subject: _Filled
    data: dict[str, Any] = {}
    datacontenttype: str | None = None
    delivery: str | None = None
    key: str | None = None
    ack: str | None = None
    traceparent: str | None = None


class _Binary(msgspec.Struct):
    data_base64: Any = msgspec.UNSET


class CloudEventReader:
    """Reads events.

    Args:
        message_bytes: Largest event.
    """

    def __init__(self, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._decoder = msgspec.json.Decoder(CloudEvent)

    def event(self, item: msgspec.Raw) -> PublishBody:
        """Read one event.

        Raises:
            Refusal: `invalid_event` or `too_large`.
        """
        try:
            if msgspec.json.decode(item, type=_Binary).data_base64 is not msgspec.UNSET:
                raise Refusal(ErrorCode.INVALID_EVENT, "data_base64: data is a JSON object; send it as `data`")
            event = self._decoder.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refusal(ErrorCode.INVALID_EVENT, f"CloudEvent: {error}") from None
        if len(memoryview(item)) > self._message_bytes:
            raise Refusal(ErrorCode.TOO_LARGE, f"an event may have {self._message_bytes} bytes")
        if event.specversion != "1.0":
            message = f"specversion {event.specversion[:20]!r}: this router takes 1.0"
            raise Refusal(ErrorCode.INVALID_EVENT, message)
        if event.datacontenttype is not None and not _is_json(event.datacontenttype):
            message = f"datacontenttype {event.datacontenttype[:80]!r}: data is a JSON object, application/json"
            raise Refusal(ErrorCode.INVALID_EVENT, message)
        return PublishBody(
            room=event.subject,
            kind=event.type,
            data=event.data,
            event_id=_event_id(event.source, event.id),
            delivery=event.delivery,
            key=event.key,
            ack=event.ack,
            traceparent=event.traceparent,
        )


def _is_json(media_type: str) -> bool:
    essence = media_type.partition(";")[0].strip().lower()
    return essence in ("application/json", "text/json") or essence.endswith("+json")


def _event_id(source: str, id: str) -> str:
    """Return what is unique where `source` and `id` together are, as the specification promises they are."""
    if " " in source:
        raise Refusal(ErrorCode.INVALID_EVENT, f"source {source[:80]!r} is no URI reference: it has a space")
    name = f"{source} {id}"
    return name if len(name) <= _LONGEST_ID else f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
