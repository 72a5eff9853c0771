"""The state of a room, folded from its events: one event in, what a client that joins must know out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict, cast

import msgspec

from .events import ALERT_ACKNOWLEDGED, ALERT_ESCALATED, Draft, Event, decode_data
from .times import time_text

__all__ = ["DEFAULT_KEY", "RoomState", "StateView", "is_full", "resize", "size"]

_MOST_BYTES = 128 * 1024
_MOST_KINDS = 100
_MOST_ACKNOWLEDGED = 10
_MOST_TITLE = 200
_OVERHEAD_BYTES = 200  # of a value's key, its time and the fields that the router adds

DEFAULT_KEY = "default"
"""Where the progress of a publisher that sets no `key` stands in the state."""


class _Acknowledgement(TypedDict):
    event_id: str
    title: str
    user: str
    time: str


class StateView(TypedDict):
    """The state of a room as the wire shows it."""

    status: str | None
    owner: NotRequired[str]
    started_at: NotRequired[str]
    ended_at: NotRequired[str]
    progress: NotRequired[dict[str, dict[str, Any]]]
    alerts: list[dict[str, Any]]
    acknowledged: NotRequired[list[_Acknowledgement]]
    last_event_at: str | None
    counts: dict[str, int]


def is_full(sizes: Mapping[str, int]) -> bool:
    """Tell whether a state of these sizes takes no more alerts and progress keys."""
    return sum(sizes.values()) > _MOST_BYTES


def resize(sizes: dict[str, int], draft: Draft) -> None:
    """Count in what a draft adds to a state, replaces in it or takes out of it; `sizes` as in `RoomState`."""
    if draft.kind == "progress":
        sizes[f"progress {draft.key or DEFAULT_KEY}"] = size(draft)
    elif draft.kind == "session":
        if decode_data(draft.data)["status"] == "started":
            for name in [name for name in sizes if name.startswith("progress ")]:
                del sizes[name]
    elif draft.kind == "alert" and draft.ack:
        sizes[f"alert {draft.id}"] = size(draft)
    elif draft.kind == ALERT_ACKNOWLEDGED:
        sizes.pop(f"alert {decode_data(draft.data)['event_id']}", None)


class RoomState(msgspec.Struct, omit_defaults=True):
    """What a room's events amount to. Only `fold` changes it; `view` is what clients see."""

    status: str | None = None
    """started, completed, failed or cancelled; None: no session event yet."""
    owner: str | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    progress: dict[str, dict[str, Any]] = {}
    """Key to the last progress data, with its estimates."""
    progress_ms: dict[str, int] = {}
    """Key to the time of that value."""
    alerts: dict[str, dict[str, Any]] = {}
    """Event id to an alert that nobody has acknowledged yet."""
    sizes: dict[str, int] = {}
    """About how many bytes each of those values and alerts takes."""
    last_event_ms: int | None = None
    counts: dict[str, int] = {}
    """Kind to how many events there were; kinds past the first hundred are counted under `other`."""
    acknowledged: list[dict[str, Any]] = []
    """The last acknowledgements: which alert, by whom and when."""

    @property
    def ended(self) -> bool:
        """Whether the session is over and takes no more progress."""
        return self.status in ("completed", "failed", "cancelled")

    @property
    def full(self) -> bool:
        """Whether it takes no more alerts and progress keys: everyone who joins gets all of it in one answer."""
        return is_full(self.sizes)

    def fold(self, event: Event) -> None:
        """Take one event in. Events come in the order of their offsets, each once.

        An ephemeral one changes nothing: it is not stored, and after a restart nobody could know of it.
        """
        draft = event.draft
        if draft.delivery == "ephemeral":
            return
        self.last_event_ms = draft.time_ms
        resize(self.sizes, draft)
        kind = draft.kind if draft.kind in self.counts or len(self.counts) < _MOST_KINDS else "other"
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if draft.kind == "progress":
            key = draft.key or DEFAULT_KEY
            self.progress[key] = decode_data(draft.data)
            self.progress_ms[key] = draft.time_ms
        elif draft.kind == "session":
            self._fold_session(draft, decode_data(draft.data))
        elif draft.kind == "alert" and draft.ack:
            data = decode_data(draft.data)
            data.pop("escalated_at", None)  # the router's own, as what comes last here
            self.alerts[draft.id] = {
                **data,
                "event_id": draft.id,
                "offset": event.offset,
                "time": time_text(draft.time_ms),
            }
        elif draft.kind == ALERT_ACKNOWLEDGED:
            self._fold_acknowledgement(draft, decode_data(draft.data))
        elif draft.kind == ALERT_ESCALATED:
            alert = self.alerts.get(decode_data(draft.data)["event_id"])
            if alert is not None:
                alert["escalated_at"] = time_text(draft.time_ms)

    def _fold_acknowledgement(self, draft: Draft, data: dict[str, Any]) -> None:
        alert = self.alerts.pop(data["event_id"], None)
        if alert is None:
            return
        by_whom = {
            "event_id": data["event_id"],
            "title": alert["title"][:_MOST_TITLE],
            "user": data["user"],
            "time": time_text(draft.time_ms),
        }
        self.acknowledged = [*self.acknowledged[1 - _MOST_ACKNOWLEDGED :], by_whom]

    def _fold_session(self, draft: Draft, data: dict[str, Any]) -> None:
        self.status = data["status"]
        self.owner = data.get("owner") or self.owner
        if data["status"] == "started":
            self.started_ms, self.ended_ms = draft.time_ms, None
            self.progress, self.progress_ms = {}, {}
        else:
            self.ended_ms = draft.time_ms

    def view(self) -> StateView:
        """Return the state as the wire shows it (docs/reference/protocol.md); the caller may keep it."""
        view: dict[str, Any] = {"status": self.status}
        if self.owner is not None:
            view["owner"] = self.owner
        if self.started_ms is not None:
            view["started_at"] = time_text(self.started_ms)
        if self.ended_ms is not None:
            view["ended_at"] = time_text(self.ended_ms)
        if self.progress:
            view["progress"] = dict(self.progress)
        view["alerts"] = [dict(alert) for alert in self.alerts.values()]
        if self.acknowledged:
            view["acknowledged"] = list(self.acknowledged)
        view["last_event_at"] = None if self.last_event_ms is None else time_text(self.last_event_ms)
        view["counts"] = dict(self.counts)
        return cast("StateView", view)


def size(draft: Draft) -> int:
    """Return about how many bytes a draft takes in a state."""
    return len(memoryview(draft.data)) + _OVERHEAD_BYTES
