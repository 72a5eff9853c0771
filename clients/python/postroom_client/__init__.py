"""Python client of the Postroom event router.

`connect` subscribes to rooms over a WebSocket; `Service` publishes events over HTTP, from any thread.
"""

from ._backoff import Backoff
from ._client import Client
from ._connect import connect
from ._errors import (
    BufferFull,
    ClientClosed,
    CommandError,
    CommandTimeout,
    ConnectFailed,
    ConnectionEnded,
    GapError,
    PostroomError,
    Revoked,
    Unauthenticated,
)
from ._events import Event, HistoryPage, Member, Presence, Receipt, RoomState
from ._messages import Alert, Custom, Delivery, Message, Notification, Progress, Session, System
from ._positions import Gap, GapReason, OnGap, OnSkipped, Position, Recovery, Skipped
from ._sender import Refused
from ._service import Service
from ._subscription import Subscription
from ._tokens import TokenSource
from ._version import __version__

__all__ = [
    "Alert",
    "Backoff",
    "BufferFull",
    "Client",
    "ClientClosed",
    "CommandError",
    "CommandTimeout",
    "ConnectFailed",
    "ConnectionEnded",
    "Custom",
    "Delivery",
    "Event",
    "Gap",
    "GapError",
    "GapReason",
    "HistoryPage",
    "Member",
    "Message",
    "Notification",
    "OnGap",
    "OnSkipped",
    "Position",
    "PostroomError",
    "Presence",
    "Progress",
    "Receipt",
    "Recovery",
    "Refused",
    "Revoked",
    "RoomState",
    "Service",
    "Session",
    "Skipped",
    "Subscription",
    "System",
    "TokenSource",
    "Unauthenticated",
    "__version__",
    "connect",
]
