"""Every message type of the native protocol: what is sent, what is answered, which fields the answer has."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime

from server.app import Router

from ..native_client import Message, NativeClient

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
EMPTY_STATE: Message = {"status": None, "alerts": [], "last_event_at": None, "counts": {}}


def seconds(text: str) -> float:
    """Read a time of the protocol, which must have its form."""
    assert TIME.match(text), text
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()


async def fill(client: NativeClient, room: str, count: int, kind: str = "app.step") -> str:
    """Publish `count` events with `n` from 1 on; return the room's epoch."""
    receipts = [await client.ask("publish", room=room, kind=kind, data={"n": n + 1}) for n in range(count)]
    assert all(receipt["type"] == "published" for receipt in receipts), receipts
    epoch: str = receipts[-1]["epoch"]
    return epoch


async def test_hello_is_answered_with_who_the_client_is_its_limits_and_its_own_rooms(
    guarded_router: Router, token: Callable[..., str]
) -> None:
    """`welcome` has exactly the fields of the protocol; four rooms are joined without being asked for."""
    before = datetime.now(UTC).timestamp()
    async with NativeClient(guarded_router.addresses.ws_url, hello=False) as client:
        welcome = await client.ask("hello", token=token("ann", ttl_s=3600), client={"name": "test", "version": "1"})
    rooms = welcome.pop("rooms")
    assert welcome.pop("id") == 1
    assert re.match(r"\S+\Z", welcome.pop("connection"))
    assert 3590 < seconds(welcome.pop("expires_at")) - before < 3610
    assert 3590 < welcome.pop("expires_in_s") < 3610
    assert welcome == {
        "type": "welcome",
        "user": "ann",
        "role": "user",
        "protocol": 1,
        "heartbeat_s": 25.0,
        "limits": {"message_bytes": 65536, "rooms": 128, "outbox_bytes": 1048576},
    }
    assert rooms.keys() == {"user:ann", "role:user", "broadcast", "system"}
    for room in rooms.values():
        assert room.pop("epoch")
        assert room == {"offset": 0, "recovery": "fresh", "replay": 0, "state": EMPTY_STATE}


async def test_a_client_without_a_token_is_anonymous_under_dev_and_its_power_never_ends(router: Router) -> None:
    """`expires_at` is there and null."""
    async with NativeClient(router.addresses.ws_url) as client:
        assert client.welcome["user"] == "anonymous"
        assert client.welcome["role"] == "admin"
        assert client.welcome["expires_at"] is None


async def test_hello_without_an_id_is_welcomed_all_the_same(router: Router) -> None:
    """The answer to a `hello` without `id` has none."""
    async with NativeClient(router.addresses.ws_url, hello=False) as client:
        await client.send("hello")
        welcome = await client.next()
        assert welcome["type"] == "welcome"
        assert "id" not in welcome


async def test_subscribe_answers_with_the_position_and_the_state_at_it(router: Router) -> None:
    """`subscribed` has exactly the fields of the protocol, and the event after it follows the offset in it."""
    async with NativeClient(router.addresses.ws_url) as client:
        epoch = await fill(client, "doc:1", 3)
        answer = await client.ask("subscribe", room="doc:1")
        assert answer.pop("id") == 5
        last_event_at = answer["state"].pop("last_event_at")
        assert TIME.match(last_event_at)
        assert answer == {
            "type": "subscribed",
            "room": "doc:1",
            "epoch": epoch,
            "offset": 3,
            "recovery": "fresh",
            "replay": 0,
            "state": {"status": None, "alerts": [], "counts": {"app.step": 3}},
        }
        await client.send("publish", room="doc:1", kind="app.step", data={"n": 4})
        event = await client.next()
        assert (event["type"], event["prev"], event["offset"]) == ("event", 3, 4)


async def test_subscribe_with_history_replays_the_last_events_before_the_live_ones(router: Router) -> None:
    """`history` n: n old events, or as many as there are."""
    async with NativeClient(router.addresses.ws_url) as client:
        await fill(client, "doc:1", 5)
        assert (await client.ask("subscribe", room="doc:1", history=2))["replay"] == 2
        assert [event["offset"] for event in await client.events(2)] == [4, 5]
        await client.ask("unsubscribe", room="doc:1")
        assert (await client.ask("subscribe", room="doc:1", history=99))["replay"] == 5
        assert [event["offset"] for event in await client.events(5)] == [1, 2, 3, 4, 5]
        await client.ask("unsubscribe", room="doc:1")
        assert (await client.ask("subscribe", room="doc:1", history=0))["replay"] == 0
        assert await client.nothing_more() == []


async def test_subscribe_without_state_is_answered_without_state(router: Router) -> None:
    """`state` false leaves the field out."""
    async with NativeClient(router.addresses.ws_url) as client:
        assert "state" not in await client.ask("subscribe", room="doc:1", state=False)


async def test_unsubscribe_ends_the_room_for_this_client_only(router: Router) -> None:
    """`unsubscribed` has `id` and `room`; after it no event of the room comes."""
    async with NativeClient(router.addresses.ws_url) as leaving, NativeClient(router.addresses.ws_url) as staying:
        await leaving.subscribe("doc:1")
        await staying.subscribe("doc:1")
        answer = await leaving.ask("unsubscribe", room="doc:1")
        assert answer == {"type": "unsubscribed", "id": answer["id"], "room": "doc:1"}
        await fill(leaving, "doc:1", 3)
        assert [event["offset"] for event in await staying.events(3)] == [1, 2, 3]
        assert await leaving.nothing_more() == []


async def test_publish_is_answered_after_the_commit_with_the_events_place(router: Router) -> None:
    """`published` has exactly the fields of the protocol; the router makes an id where the publisher gave none."""
    async with NativeClient(router.addresses.ws_url) as client:
        answer = await client.ask("publish", room="doc:1", kind="app.step", data={})
        assert answer.pop("epoch")
        assert len(answer.pop("event_id")) > 5
        assert answer == {"type": "published", "id": 2, "room": "doc:1", "offset": 1, "duplicate": False}


async def test_an_event_carries_all_that_its_publisher_set(router: Router) -> None:
    """`event` has exactly the fields of the protocol, the optional ones where they were set and mean something."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1")
        await client.ask(
            "publish", room="doc:1", kind="app.step", data={"a": [1, None]}, event_id="e1", key="k", delivery="latest"
        )
        await client.ask("publish", room="doc:1", kind="alert", data={"severity": "low", "title": "t"}, ack="required")
        await client.ask("publish", room="doc:1", kind="app.step", data={})
        full, alert, bare = await client.events(3)
    assert abs(seconds(full.pop("time")) - datetime.now(UTC).timestamp()) < 60
    assert full == {
        "type": "event",
        "room": "doc:1",
        "offset": 1,
        "prev": 0,
        "id": "e1",
        "kind": "app.step",
        "data": {"a": [1, None]},
        "key": "k",
        "delivery": "latest",
    }
    assert alert["ack"] == "required"
    assert bare.keys() == {"type", "room", "offset", "prev", "id", "kind", "time", "data"}


async def test_every_kind_of_the_protocol_is_taken_and_counted(router: Router) -> None:
    """The five kinds and one of the application's own, with their least data."""
    events: list[tuple[str, Message]] = [
        ("notification", {"level": "info", "message": "m"}),
        ("alert", {"severity": "critical", "title": "t"}),
        ("progress", {"current": 1, "total": 4}),
        ("session", {"status": "started", "owner": "ann"}),
        ("system", {"status": "degraded"}),
        ("build.step_2.done", {}),
    ]
    async with NativeClient(router.addresses.ws_url) as client:
        for kind, data in events:
            answer = await client.ask("publish", room="session:1", kind=kind, data=data)
            assert answer["type"] == "published", answer
        state = (await client.ask("state", room="session:1"))["state"]
    assert state["counts"] == {kind: 1 for kind, _ in events}


async def test_state_answers_with_the_session_as_its_events_made_it(router: Router) -> None:
    """`state` has exactly the fields of the protocol; the router adds the estimates to the progress."""
    async with NativeClient(router.addresses.ws_url) as client:
        for kind, data, fields in (
            ("session", {"status": "started", "owner": "ann"}, {}),
            ("progress", {"current": 1, "total": 4}, {}),
            ("progress", {"current": 2, "total": 8}, {"key": "copy"}),
            ("alert", {"severity": "critical", "title": "disk"}, {"event_id": "a1"}),
            ("session", {"status": "failed", "reason": "disk"}, {}),
        ):
            await client.ask("publish", room="session:1", kind=kind, data=data, **fields)
        answer = await client.ask("state", room="session:1")
    state = answer.pop("state")
    assert answer.pop("epoch")
    assert answer == {"type": "state", "id": 7, "room": "session:1", "offset": 5}
    assert state.keys() == {
        "status",
        "owner",
        "started_at",
        "ended_at",
        "progress",
        "alerts",
        "last_event_at",
        "counts",
    }
    assert (state["status"], state["owner"]) == ("failed", "ann")
    assert seconds(state["started_at"]) <= seconds(state["ended_at"]) == seconds(state["last_event_at"])
    assert state["progress"].keys() == {"default", "copy"}
    assert state["progress"]["copy"] == {"current": 2, "total": 8, "percent": 25.0, "elapsed_s": 0.0}
    (alert,) = state["alerts"]
    assert alert.pop("time")
    assert alert == {"event_id": "a1", "offset": 4, "severity": "critical", "title": "disk"}


async def test_history_pages_through_the_room_in_both_directions(router: Router) -> None:
    """`after` and `before` leave out the offset they name; `more` says whether going on gives anything."""
    async with NativeClient(router.addresses.ws_url) as client:
        epoch = await fill(client, "doc:1", 7)

        async def page(**fields: int) -> tuple[list[int], bool]:
            answer = await client.ask("history", room="doc:1", **fields)
            assert answer.keys() == {"type", "id", "room", "epoch", "offset", "events", "more"}, answer
            assert answer["offset"] == 7
            assert (answer["room"], answer["epoch"]) == ("doc:1", epoch)
            return [event["offset"] for event in answer["events"]], answer["more"]

        assert await page() == ([1, 2, 3, 4, 5, 6, 7], False)
        assert await page(limit=3) == ([5, 6, 7], True)
        assert await page(before=5, limit=3) == ([2, 3, 4], True)
        assert await page(before=2, limit=3) == ([1], False)
        assert await page(before=1) == ([], False)
        assert await page(after=0, limit=3) == ([1, 2, 3], True)
        assert await page(after=3, limit=4) == ([4, 5, 6, 7], False)
        assert await page(after=7) == ([], False)
        assert await page(after=99) == ([], False)
        assert await page(before=99, limit=1) == ([7], True)
        answer = await client.ask("history", room="doc:1", after=6)
        await client.subscribe("doc:1", history=1)
        (event,) = await client.events(1)
        assert {"type": "event", **answer["events"][0]} == event


async def test_history_gives_100_events_unless_asked_for_more_and_never_over_300(router: Router) -> None:
    """The default and the bound of `limit`."""
    async with NativeClient(router.addresses.ws_url) as client:
        for n in range(309):
            await client.send("publish", room="doc:1", kind="app.step", data={"n": n})
        await client.ask("publish", room="doc:1", kind="app.step", data={"n": 309})
        assert len((await client.ask("history", room="doc:1"))["events"]) == 100
        most = await client.ask("history", room="doc:1", after=0, limit=300)
        assert [event["offset"] for event in most["events"]] == list(range(1, 301))
        assert most["more"] is True
        for limit in (0, 301, -1):
            assert (await client.ask("history", room="doc:1", limit=limit))["code"] == "bad_message"


async def test_presence_counts_users_and_their_connections(guarded_router: Router, token: Callable[..., str]) -> None:
    """`members` names each user once with its connections, `count` counts users; who left is not in it."""
    url = guarded_router.addresses.ws_url
    ann, bob = token("ann", rooms=("doc:*",)), token("bob", rooms=("doc:*",))
    async with NativeClient(url, ann) as first, NativeClient(url, ann) as second, NativeClient(url, bob) as third:
        for client in (first, second, third):
            await client.subscribe("doc:1")
        answer = await first.ask("presence", room="doc:1")
        answer["members"].sort(key=lambda member: member["user"])
        assert answer == {
            "type": "presence",
            "id": answer["id"],
            "room": "doc:1",
            "members": [{"user": "ann", "connections": 2}, {"user": "bob", "connections": 1}],
            "count": 2,
        }
        await second.ask("unsubscribe", room="doc:1")
        await third.ask("unsubscribe", room="doc:1")
        after = await first.ask("presence", room="doc:1")
        assert (after["members"], after["count"]) == ([{"user": "ann", "connections": 1}], 1)


async def test_ack_is_answered_and_told_to_the_room_once(router: Router) -> None:
    """The alert leaves the state, everyone gets `alert.acknowledged`, and a second ack finds nothing."""
    async with NativeClient(router.addresses.ws_url) as client, NativeClient(router.addresses.ws_url) as other:
        await other.subscribe("doc:1")
        alert = {"severity": "critical", "title": "disk full"}
        await client.ask("publish", room="doc:1", kind="alert", data=alert, event_id="a1")
        answer = await client.ask("ack", room="doc:1", event_id="a1")
        assert answer == {"type": "acknowledged", "id": 3, "room": "doc:1", "event_id": "a1"}
        alert_event, told = await other.events(2)
        assert (alert_event["id"], alert_event["ack"]) == ("a1", "required")
        assert (told["kind"], told["data"]) == ("alert.acknowledged", {"event_id": "a1", "user": "anonymous"})
        assert (await client.ask("state", room="doc:1"))["state"]["alerts"] == []
        assert (await client.ask("ack", room="doc:1", event_id="a1"))["code"] == "not_found"
        assert [m["type"] for m in await other.nothing_more()] == []


async def test_two_who_acknowledge_at_once_make_one_event(router: Router) -> None:
    """Both are answered, or one is told that it is done; the room hears it once."""
    async with NativeClient(router.addresses.ws_url) as ann, NativeClient(router.addresses.ws_url) as bob:
        await ann.ask("publish", room="doc:1", kind="alert", data={"severity": "critical", "title": "t"}, event_id="a")
        answers = await asyncio.gather(*(client.ask("ack", room="doc:1", event_id="a") for client in (ann, bob)))
        assert {answer["type"] for answer in answers} <= {"acknowledged", "error"}
        state = (await ann.ask("state", room="doc:1"))["state"]
        assert state["counts"] == {"alert": 1, "alert.acknowledged": 1}


async def test_refresh_moves_the_expiry_and_the_rights(guarded_router: Router, token: Callable[..., str]) -> None:
    """`refreshed` has the new expiry; a room that the new token does not allow is revoked, the others go on."""
    async with NativeClient(guarded_router.addresses.ws_url, token("ann", rooms=("doc:*", "log:*"))) as client:
        await client.subscribe("doc:1")
        await client.subscribe("log:1")
        answer = await client.ask("refresh", token=token("ann", rooms=("doc:*",), ttl_s=7200))
        assert answer.keys() == {"type", "id", "expires_at", "expires_in_s"}
        assert answer["type"] == "refreshed"
        assert seconds(answer["expires_at"]) > seconds(client.welcome["expires_at"]) + 3000
        revoked = await client.next()
        assert revoked.pop("reason")
        assert revoked == {"type": "revoked", "room": "log:1"}
        assert (await client.ask("unsubscribe", room="log:1"))["code"] == "not_subscribed"
        assert (await client.ask("unsubscribe", room="doc:1"))["type"] == "unsubscribed"


async def test_ping_is_answered_with_the_time(router: Router) -> None:
    """`pong` has `id` and `time`; without `id` it is answered too."""
    async with NativeClient(router.addresses.ws_url) as client:
        answer = await client.ask("ping")
        assert abs(seconds(answer.pop("time")) - datetime.now(UTC).timestamp()) < 60
        assert answer == {"type": "pong", "id": 2}
        await client.send("ping")
        assert (await client.next()).keys() == {"type", "time"}


async def test_an_id_may_be_a_string_and_comes_back_as_it_was(router: Router) -> None:
    """Strings, negative and large numbers, and the empty string."""
    async with NativeClient(router.addresses.ws_url) as client:
        for id in ("x", "", 0, -5, 2**53, "1"):
            await client.send("ping", id=id)
            answer = await client.next("pong")
            assert answer["id"] == id
            assert type(answer["id"]) is type(id)


async def test_publish_ack_and_unsubscribe_without_id_are_answered_only_when_they_fail(router: Router) -> None:
    """Their success is silent; their error has no `id`."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1")
        alert = {"severity": "critical", "title": "t"}
        await client.send("publish", room="doc:1", kind="alert", data=alert, event_id="a1")
        await client.next("event")
        await client.send("ack", room="doc:1", event_id="a1")
        await client.next("event")
        await client.send("unsubscribe", room="doc:1")
        assert await client.nothing_more() == []
        await client.send("publish", room="doc:1", kind="nodot", data={})
        await client.send("ack", room="doc:1", event_id="a1")
        await client.send("unsubscribe", room="doc:1")
        errors = [await client.next() for _ in range(3)]
        assert sorted(error["code"] for error in errors) == ["invalid_event", "not_found", "not_subscribed"]
        assert all("id" not in error for error in errors)


async def test_commands_without_id_that_ask_for_something_are_answered(router: Router) -> None:
    """`subscribe`, `state`, `history` and `presence` have nothing to say but their answer."""
    async with NativeClient(router.addresses.ws_url) as client:
        for command, answer in (
            ("subscribe", "subscribed"),
            ("state", "state"),
            ("history", "history"),
            ("presence", "presence"),
        ):
            await client.send(command, room="doc:1")
            message = await client.next()
            assert message["type"] == answer
            assert "id" not in message


async def test_unknown_fields_are_ignored(router: Router) -> None:
    """In every command, at every depth; an event keeps what its data has beyond the kind's fields."""
    async with NativeClient(router.addresses.ws_url, hello=False) as client:
        welcome = await client.ask("hello", future={"a": 1}, client={"name": "x", "version": "y", "os": "z"})
        assert welcome["type"] == "welcome"
        assert (await client.ask("subscribe", room="doc:1", qos=2))["type"] == "subscribed"
        data = {"level": "info", "message": "m", "icon": "bell"}
        assert (await client.ask("publish", room="doc:1", kind="notification", data=data, ttl=5))["type"] == "published"
        assert (await client.next("event"))["data"] == data
        assert (await client.ask("ping", now=True))["type"] == "pong"


async def test_a_broadcast_reaches_every_client_without_a_subscribe(router: Router) -> None:
    """The rooms joined by themselves deliver from the welcome on."""
    async with NativeClient(router.addresses.ws_url) as one, NativeClient(router.addresses.ws_url) as two:
        await one.ask("publish", room="broadcast", kind="notification", data={"level": "info", "message": "hi"})
        for client in (one, two):
            event = await client.next("event")
            assert (event["room"], event["prev"], event["offset"]) == ("broadcast", 0, 1)
