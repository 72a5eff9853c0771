"""Alarm: the room's unacknowledged alerts in, one timer out; what is due goes to `role:admin`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from .clock import Clock, Timer
from .events import ALERT_ESCALATED, ESCALATION, Draft
from .mailbox import Mailbox
from .messages import Escalate
from .state import RoomState
from .times import seconds_of

__all__ = ["ADMIN_ROOM", "Alarm", "Due"]

ADMIN_ROOM = "role:admin"

_AGAIN_S = 5.0
"""How long after an escalation that was refused the next try comes."""


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
        mailbox: Is told `Escalate` when an alert is due.
        after_s: When alerts that do not say it themselves are due, in seconds; 0: never.
    """

    def __init__(self, room: str, state: RoomState, clock: Clock, mailbox: Mailbox, *, after_s: float) -> None:
        self._room = room
        self._state = state
        self._clock = clock
        self._mailbox = mailbox
        self._after_s = after_s
        self._timer: Timer | None = None
        self._escalating: set[Due] = set()

    @property
    def waiting(self) -> bool:
        """Whether an alert may become due, or is on its way."""
        return next(self._times(), None) is not None

    def set(self) -> None:
        """Set the timer for the alert that is due next; call it whenever alerts have come or gone."""
        self.cancel()
        times = [at for at, due in self._times() if due not in self._escalating]
        if times:
            self._set(min(times) - self._clock.time())

    def cancel(self) -> None:
        """Wait for nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def due(self) -> list[tuple[Due, Draft]]:
        """Take the alerts that are due now, each with the event for `role:admin`."""
        now = self._clock.time()
        due = [due for at, due in self._times() if at <= now and due not in self._escalating]
        self._escalating.update(due)
        return [(each, self._draft(each)) for each in due]

    def escalated(self, due: Due) -> Draft | None:
        """Make the room's own event about an alert that has reached `role:admin`; None: it is acknowledged by now."""
        self._escalating.discard(due)
        alert = self._state.alerts.get(due.event_id)
        if alert is None or alert["offset"] != due.offset:
            return None
        data = {"event_id": due.event_id, "to": ADMIN_ROOM}
        return self._event(f"{due.event_id}@{due.offset}{ESCALATION}", ALERT_ESCALATED, data)

    def refused(self, due: Due) -> None:
        """Try an alert again in a while: it has not reached `role:admin`."""
        self._escalating.discard(due)
        self.cancel()
        self._set(_AGAIN_S)

    def _times(self) -> Iterator[tuple[float, Due]]:
        """Yield when each alert that was not escalated yet is due, as Unix time in seconds."""
        if self._room == ADMIN_ROOM:
            return
        for event_id, alert in self._state.alerts.items():
            after_s = alert.get("escalate_after_s")
            after_s = self._after_s if after_s is None else after_s
            if after_s and "escalated_at" not in alert:
                yield seconds_of(alert["time"]) + after_s, Due(event_id, alert["offset"])

    def _draft(self, due: Due) -> Draft:
        alert = self._state.alerts[due.event_id]
        data = {name: value for name, value in alert.items() if name not in ("event_id", "offset", "time")}
        data["escalated_from"] = {
            "room": self._room,
            "event_id": due.event_id,
            "offset": due.offset,
            "time": alert["time"],
        }
        return self._event(f"{self._room}/{due.event_id}@{due.offset}{ESCALATION}", "alert", data)

    def _event(self, event_id: str, kind: str, data: Mapping[str, object]) -> Draft:
        return Draft(
            id=event_id,
            kind=kind,
            time_ms=int(self._clock.time() * 1000),
            data=msgspec.Raw(msgspec.json.encode(data)),
        )

    def _set(self, wait_s: float) -> None:
        mailbox = self._mailbox
        self._timer = self._clock.call_later(max(0.0, wait_s), lambda: mailbox.tell(Escalate()))
