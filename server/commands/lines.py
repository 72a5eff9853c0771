"""An event as one line of text: for people, or as JSON for programs. Nothing in an event can reach the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import msgspec

from postroom_client import Event
from server.printable import printable

__all__ = ["Data", "as_json", "as_text"]

Data = Mapping[str, object]


def as_json(event: Event) -> str:
    """Return the event as it is on the wire, in ASCII."""
    return json.dumps(msgspec.to_builtins(event))


def as_text(event: Event) -> str:
    """Return `time room #offset kind summary`; the time is UTC."""
    summarise = _SUMMARIES.get(event.kind, _any)
    summary = summarise(event.data)
    if event.ack == "required":
        summary += f"  (to be acknowledged: {event.id})"
    time = event.time.strftime("%H:%M:%S.%f")[:-3]
    return printable(f"{time} {event.room} #{event.offset} {event.kind} {summary}".rstrip())


def _any(data: Data) -> str:
    return json.dumps(data, ensure_ascii=False)


def _notification(data: Data) -> str:
    return f"[{data.get('level')}] {_joined(': ', data, 'title', 'message')}"


def _alert(data: Data) -> str:
    return f"[{data.get('severity')}] {_joined(': ', data, 'title', 'message')}"


def _progress(data: Data) -> str:
    total = "" if data.get("total") is None else f"/{_short(data['total'])}"
    unit = _joined(" ", data, "unit")
    parts = [f"{_short(data.get('current'))}{total}{unit and ' '}{unit}"]
    if data.get("percent") is not None:
        parts.append(f"{_short(data['percent'])} %")
    if data.get("eta_s") is not None:
        parts.append(f"{_short(data['eta_s'])} s left")
    return ", ".join([*parts, *([message] if (message := _joined("", data, "message")) else [])])


def _session(data: Data) -> str:
    result = "" if data.get("result") is None else f" {json.dumps(data['result'])}"
    return f"{_joined(': ', data, 'status', 'reason')}{result}"


def _system(data: Data) -> str:
    component = _joined("", data, "component")
    return f"{component}{component and ' '}{_joined(': ', data, 'status', 'message')}"


def _joined(separator: str, data: Data, *names: str) -> str:
    return separator.join(str(data[name]) for name in names if data.get(name) is not None)


def _short(number: object) -> str:
    return f"{round(number, 1):g}" if isinstance(number, float) else str(number)


_SUMMARIES: Mapping[str, Callable[[Data], str]] = {
    "notification": _notification,
    "alert": _alert,
    "progress": _progress,
    "session": _session,
    "system": _system,
}
