"""Events and what makes one valid: a publisher's kind and data in, a checked draft out, or a refusal that says why."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec

from .errors import ErrorCode, Refusal

__all__ = [
    "ACKNOWLEDGEMENT",
    "ALERT_ACKNOWLEDGED",
    "ALERT_ESCALATED",
    "CUSTOM_KIND",
    "DATA",
    "ESCALATION",
    "KINDS",
    "Delivery",
    "Draft",
    "Event",
    "NotNegative",
    "decode_data",
    "draft",
    "unsound",
]

Delivery = Literal["keep", "latest", "ephemeral"]

ALERT_ACKNOWLEDGED = "alert.acknowledged"
"""Kind of the event that a room adds when somebody acknowledges an alert."""

ALERT_ESCALATED = "alert.escalated"
"""Kind of the event that a room adds when an alert that nobody acknowledged in time has gone to the admins."""

ACKNOWLEDGEMENT = ".acknowledged"
ESCALATION = ".escalated"
"""What the ids of those events end with; a publisher's own may not."""
_OWN_ENDINGS = (ACKNOWLEDGEMENT, ESCALATION)

_DEFAULT_DELIVERY: Mapping[str, Delivery] = {"progress": "latest", "system": "latest"}
CUSTOM_KIND = r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+"
"""What a publisher's own kind looks like, as a regular expression."""

_CUSTOM_KIND = re.compile(rf"{CUSTOM_KIND}\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_NAME = 200
_MAX_DEPTH = 64
"""Objects and arrays within each other. Far below where Python's recursion ends, which is nearer in some actors than in
others: what one of them could read and the next one not would take the room down with every restart."""
_YEAR_10000_MS = 253_402_300_800_000

# A float takes whole numbers too, and refuses those too large to compute estimates with.
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=sys.float_info.max)]


class _Notification(msgspec.Struct):
    level: Literal["info", "warning", "error", "success"]
    message: str
    title: str | None = None


class _Alert(msgspec.Struct):
    severity: Literal["low", "medium", "high", "critical"]
    title: str
    message: str | None = None
    escalate_after_s: NotNegative | None = None


class _Progress(msgspec.Struct):
    current: NotNegative
    total: NotNegative | None = None
    percent: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    message: str | None = None
    unit: str | None = None
    rate: float | None = None
    elapsed_s: NotNegative | None = None
    eta_s: NotNegative | None = None


class _Session(msgspec.Struct):
    status: Literal["started", "completed", "failed", "cancelled"]
    reason: str | None = None
    result: Any = None
    owner: str | None = None


class _System(msgspec.Struct):
    status: Literal["operational", "degraded", "maintenance", "outage"]
    component: str | None = None
    message: str | None = None


_SCHEMAS: Mapping[str, type[msgspec.Struct]] = {
    "notification": _Notification,
    "alert": _Alert,
    "progress": _Progress,
    "session": _Session,
    "system": _System,
}

KINDS = tuple(_SCHEMAS)
"""The kinds whose data Postroom knows; all others are their publishers' own."""


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event that is valid and has no place in a room yet."""

    id: str
    """The publisher's `event_id`, or one that the source made."""
    kind: str
    time_ms: int
    """Unix time in milliseconds at which the source took it."""
    data: msgspec.Raw
    """The data as compact JSON, encoded once for every client."""
    key: str | None = None
    """What a later value of the same kind replaces while a client lags."""
    delivery: Delivery = "keep"
    ack: bool = False
    """Whether an alert stays in the state until somebody acknowledges it."""
    traceparent: str | None = None
    """Which trace it belongs to, valid (`trace.valid_traceparent`). Not kept in the log."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """An event at its place in a room: what the log keeps and every subscriber gets."""

    offset: int
    """Position in the room, from 1 on."""
    prev: int
    """Offset of the room's event before this one; 0: none."""
    draft: Draft


def decode_data(data: msgspec.Raw) -> dict[str, Any]:
    """Return an event's data as plain Python values."""
    decoded: dict[str, Any] = msgspec.json.decode(data)
    return decoded


def draft(
    kind: str,
    data: Mapping[str, Any],
    *,
    event_id: str,
    time_ms: int,
    key: str | None = None,
    delivery: str | None = None,
    ack: str | None = None,
    traceparent: str | None = None,
) -> Draft:
    """Check what a publisher sent and make a draft of it.

    Args:
        kind: One of the five kinds, or any name with a dot.
        data: What belongs to the kind (fields may be added), or any JSON object.
        event_id: Names the event for its publisher's retries: 1 to 200 characters.
        time_ms: Unix time in milliseconds.
        key: Conflation key, 1 to 200 characters; None: one key for the room and kind.
        delivery: `keep`, `latest` or `ephemeral`; None: what is usual for the kind.
        ack: `required` keeps an alert until it is acknowledged; None: only where the severity is critical.
        traceparent: A valid trace context; None: it belongs to no trace.

    Raises:
        Refusal: `invalid_event`, with what is wrong and what would be right.
    """
    _check_name("kind", kind)
    _check_name("event_id", event_id)
    if key is not None:
        _check_name("key", key)
    if event_id.endswith(_OWN_ENDINGS):
        raise _invalid(
            f"event_id {event_id!r}: ids that end with {' or '.join(map(repr, _OWN_ENDINGS))} are the router's own"
        )
    schema = _SCHEMAS.get(kind)
    if schema is not None:
        try:
            msgspec.convert(data, schema)
        except (msgspec.ValidationError, RecursionError) as error:
            raise _invalid(f"{kind} data: {error}") from None
    elif not _is_custom(kind):
        raise _invalid(f"kind {kind!r}: use {', '.join(_SCHEMAS)}, or your own name with a dot, like 'build.finished'")
    elif not isinstance(data, dict):
        raise _invalid(f"data of {kind} must be a JSON object, not {type(data).__name__}")
    if delivery is None:
        delivery = _DEFAULT_DELIVERY.get(kind, "keep")
    elif delivery not in ("keep", "latest", "ephemeral"):
        raise _invalid(f"delivery {delivery!r}: use 'keep', 'latest' or 'ephemeral'")
    must_ack = kind == "alert" and (ack == "required" or (ack is None and data.get("severity") == "critical"))
    if delivery != "keep" and (must_ack or kind == "session"):
        what = "an alert that must be acknowledged" if must_ack else "a session event"
        raise _invalid(f"delivery {delivery!r}: {what} is always kept; leave `delivery` out")
    if ack is not None and (ack not in ("required", "none") or kind != "alert"):
        raise _invalid(f"ack {ack!r} on {kind}: only an alert takes ack, 'required' or 'none'")
    try:
        encoded = msgspec.json.encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid(f"data cannot be written as JSON: {error}") from None
    if encoded.count(b"{") + encoded.count(b"[") > _MAX_DEPTH and _deeper_than(_MAX_DEPTH, data):
        raise _invalid(f"data may have {_MAX_DEPTH} objects and arrays within each other, not more")
    return Draft(
        id=event_id,
        kind=kind,
        time_ms=time_ms,
        data=msgspec.Raw(encoded),
        key=key,
        delivery=delivery,  # type: ignore[arg-type]  # one of the three, checked above
        ack=must_ack,
        traceparent=traceparent,
    )


class _Acknowledged(msgspec.Struct):
    event_id: str
    user: str


class _Escalated(msgspec.Struct):
    event_id: str
    to: str | None = None


DATA: Mapping[str, type[msgspec.Struct]] = {
    **_SCHEMAS,
    ALERT_ACKNOWLEDGED: _Acknowledged,
    ALERT_ESCALATED: _Escalated,
}
"""What the data of each kind that Postroom knows holds, its own kinds too."""

_DECODERS: Mapping[str, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(schema) for kind, schema in DATA.items()
}
_OBJECT = msgspec.json.Decoder(dict[str, Any])


def unsound(made: Draft) -> str | None:
    """Tell what is wrong with a draft that comes from where others may write, too; None: a room can take it."""
    try:
        _check_name("event_id", made.id)
        if made.key is not None:
            _check_name("key", made.key)
        if made.kind not in _DECODERS and not _is_custom(made.kind):
            return f"there is no kind {made.kind[:80]!r}"
        if not 0 <= made.time_ms < _YEAR_10000_MS:
            return f"time_ms {str(made.time_ms)[:80]} is no time that can be shown"
        _DECODERS.get(made.kind, _OBJECT).decode(made.data)
    except (Refusal, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"{made.kind[:80]}: {error}"
    raw = memoryview(made.data)
    if bytes(raw).count(b"{") > _MAX_DEPTH and _deeper_than(_MAX_DEPTH, _OBJECT.decode(raw)):
        return f"{made.kind[:80]}: its data is nested too deeply"
    return None


@lru_cache(maxsize=1024)
def _is_custom(kind: str) -> bool:
    return kind not in (ALERT_ACKNOWLEDGED, ALERT_ESCALATED) and _CUSTOM_KIND.match(kind) is not None


def _check_name(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise _invalid(f"{name} must be a string, not {type(value).__name__}")
    if not 0 < len(value) <= _MAX_NAME:
        raise _invalid(f"{name} must have 1 to {_MAX_NAME} characters, not {len(value)}")
    if not value.isascii() and _SURROGATE.search(value):
        raise _invalid(f"{name} {value!r} has half of a surrogate pair, which is no text")


def _deeper_than(most: int, data: object) -> bool:
    level = [data]
    for _ in range(most):
        level = [inner for outer in level if isinstance(outer, dict | list | tuple) for inner in _within(outer)]
        if not level:
            return False
    return any(isinstance(value, dict | list | tuple) for value in level)


def _within(value: dict[str, Any] | list[Any] | tuple[Any, ...]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _invalid(message: str) -> Refusal:
    return Refusal(ErrorCode.INVALID_EVENT, message)
