"""What services send: one frozen record per kind of event, checked by the router when it arrives.

A record becomes the JSON object that `POST /v1/publish` takes. Fields that are None are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import msgspec

__all__ = ["Alert", "Custom", "Delivery", "Message", "Notification", "Progress", "Session", "System"]

Delivery = Literal["keep", "latest", "ephemeral"]
"""What becomes of an event while a client lags.

`keep`: kept in order. `latest`: gives way to a newer one with the same room, kind and key. `ephemeral`: not stored,
dropped.
"""


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    """What every message may carry besides its own fields."""

    event_id: str | None = None
    """1 to 200 characters; the router takes an id once per room. None: the service makes one."""
    delivery: Delivery | None = None
    """None: what is usual for the kind (`latest` for progress and system, else `keep`)."""
    key: str | None = None
    """A `latest` value replaces an older one of the same room, kind and key. None: one key per room and kind."""
    traceparent: str | None = None
    """Which trace it belongs to (W3C Trace Context); it comes back with the event. None: to none."""
    extra: Mapping[str, object] | None = None
    """More data fields, JSON values. None: none."""

    _KIND: ClassVar[str] = ""

    def event(self, event_id: str) -> dict[str, object]:
        """Return the event as `POST /v1/publish` takes it, with `event_id` where the message names none.

        Raises:
            ValueError: `extra` repeats a field that the message has itself.
        """
        data: dict[str, object] = {}
        event: dict[str, object] = {"kind": self._KIND, "data": data}
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is None or name in ("extra", "kind", "data"):
                continue
            (event if name in _EVENT_FIELDS else data)[name] = value
        event.setdefault("event_id", event_id)
        extra = self.extra or {}
        if repeated := data.keys() & extra.keys():
            raise ValueError(f"extra repeats {', '.join(sorted(repeated))}: set the field itself")
        data.update(extra)
        return event


_EVENT_FIELDS = frozenset({"room", "event_id", "delivery", "key", "ack", "traceparent"})


class Notification(_Options, frozen=True):
    """Something to read: `Notification("user:17", "info", "Your export is ready")`."""

    room: str
    level: Literal["info", "warning", "error", "success"]
    message: str
    title: str | None = None

    _KIND: ClassVar[str] = "notification"


class Alert(_Options, frozen=True):
    """Something to act on: `Alert("session:42", "critical", "disk full")`."""

    room: str
    severity: Literal["low", "medium", "high", "critical"]
    title: str
    message: str | None = None
    ack: Literal["required", "none"] | None = None
    """`required` shows it to everyone who joins until somebody acknowledges it; None: only where it is critical."""
    escalate_after_s: float | None = None
    """Seconds after which it goes to the admins unless it is acknowledged; 0: never. None: the router's setting."""

    _KIND: ClassVar[str] = "alert"


class Progress(_Options, frozen=True):
    """How far something is: `Progress("session:42", 3, 10)`. The router adds percent, rate and time estimates."""

    room: str
    current: float
    total: float | None = None
    percent: float | None = None
    """0 to 100; None: the router computes it where `total` is given."""
    message: str | None = None
    unit: str | None = None
    """What `current` and `total` count, for example `files`."""

    _KIND: ClassVar[str] = "progress"


class Session(_Options, frozen=True):
    """A session began or ended: `Session("session:42", "started", owner="17")`."""

    room: str
    status: Literal["started", "completed", "failed", "cancelled"]
    reason: str | None = None
    result: object = None
    """Any JSON value."""
    owner: str | None = None
    """The user (`sub`) who may read the session."""

    _KIND: ClassVar[str] = "session"


class System(_Options, frozen=True):
    """How a system or a part of it is: `System("degraded", "search")`. Goes to everyone by default."""

    status: Literal["operational", "degraded", "maintenance", "outage"]
    component: str | None = None
    message: str | None = None
    room: str = "system"

    _KIND: ClassVar[str] = "system"


class Custom(_Options, frozen=True):
    """An event of the application's own: `Custom("session:42", "build.finished", {"artifact": "a.tar"})`."""

    room: str
    kind: str
    """Any name with a dot: `^[a-z][a-z0-9_]*(\\.[a-z0-9_]+)+$`."""
    data: Mapping[str, object]
    """Any JSON object."""

    def event(self, event_id: str) -> dict[str, object]:
        """Return the event as `POST /v1/publish` takes it, with `event_id` where the message names none.

        Raises:
            ValueError: `extra` repeats a field of `data`.
        """
        extra = self.extra or {}
        if repeated := self.data.keys() & extra.keys():
            raise ValueError(f"extra repeats {', '.join(sorted(repeated))}: set it in data")
        event = super().event(event_id)
        event["kind"] = self.kind
        event["data"] = {**self.data, **extra}
        return event


Message = Alert | Custom | Notification | Progress | Session | System
"""What `Service.tell` and `Service.ask` take."""
