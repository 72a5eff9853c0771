"""Events for tests."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from actors.events import Draft, Event, draft
from actors.outbox import Outbox
from actors.roll import Roll
from actors.subscription import Subscription

__all__ = ["a_draft", "a_roll", "a_subscription", "an_event", "events", "progress", "taken"]

TIME_MS = 1_700_000_000_000
_DATA: Mapping[str, dict[str, Any]] = {
    "notification": {"level": "info", "message": "hello"},
    "alert": {"severity": "critical", "title": "disk full"},
    "progress": {"current": 1, "total": 4},
    "session": {"status": "started"},
    "system": {"status": "operational"},
}


def a_draft(
    kind: str = "app.thing",
    data: Mapping[str, Any] | None = None,
    *,
    event_id: str = "e",
    time_ms: int = TIME_MS,
    **options: str | None,
) -> Draft:
    """Make a valid draft; `data` None: something that fits the kind."""
    return draft(kind, _DATA.get(kind, {}) if data is None else data, event_id=event_id, time_ms=time_ms, **options)


def an_event(offset: int, kind: str = "app.thing", data: Mapping[str, Any] | None = None, **options: Any) -> Event:
    """Make the event at `offset`; `prev` is the offset before unless given."""
    prev = options.pop("prev", offset - 1)
    options.setdefault("event_id", f"e{offset}")
    return Event(offset=offset, prev=prev, draft=a_draft(kind, data, **options))


def events(first: int, last: int) -> list[Event]:
    """Make the events from `first` to `last`, both included."""
    return [an_event(offset) for offset in range(first, last + 1)]


def progress(offset: int, key: str | None = None, current: int | None = None) -> Event:
    """Make a progress update; it says its offset unless told otherwise."""
    return an_event(offset, "progress", {"current": offset if current is None else current}, key=key)


def a_roll(**users: str) -> Roll:
    """Make the roll of a room in which these connections are; the user of each."""
    return Roll(SimpleNamespace(connection=connection, user=user) for connection, user in users.items())


def a_subscription(room: str = "team:1", *, cursor: int = 0, kinds: frozenset[str] | None = None) -> Subscription:
    """Make the place of a client in a room where nobody lives."""
    nobody: Any = SimpleNamespace(line=None)
    return Subscription(
        room=room,
        room_mailbox=nobody,
        connection="c",
        mailbox=nobody,
        user="ann",
        kinds=kinds,
        cursor=cursor,
        by_owner=False,
        epoch="e",
        conflate_to=0,
    )


def taken(outbox: Outbox) -> bytes:
    """Take out what waits in an outbox, as a write would."""
    writes: list[bytes] = []
    outbox.flush(writes.append)
    return b"".join(writes)
