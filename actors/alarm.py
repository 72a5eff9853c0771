"""Alarm: the room's unacknowledged alerts in, one timer out; what is due goes to `role:admin`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from .clock import Clock, Timer
from .events import ALERT_ESCALATED, ESCALATION, Draft
from .mailbox import Mailbox
from .messages import AlertDue
from .state import RoomState
from .times import seconds_of

__all__ = ["ADMIN_ROOM", "Alarm", "Due"]

ADMIN_ROOM = "role:admin"

_AGAIN_S = 5.0
"""How long after an escalation the next try comes, unless the room has noted by then that it took place."""


class Due(NamedTuple):
    """An alert that nobody acknowledged in time."""

    event_id: str
    offset: int


class Alarm:
    """Watches the alerts of one room. The time of an alert is its event's own, so it goes on over restarts.

    Args:
        room: The room's name.
        state: The room's state.
        clock: Sets the timer.
        mailbox: Is told `AlertDue` when an alert is due.
        after_s: When alerts that do not say it themselves are due, in seconds; 0: never.
    """

    def __init__(self, room: str, state: RoomState, clock: Clock, mailbox: Mailbox, *, after_s: float) -> None:
        self._room = room
        self._state = state
        self._clock = clock
        self._mailbox = mailbox
        self._after_s = after_s
        self._timer: Timer | None = None
        self._again: dict[Due, float] = {}
        """Alerts that were sent to the admins, to when they are sent again; they are the same event each time."""

    @property
    def waiting(self) -> bool:
        """Whether an alert may become due, or is on its way."""
        return bool(self._times())

    def set(self) -> None:
        """Set the timer for the alert that is due next; call it whenever alerts have come or gone."""
        self.cancel()
        times = self._times()
        self._again = {due: at for due, at in self._again.items() if due in times}
        if times:
            mailbox, wait_s = self._mailbox, min(times.values()) - self._clock.time()
            self._timer = self._clock.call_later(max(0.0, wait_s), lambda: mailbox.tell(AlertDue()))

    def cancel(self) -> None:
        """Wait for nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def due(self) -> list[tuple[Due, Draft]]:
        """Take the alerts that are due now, each with the event for `role:admin`."""
        now = self._clock.time()
        due = [due for due, at in self._times().items() if at <= now]
        self._again.update(dict.fromkeys(due, now + _AGAIN_S))
        return [(each, self._draft(each)) for each in due]

    def escalated(self, due: Due) -> Draft | None:
        """Make the room's own event about an alert that has reached `role:admin`; None: it needs none any more."""
        alert = self._state.alerts.get(due.event_id)
        if alert is None or alert["offset"] != due.offset or "escalated_at" in alert:
            return None
        data = {"event_id": due.event_id, "to": ADMIN_ROOM}
        return self._event(f"{due.event_id}@{due.offset}{ESCALATION}", ALERT_ESCALATED, data)

    def refused(self, due: Due) -> None:
        """Try an alert again in a while: it has not reached `role:admin`."""
        self._again[due] = self._clock.time() + _AGAIN_S
        self.set()

    def _times(self) -> dict[Due, float]:
        """Return when each alert that was not escalated yet is due, or due again, as Unix time in seconds."""
        times: dict[Due, float] = {}
        for event_id, alert in self._state.alerts.items() if self._room != ADMIN_ROOM else ():
            after_s = alert.get("escalate_after_s")
            after_s = self._after_s if after_s is None else after_s
            if after_s and "escalated_at" not in alert:
                due = Due(event_id, alert["offset"])
                times[due] = max(seconds_of(alert["time"]) + after_s, self._again.get(due, 0.0))
        return times

    def _draft(self, due: Due) -> Draft:
        alert = self._state.alerts[due.event_id]
        data = {name: value for name, value in alert.items() if name not in ("event_id", "offset", "time")}
        data["escalated_from"] = {
            "room": self._room,
            "event_id": due.event_id,
            "offset": due.offset,
            "time": alert["time"],
        }
        # A digest, because any text that joins the two could be made by another room and another id.
        whose = hashlib.blake2s(msgspec.json.encode([self._room, due.event_id]), digest_size=12).hexdigest()
        return self._event(f"{whose}@{due.offset}{ESCALATION}", "alert", data)

    def _event(self, event_id: str, kind: str, data: Mapping[str, object]) -> Draft:
        return Draft(
            id=event_id,
            kind=kind,
            time_ms=int(self._clock.time() * 1000),
            data=msgspec.Raw(msgspec.json.encode(data)),
        )
