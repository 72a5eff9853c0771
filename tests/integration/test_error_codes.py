"""Every error code that a client can cause: what causes it, what it says, and that the connection goes on.

Not here: `too_large`, which only HTTP answers; `busy` and `journal_unavailable`, which need something to fail outside.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from actors.connection import Connection
from server.app import Router

from ..conftest import running_router
from ..native_client import Message, NativeClient
from .faults import fail_once

TEMPORARY = {"rate_limited", "busy", "journal_unavailable", "internal"}


def check(error: Message, code: str, id: object = None) -> None:
    """Hold an `error` against the protocol: its fields, its code, whether it is temporary."""
    assert error["type"] == "error", error
    assert error["code"] == code, error
    assert error.get("id") == id, error
    assert error["message"]
    assert error["temporary"] is (code in TEMPORARY)
    assert error.keys() - {"id", "retry_after_ms"} == {"type", "code", "message", "temporary"}


async def refused(client: NativeClient, code: str, type: str, **fields: Any) -> Message:
    """Send a command that must be refused with this code; the connection must go on."""
    error = await client.ask(type, **fields)
    check(error, code, error["id"])
    assert (await client.ask("ping"))["type"] == "pong"
    return error


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        "[]",
        "null",
        "7",
        '"hello"',
        "{}",
        '{"type": null}',
        '{"type": "ping", "id": 1.5}',
        '{"type": "ping", "id": true}',
        '{"type": "ping", "id": {}}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "room": null}',
        '{"type": "subscribe", "room": 5}',
        '{"type": "subscribe", "room": "no room name"}',
        '{"type": "subscribe", "room": "doc:*"}',
        '{"type": "subscribe", "room": "doc:>"}',
        '{"type": "subscribe", "room": "doc:"}',
        '{"type": "subscribe", "room": "Doc:1"}',
        '{"type": "subscribe", "room": "doc:1\\u0000"}',
        '{"type": "subscribe", "room": "doc:1\\n"}',
        '{"type": "subscribe", "room": "doc:1", "after": 5}',
        '{"type": "subscribe", "room": "doc:1", "after": {"epoch": "e"}}',
        '{"type": "subscribe", "room": "doc:1", "after": {"epoch": "e", "offset": -1}}',
        '{"type": "subscribe", "room": "doc:1", "after": {"epoch": "e", "offset": "1"}}',
        '{"type": "subscribe", "room": "doc:1", "after": {"epoch": 1, "offset": 1}}',
        '{"type": "subscribe", "room": "doc:1", "history": -1}',
        '{"type": "subscribe", "room": "doc:1", "history": "all"}',
        '{"type": "subscribe", "room": "doc:1", "kinds": []}',
        '{"type": "subscribe", "room": "doc:1", "kinds": "a.b"}',
        '{"type": "subscribe", "room": "doc:1", "kinds": [1]}',
        '{"type": "subscribe", "room": "doc:1", "state": "yes"}',
        '{"type": "publish", "room": "doc:1", "kind": "a.b"}',
        '{"type": "publish", "room": "doc:1", "kind": "a.b", "data": []}',
        '{"type": "publish", "room": "doc:1", "kind": 1, "data": {}}',
        '{"type": "publish", "room": "doc:1", "kind": "a.b", "data": {}, "event_id": 1}',
        '{"type": "history", "room": "doc:1", "after": 1, "before": 2}',
        '{"type": "history", "room": "doc:1", "limit": 1e9}',
        '{"type": "ack", "room": "doc:1"}',
        '{"type": "refresh"}',
        '{"type": "ping", "id": 1}{"type": "ping", "id": 2}',
        '{"type": "publish", "room": "doc:1", "kind": "a.b", "data": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}",
        '{"type": "publish", "room": "doc:1", "kind": "a.b", "data": {"a": NaN}}',
        '{"type": "publish", "room": "doc:1", "kind": "a.b", "data": {"a": "\\ud800"}}',
        '{"type": "hello"}',
    ],
)
async def test_a_message_that_cannot_be_read_is_a_bad_message(router: Router, text: str) -> None:
    """Bad JSON, a wrong field or a second hello: one `error`, nothing else, and the connection goes on."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.socket.send(text)
        error = await client.next()
        id = error.get("id")
        assert id is None or f'"id": {id}' in text
        check(error, "bad_message", id)
        assert await client.nothing_more() == []


async def test_a_bad_message_is_answered_with_its_id_where_that_can_be_read(router: Router) -> None:
    """So that a client knows which of its commands it was."""
    async with NativeClient(router.addresses.ws_url) as client:
        await refused(client, "bad_message", "subscribe", room=5)
        await client.send("subscribe", id="x", room="doc:1", kinds=[])
        check(await client.next(), "bad_message", "x")


@pytest.mark.parametrize("type", ["dance", "", "Ping", "welcome", "__init__", "hello ", 5, ["ping"], {"a": 1}])
async def test_a_type_that_does_not_exist_is_unknown(router: Router, type: Any) -> None:
    """Types of answers are no types of commands."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.socket.send(json.dumps({"type": type, "id": 9}))
        check(await client.next(), "unknown_type", 9)
        assert await client.nothing_more() == []


@pytest.mark.parametrize(
    ("kind", "data", "fields"),
    [
        ("nodot", {}, {}),
        ("Upper.case", {}, {}),
        ("a.b\n", {}, {}),
        ("", {}, {}),
        ("a." + "b" * 300, {}, {}),
        ("alert.acknowledged", {"event_id": "a", "user": "mallory"}, {}),
        ("notification", {"level": "loud", "message": "m"}, {}),
        ("notification", {"level": "info"}, {}),
        ("alert", {"severity": "high"}, {}),
        ("progress", {"current": -1}, {}),
        ("progress", {"current": "1"}, {}),
        ("progress", {"current": 1, "percent": 101}, {}),
        ("progress", {"current": 10**400}, {}),
        ("session", {"status": "paused"}, {}),
        ("system", {"status": "fine"}, {}),
        ("a.b", {}, {"event_id": ""}),
        ("a.b", {}, {"event_id": "x" * 201}),
        ("a.b", {}, {"key": ""}),
        ("a.b", {}, {"key": "x" * 201}),
        ("a.b", {}, {"delivery": "soon"}),
        ("a.b", {}, {"ack": "required"}),
        ("alert", {"severity": "low", "title": "t"}, {"ack": "please"}),
    ],
)
async def test_an_event_that_is_not_valid_is_refused_and_takes_no_offset(
    router: Router, kind: str, data: Message, fields: Message
) -> None:
    """`invalid_event`; the room stays as it was."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1")
        error = await client.ask("publish", room="doc:1", kind=kind, data=data, **fields)
        check(error, "invalid_event", error["id"])
        assert (await client.ask("publish", room="doc:1", kind="a.b", data={}))["offset"] == 1


async def test_commands_before_hello_are_unauthenticated(router: Router) -> None:
    """Nothing is done for a client that has not said who it is."""
    async with NativeClient(router.addresses.ws_url, hello=False) as client:
        error = await client.ask("subscribe", room="doc:1")
        check(error, "unauthenticated", 1)
        check(await client.ask("ping"), "unauthenticated", 2)
        assert (await client.ask("hello"))["type"] == "welcome"


async def test_refresh_with_a_bad_token_changes_nothing(guarded_router: Router, token: Callable[..., str]) -> None:
    """`unauthenticated`, `token_expired` or `forbidden`; the connection goes on with the token it had."""
    async with NativeClient(guarded_router.addresses.ws_url, token("ann", rooms=("doc:*",))) as client:
        await refused(client, "unauthenticated", "refresh", token="nonsense")
        await refused(client, "unauthenticated", "refresh", token=token("ann")[:-4] + "AAAA")
        await refused(client, "token_expired", "refresh", token=token("ann", ttl_s=-5))
        await refused(client, "forbidden", "refresh", token=token("bob", "admin"))
        assert (await client.ask("subscribe", room="doc:1"))["type"] == "subscribed"


async def test_what_the_token_does_not_allow_is_forbidden(guarded_router: Router, token: Callable[..., str]) -> None:
    """Each verb on a room of somebody else; a room that exists and one that does not look the same."""
    url = guarded_router.addresses.ws_url
    async with NativeClient(url, token("svc", "service")) as service, NativeClient(url, token("ann")) as ann:
        await service.ask("publish", room="doc:1", kind="a.b", data={})
        session = {"status": "started", "owner": "bob"}
        await service.ask("publish", room="session:1", kind="session", data=session)
        alert = {"severity": "critical", "title": "t"}
        await service.ask("publish", room="session:1", kind="alert", data=alert, event_id="a1")
        for room in ("doc:1", "doc:never", "user:bob", "role:admin", "session:1", "session:never"):
            for command in ("subscribe", "state", "history", "presence"):
                await refused(ann, "forbidden", command, room=room)
            await refused(ann, "forbidden", "publish", room=room, kind="a.b", data={})
        await refused(ann, "forbidden", "publish", room="user:ann", kind="a.b", data={})
        await refused(ann, "forbidden", "ack", room="session:1", event_id="a1")
        await refused(service, "forbidden", "subscribe", room="doc:1")


async def test_the_owner_of_a_session_may_read_and_acknowledge_it(
    guarded_router: Router, token: Callable[..., str]
) -> None:
    """Nobody named the room in a token."""
    url = guarded_router.addresses.ws_url
    async with NativeClient(url, token("svc", "service")) as service, NativeClient(url, token("ann")) as ann:
        await service.ask("publish", room="session:1", kind="session", data={"status": "started", "owner": "ann"})
        alert = {"severity": "critical", "title": "t"}
        await service.ask("publish", room="session:1", kind="alert", data=alert, event_id="a1")
        assert (await ann.ask("subscribe", room="session:1"))["state"]["alerts"][0]["event_id"] == "a1"
        assert (await ann.ask("ack", room="session:1", event_id="a1"))["type"] == "acknowledged"


async def test_a_room_that_was_never_used_has_nothing_to_ask_for(router: Router) -> None:
    """`not_found`, and asking does not make the room."""
    async with NativeClient(router.addresses.ws_url) as client:
        for command in ("state", "history", "presence"):
            await refused(client, "not_found", command, room="doc:never")
        await refused(client, "not_found", "ack", room="doc:never", event_id="a")
        await client.subscribe("doc:1")
        await refused(client, "not_found", "ack", room="doc:1", event_id="a")
        assert not router.directory.known("doc:never")


async def test_a_room_is_joined_once_and_left_once(router: Router) -> None:
    """`already_subscribed`, also for a subscribe on its way and for own rooms; `not_subscribed`."""
    async with NativeClient(router.addresses.ws_url) as client:
        await refused(client, "not_subscribed", "unsubscribe", room="doc:1")
        await client.send("subscribe", id="a", room="doc:1")
        await client.send("subscribe", id="b", room="doc:1")
        answers = {(await client.next())["id"] for _ in range(2)}
        assert answers == {"a", "b"}
        await refused(client, "already_subscribed", "subscribe", room="doc:1")
        await refused(client, "already_subscribed", "subscribe", room="broadcast")
        assert (await client.ask("unsubscribe", room="doc:1"))["type"] == "unsubscribed"
        await refused(client, "not_subscribed", "unsubscribe", room="doc:1")
        assert (await client.ask("presence", room="doc:1"))["count"] == 0


async def test_the_room_after_the_last_allowed_is_too_many() -> None:
    """Rooms joined by themselves do not count; leaving one makes place for another."""
    async with running_router(dev=True, max_rooms=128) as router, NativeClient(router.addresses.ws_url) as client:
        for number in range(128):
            assert (await client.ask("subscribe", room=f"doc:{number}"))["type"] == "subscribed"
        await refused(client, "too_many_rooms", "subscribe", room="doc:128")
        await client.ask("unsubscribe", room="doc:5")
        assert (await client.ask("subscribe", room="doc:128"))["type"] == "subscribed"
        await refused(client, "too_many_rooms", "subscribe", room="doc:129")


async def test_the_limit_of_rooms_holds_for_subscribes_on_their_way() -> None:
    """A hundred at once are no way around it."""
    async with running_router(dev=True, max_rooms=3) as router, NativeClient(router.addresses.ws_url) as client:
        for number in range(100):
            await client.send("subscribe", id=number, room=f"doc:{number}")
        answers = [await client.next() for _ in range(100)]
        assert sum(answer["type"] == "subscribed" for answer in answers) == 3
        assert {answer["code"] for answer in answers if answer["type"] == "error"} == {"too_many_rooms"}


async def test_the_limit_of_rooms_holds_for_resumed_ones() -> None:
    """Those beyond it are revoked."""
    resume = {f"doc:{number}": {"epoch": "e", "offset": 0} for number in range(5)}
    async with (
        running_router(dev=True, max_rooms=3) as router,
        NativeClient(router.addresses.ws_url, resume=resume) as client,
    ):
        assert sum(room.startswith("doc:") for room in client.welcome["rooms"]) == 3
        assert [(await client.next())["reason"] for _ in range(2)] == ["too_many_rooms", "too_many_rooms"]
        await refused(client, "too_many_rooms", "subscribe", room="doc:9")


async def test_a_user_who_sends_too_fast_is_told_to_wait(token: Callable[..., str]) -> None:
    """`rate_limited` says for how long; what was refused was not done; a service is slowed, not refused."""
    async with running_router(commands_per_s=5, commands_burst=10) as router:
        url = router.addresses.ws_url
        async with NativeClient(url, token("ann")) as ann, NativeClient(url, token("svc", "service")) as service:
            for number in range(20):
                await ann.send("ping", id=number)
                await service.send("ping", id=number)
            answers = [await ann.next() for _ in range(20)]
            limited = [answer for answer in answers if answer["type"] == "error"]
            assert 9 <= len(limited) <= 10
            for error in limited:
                check(error, "rate_limited", error["id"])
                assert 0 < error["retry_after_ms"] <= 1000
            assert [(await service.next())["type"] for _ in range(20)] == ["pong"] * 20


async def test_a_session_that_ended_takes_no_more_progress_until_it_starts_again(router: Router) -> None:
    """`session_ended`; other kinds are taken; a new run begins without the old progress."""
    async with NativeClient(router.addresses.ws_url) as client:

        async def publish(kind: str, **data: Any) -> Message:
            return await client.ask("publish", room="session:1", kind=kind, data=data)

        await publish("session", status="started")
        await publish("progress", current=5, total=10)
        for status in ("completed", "failed", "cancelled"):
            await publish("session", status=status)
            error = await publish("progress", current=6)
            check(error, "session_ended", error["id"])
        assert (await publish("notification", level="info", message="m"))["type"] == "published"
        await publish("session", status="started")
        assert (await publish("progress", current=1, total=10))["type"] == "published"
        state = (await client.ask("state", room="session:1"))["state"]
        assert state["progress"]["default"]["current"] == 1
        assert "rate" not in state["progress"]["default"]


async def test_a_command_on_which_the_router_fails_is_answered_with_internal(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error carries the id, and the same command works right after."""
    async with NativeClient(router.addresses.ws_url) as client:
        fail_once(monkeypatch, Connection, "_send", when=lambda reply: type(reply).__name__ == "Pong")
        check(await client.ask("ping"), "internal", 2)
        assert (await client.ask("ping"))["type"] == "pong"
