"""What services send, as the router gets it."""

from __future__ import annotations

import pytest

from postroom_client import Alert, Custom, Notification, Progress, Session, System


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (
            Notification("user:1", "info", "hello", "Title", extra={"link": "/x"}),
            {
                "room": "user:1",
                "kind": "notification",
                "data": {"level": "info", "message": "hello", "title": "Title", "link": "/x"},
            },
        ),
        (
            Alert("session:1", severity="critical", title="disk full", ack="required"),
            {
                "room": "session:1",
                "kind": "alert",
                "ack": "required",
                "data": {"severity": "critical", "title": "disk full"},
            },
        ),
        (
            Progress("session:1", current=0, total=10, unit="files", key="upload", delivery="keep"),
            {
                "room": "session:1",
                "kind": "progress",
                "key": "upload",
                "delivery": "keep",
                "data": {"current": 0, "total": 10, "unit": "files"},
            },
        ),
        (
            Session("session:1", "completed", result={"ok": True}, owner="ada"),
            {
                "room": "session:1",
                "kind": "session",
                "data": {"status": "completed", "result": {"ok": True}, "owner": "ada"},
            },
        ),
        (
            System("degraded", "search"),
            {"room": "system", "kind": "system", "data": {"status": "degraded", "component": "search"}},
        ),
        (
            Custom("session:1", "build.finished", {"artifact": None}, extra={"size": 3}),
            {"room": "session:1", "kind": "build.finished", "data": {"artifact": None, "size": 3}},
        ),
    ],
)
def test_a_message_becomes_the_event_of_the_protocols_table(message, event):
    assert message.event("id-1") == {**event, "event_id": "id-1"}


def test_a_messages_own_event_id_wins():
    assert Progress("session:1", 1, event_id="mine").event("other")["event_id"] == "mine"


@pytest.mark.parametrize(
    "message",
    [
        Notification("user:1", "info", "hello", extra={"message": "other"}),
        Custom("session:1", "a.b", {"x": 1}, extra={"x": 2}),
    ],
)
def test_extra_may_not_repeat_a_field(message):
    with pytest.raises(ValueError, match="extra repeats"):
        message.event("id-1")


def test_messages_are_frozen():
    with pytest.raises(AttributeError):
        Progress("session:1", 1).current = 2  # type: ignore[misc]
