"""Trace context: which trace an event belongs to, as its publisher says it, and which one a message has to do with.

W3C Trace Context (https://www.w3.org/TR/trace-context/), the header `traceparent`.
"""

from __future__ import annotations

import re

import msgspec

from . import commands
from .batch import Batch
from .events import Draft, Event
from .messages import Append, AppendFailed, Attached, Committed, Frame, Joined, Publish, Published, Refused

__all__ = ["trace_of", "valid_traceparent"]

_PARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)


def valid_traceparent(value: object) -> str | None:
    """Return a trace context in version 00, or None for what is none: that is to be ignored, not refused (section 3.2).

    Of a version to come it is what version 00 knows of it (section 4.3).
    """
    parts = _PARENT.fullmatch(value) if isinstance(value, str) else None
    if parts is None:
        return None
    version, trace, parent, flags, more = parts.groups()
    if version == "00":
        return None if more is not None else parts.string
    return f"00-{trace}-{parent}-{int(flags, 16) & 1:02x}"


def trace_of(message: object) -> str | None:
    """Return the trace context that a message carries; of a batch that of the first event that has one."""
    match message:
        case Draft() | Publish() | commands.Publish():
            return valid_traceparent(message.traceparent)
        case Event() | Append():
            return message.draft.traceparent
        case Committed():
            return message.event.draft.traceparent
        case AppendFailed():
            return message.append.draft.traceparent
        case Batch():
            return message.traced[0].draft.traceparent if message.traced else None
        case Joined() | Attached():
            return trace_of(message.page)
        case Published() | Refused():
            return trace_of(message.tag)
        case Frame():
            return _trace_of_text(message.text)
    return None


class _Carrier(msgspec.Struct):
    traceparent: str | None = None


def _trace_of_text(text: str) -> str | None:
    try:
        return valid_traceparent(msgspec.json.decode(text, type=_Carrier).traceparent)
    except (msgspec.DecodeError, RecursionError):
        return None
