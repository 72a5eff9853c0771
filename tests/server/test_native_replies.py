"""The native protocol without a socket: replies and events in, frames with the fields of the protocol page out."""

from __future__ import annotations

from typing import Any

import pytest

from actors import replies
from actors.errors import ErrorCode
from actors.events import Event
from actors.replies import Missing, RoomJoined
from server.protocols.native import NativeCodec
from tests.actors.chain import messages
from tests.actors.making import a_roll, an_event

CODEC = NativeCodec()
ROOM = "session:1"


def written(reply: replies.Reply) -> dict[str, Any]:
    (message,) = messages(CODEC.encode(reply))
    return message


def test_a_frame_is_a_whole_text_frame_of_one_line_of_json() -> None:
    frame = CODEC.encode(replies.Pong(id=1, time="t"))
    assert frame == b'\x81%{"type":"pong","time":"t","id":1}'.replace(b"%", bytes([len(frame) - 2]))


@pytest.mark.parametrize("size", [10, 200, 70_000])
def test_frames_of_every_length_are_written_right(size: int) -> None:
    assert written(replies.Unsubscribed(id="x" * size, room=ROOM))["id"] == "x" * size


JOINED = RoomJoined(epoch="e", offset=5, recovery="partial", replay=2, missing=Missing(1, 3), state={"status": None})
EVENT: Event = an_event(2, "alert", {"severity": "low", "title": "t"}, key="k", ack="required", event_id="mine")
EVENT_JSON = {
    "type": "event",
    "room": ROOM,
    "offset": 2,
    "prev": 1,
    "id": "mine",
    "kind": "alert",
    "time": "2023-11-14T22:13:20.000Z",
    "data": {"severity": "low", "title": "t"},
    "key": "k",
    "ack": "required",
}
REPLIES: list[tuple[replies.Reply, dict[str, Any]]] = [
    (
        replies.Welcome(
            id=1,
            connection="c",
            user="ann",
            role="user",
            protocol=1,
            heartbeat_s=25.0,
            expires_at=None,
            expires_in_s=None,
            limits={"message_bytes": 1, "rooms": 2, "outbox_bytes": 3},
            rooms={ROOM: JOINED},
        ),
        {
            "type": "welcome",
            "id": 1,
            "connection": "c",
            "user": "ann",
            "role": "user",
            "protocol": 1,
            "heartbeat_s": 25.0,
            "expires_at": None,
            "expires_in_s": None,
            "limits": {"message_bytes": 1, "rooms": 2, "outbox_bytes": 3},
            "rooms": {
                ROOM: {
                    "epoch": "e",
                    "offset": 5,
                    "recovery": "partial",
                    "replay": 2,
                    "missing": {"from": 1, "to": 3},
                    "state": {"status": None},
                }
            },
        },
    ),
    (
        replies.Subscribed(id=1, room=ROOM, epoch="e", offset=5, recovery="fresh", replay=0),
        {"type": "subscribed", "id": 1, "room": ROOM, "epoch": "e", "offset": 5, "recovery": "fresh", "replay": 0},
    ),
    (replies.Unsubscribed(id=1, room=ROOM), {"type": "unsubscribed", "id": 1, "room": ROOM}),
    (
        replies.Published(id=1, room=ROOM, epoch="e", offset=5, event_id="x", duplicate=True),
        {"type": "published", "id": 1, "room": ROOM, "epoch": "e", "offset": 5, "event_id": "x", "duplicate": True},
    ),
    (
        replies.State(id=1, room=ROOM, epoch="e", offset=0, state={"status": "started"}),
        {"type": "state", "id": 1, "room": ROOM, "epoch": "e", "offset": 0, "state": {"status": "started"}},
    ),
    (
        replies.History(id=1, room=ROOM, epoch="e", offset=2, events=(EVENT,), more=False),
        {"type": "history", "id": 1, "room": ROOM, "epoch": "e", "offset": 2, "events": [EVENT_JSON], "more": False},
    ),
    (
        replies.Presence(id=1, room=ROOM, roll=a_roll(c="ann", d="ann")),
        {"type": "presence", "id": 1, "room": ROOM, "members": [{"user": "ann", "connections": 2}], "count": 1},
    ),
    (
        replies.Acknowledged(id=1, room=ROOM, event_id="x"),
        {"type": "acknowledged", "id": 1, "room": ROOM, "event_id": "x"},
    ),
    (
        replies.Refreshed(id=1, expires_at="t", expires_in_s=1.5),
        {"type": "refreshed", "id": 1, "expires_at": "t", "expires_in_s": 1.5},
    ),
    (replies.Pong(id=1, time="t"), {"type": "pong", "id": 1, "time": "t"}),
    (
        replies.Skipped(room=ROOM, from_=3, to=5, reason="filtered"),
        {"type": "skipped", "room": ROOM, "from": 3, "to": 5, "reason": "filtered"},
    ),
    (
        replies.Notice(code="draining", reconnect_in_ms=7),
        {"type": "notice", "code": "draining", "reconnect_in_ms": 7},
    ),
    (
        replies.Notice(code="token_expiring", expires_at="t"),
        {"type": "notice", "code": "token_expiring", "expires_at": "t"},
    ),
    (replies.Notice(code="resumed", rooms=[ROOM]), {"type": "notice", "code": "resumed", "rooms": [ROOM]}),
    (
        replies.MemberJoined(room=ROOM, user="ann", connection="c"),
        {"type": "joined", "room": ROOM, "user": "ann", "connection": "c"},
    ),
    (
        replies.MemberLeft(room=ROOM, user="ann", connection="c"),
        {"type": "left", "room": ROOM, "user": "ann", "connection": "c"},
    ),
    (replies.Revoked(room=ROOM, reason="r"), {"type": "revoked", "room": ROOM, "reason": "r"}),
    (
        replies.Error(code=ErrorCode.BUSY, message="m", temporary=True, retry_after_ms=9),
        {"type": "error", "code": "busy", "message": "m", "temporary": True, "retry_after_ms": 9},
    ),
    (
        replies.Error(id="x", code=ErrorCode.FORBIDDEN, message="m", temporary=False),
        {"type": "error", "id": "x", "code": "forbidden", "message": "m", "temporary": False},
    ),
]


@pytest.mark.parametrize(("reply", "fields"), REPLIES)
def test_every_reply_has_the_fields_of_the_protocol(reply: replies.Reply, fields: dict[str, Any]) -> None:
    assert written(reply) == fields


def test_no_reply_was_forgotten_here() -> None:
    tested = {type(reply) for reply, _ in REPLIES}
    assert tested == set(replies.Reply.__subclasses__())


def test_an_event_has_the_fields_of_the_protocol() -> None:
    assert messages(CODEC.encode_event(ROOM, EVENT)) == [EVENT_JSON]


def test_an_event_leaves_out_what_is_usual() -> None:
    (message,) = messages(CODEC.encode_event(ROOM, an_event(1)))
    assert set(message) == {"type", "room", "offset", "prev", "id", "kind", "time", "data"}
    (message,) = messages(CODEC.encode_event(ROOM, an_event(1, "progress")))
    assert message["delivery"] == "latest"


def test_data_is_written_as_the_publisher_sent_it() -> None:
    data = {"big": 10**25, "text": "ä😀\x00", "nested": [[{"a": None}]], "float": 1e-7}
    (message,) = messages(CODEC.encode_event(ROOM, an_event(1, data=data)))
    assert message["data"] == data
