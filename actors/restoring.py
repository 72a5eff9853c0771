"""Restoring: what a log gave back of a room in; the state that it goes on with out, or an error: what is wrong.

A log has its own means against damage. This is against what is whole and wrong all the same: a room that fails on its
own history as often as it is started takes others down with it; one that cannot begin is unavailable alone.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .events import ALERT_ACKNOWLEDGED, ALERT_ESCALATED, NotNegative
from .record import RoomRecord
from .state import RoomState
from .times import seconds_of, time_text

__all__ = ["restore"]


class _Session(msgspec.Struct):
    status: Literal["started", "completed", "failed", "cancelled"]
    owner: str | None = None


class _Progress(msgspec.Struct):
    current: NotNegative
    total: NotNegative | None = None
    elapsed_s: float | None = None
    rate: float | None = None


class _Alert(msgspec.Struct):
    title: str
    escalate_after_s: NotNegative | None = None


class _AboutAlert(msgspec.Struct):
    event_id: str


class _Acknowledgement(_AboutAlert):
    user: str


class _StoredAlert(_Alert):
    event_id: str = ""
    offset: int = 0
    time: str = ""


_NEEDED: dict[str, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(needed)
    for kind, needed in {
        "session": _Session,
        "progress": _Progress,
        "alert": _Alert,
        ALERT_ACKNOWLEDGED: _Acknowledgement,
        ALERT_ESCALATED: _AboutAlert,
    }.items()
}
"""What a room makes use of in the data of its events."""


def restore(record: RoomRecord) -> RoomState:
    """Return the state at the record's top.

    Raises:
        ValueError: The record is not one that a room has written.
    """
    state = RoomState() if record.state is None else _state_from(record.state)
    for event in record.events:
        draft = event.draft
        time_text(draft.time_ms)
        if event.offset > record.state_offset:
            needed = _NEEDED.get(draft.kind)
            if needed is not None:
                needed.decode(draft.data)
            state.fold(event)
    return state


def _state_from(snapshot: bytes) -> RoomState:
    state = msgspec.json.decode(snapshot, type=RoomState)
    for event_id, stored in state.alerts.items():
        alert = msgspec.convert(stored, _StoredAlert)
        if alert.event_id != event_id or not alert.offset:
            raise ValueError(f"what stands under {event_id[:80]!r} is no alert of that id")
        seconds_of(alert.time)
    if state.progress.keys() != state.progress_ms.keys():
        raise ValueError("its progress has times of other keys")
    msgspec.convert(state.progress, dict[str, _Progress])
    msgspec.convert(state.acknowledged, list[_Acknowledgement])
    state.view()  # where a time that is none would show
    return state
