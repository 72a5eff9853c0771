"""Who may read, publish and acknowledge what, by token, on a router that asks for tokens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from server.app import Router

from ..native_client import NativeClient
from .services import http_service, numbers, publish

Token = Callable[..., str]


@pytest.mark.parametrize("role", ["user", "admin", "service"])
async def test_everyone_joins_their_own_rooms_by_themselves(guarded_router: Router, token: Token, role: str):
    """A connection is in its user's, its role's and everybody's rooms from the welcome on, and in no other."""
    async with NativeClient(guarded_router.addresses.ws_url, token("ann", role)) as client:
        own = ["user:ann", f"role:{role}", "broadcast", "system"]
        assert (client.welcome["user"], client.welcome["role"]) == ("ann", role)
        assert sorted(client.welcome["rooms"]) == sorted(own)
        others = ["user:bob", "user:ann2", "role:other", "session:1", "team:1"]
        for n, room in enumerate([*others, *own]):
            await publish(guarded_router, room, "app.count", {"n": n})
        events = await client.events(4)
        assert [event["room"] for event in events] == own
        assert numbers(events) == [5, 6, 7, 8]
        assert await client.nothing_more() == []
        presence = await client.ask("presence", room="user:ann")
        assert presence["members"] == [{"user": "ann", "connections": 1}]


async def test_a_sessions_owner_may_read_it_and_others_may_not(guarded_router: Router, token: Token):
    """The owner that the session names subscribes, asks and acknowledges; for everybody else it is forbidden.

    Nobody else can tell it from a session that there never was.
    """
    url, router = guarded_router.addresses.ws_url, guarded_router
    await publish(router, "session:1", "session", {"status": "started", "owner": "ann"})
    await publish(router, "session:1", "alert", {"severity": "critical", "title": "disk full"}, event_id="alert-1")
    async with NativeClient(url, token("ann")) as ann, NativeClient(url, token("bob")) as bob:
        subscribed = await ann.subscribe("session:1", history=10)
        assert subscribed["state"]["owner"] == "ann"
        assert [event["kind"] for event in await ann.events(2)] == ["session", "alert"]
        for type in ("state", "history", "presence"):
            assert (await ann.ask(type, room="session:1"))["type"] == type
        for command in (
            {"type": "subscribe"},
            {"type": "state"},
            {"type": "history"},
            {"type": "presence"},
            {"type": "ack", "event_id": "alert-1"},
        ):
            answer = await bob.ask(room="session:1", **command)
            assert (answer["type"], answer["code"], answer["temporary"]) == ("error", "forbidden", False)
            unused = await bob.ask(room="session:2", **command)
            assert unused["message"].replace("session:2", "session:1") == answer["message"]
        assert (await ann.ask("ack", room="session:1", event_id="alert-1"))["type"] == "acknowledged"
        (event,) = await ann.events(1)
        assert event["data"] == {"event_id": "alert-1", "user": "ann"}
        assert await bob.nothing_more() == []

        at = {"epoch": subscribed["epoch"], "offset": event["offset"]}
    async with (
        NativeClient(url, token("ann"), resume={"session:1": at}) as ann,
        NativeClient(url, token("bob"), resume={"session:1": at}) as bob,
    ):
        assert ann.welcome["rooms"]["session:1"]["recovery"] == "full"
        assert "session:1" not in bob.welcome["rooms"]
        assert await bob.next() == {"type": "revoked", "room": "session:1", "reason": "forbidden"}


async def test_a_session_that_goes_to_another_owner_leaves_the_old_one(guarded_router: Router, token: Token):
    """When a new run names another owner, who owned the session before gets none of its events any more."""
    url, router = guarded_router.addresses.ws_url, guarded_router
    await publish(router, "session:1", "session", {"status": "started", "owner": "ann"})
    async with (
        NativeClient(url, token("ann")) as ann,
        NativeClient(url, token("guest", rooms=("session:*",))) as guest,
    ):
        await ann.subscribe("session:1")
        await guest.subscribe("session:1")
        await publish(router, "session:1", "session", {"status": "completed"})
        assert [event["data"]["status"] for event in await ann.events(1)] == ["completed"]
        await publish(router, "session:1", "session", {"status": "started", "owner": "bob"})
        await publish(router, "session:1", "app.secret", {"n": 1})
        revoked = await ann.next()
        assert (revoked["type"], revoked["room"]) == ("revoked", "session:1")
        assert await ann.nothing_more() == []
        assert (await ann.ask("subscribe", room="session:1"))["code"] == "forbidden"
        assert [event["kind"] for event in await guest.events(3)] == ["session", "session", "app.secret"]


async def test_patterns_of_a_token_open_rooms_and_nothing_else(guarded_router: Router, token: Token):
    """`rooms` and `publish` are patterns with `*`; what they do not cover is forbidden."""
    url = guarded_router.addresses.ws_url
    ticket = token("ann", rooms=("team:*", "session:4*", "news:1"), publish=("team:ann-*",))
    async with NativeClient(url, ticket) as client:
        for room in ("team:1", "team:x:y", "session:4", "session:42", "news:1"):
            await client.subscribe(room)
        for room in ("teams:1", "session:5", "session:14", "news:12", "user:bob", "role:admin"):
            answer = await client.ask("subscribe", room=room)
            assert (answer["type"], answer["code"]) == ("error", "forbidden"), room
        event = {"kind": "app.count", "data": {"n": 1}}
        for room in ("team:1", "team:bob-1", "broadcast", "user:ann", "session:42"):
            answer = await client.ask("publish", room=room, **event)
            assert (answer["type"], answer["code"]) == ("error", "forbidden"), room
        assert (await client.ask("publish", room="team:ann-1", **event))["type"] == "published"
        await client.send("publish", room="team:1", **event)
        refused = await client.next("error")
        assert refused["code"] == "forbidden", "told also where no answer was asked for"
        assert await client.nothing_more() == []


async def test_roles_have_the_rights_that_are_theirs(guarded_router: Router, token: Token):
    """Services publish everywhere and read nothing by that; admins read and acknowledge everything."""
    url = guarded_router.addresses.ws_url
    async with (
        NativeClient(url, token("job", "service")) as service,
        NativeClient(url, token("root", "admin")) as admin,
    ):
        await admin.subscribe("session:1")
        await admin.subscribe("user:ann")
        alert = {"severity": "critical", "title": "disk full"}
        for room in ("session:1", "user:ann"):
            answer = await service.ask("publish", room=room, kind="alert", data=alert, event_id="alert-1")
            assert answer["type"] == "published"
        assert [event["room"] for event in await admin.events(2)] == ["session:1", "user:ann"]
        assert (await service.ask("subscribe", room="session:1"))["code"] == "forbidden"
        assert (await admin.ask("ack", room="session:1", event_id="alert-1"))["type"] == "acknowledged"
        assert [event["kind"] for event in await admin.events(1)] == ["alert.acknowledged"]


async def test_the_http_api_takes_services_and_admins_only(guarded_router: Router, token: Token):
    """Without a token, with a user's or with one that has ended nothing is published."""
    event = {"room": "user:ann", "kind": "app.count", "data": {"n": 1}}
    tickets = {
        None: (401, "unauthenticated"),
        "not a token": (401, "unauthenticated"),
        token("ann", publish=("*",)): (403, "forbidden"),
        token("job", "service", ttl_s=-10): (401, "token_expired"),
    }
    async with NativeClient(guarded_router.addresses.ws_url, token("ann")) as ann:
        for ticket, expected in tickets.items():
            async with http_service(guarded_router, ticket) as caller:
                status, problem = await caller.post(event)
                assert (status, problem["code"]) == expected
        async with http_service(guarded_router, token("job", "service")) as service:
            await service.publish(event)
        assert numbers(await ann.events(1)) == [1]
        assert await ann.nothing_more() == []


async def test_a_service_may_bring_its_token_in_the_handshake(guarded_router: Router, token: Token):
    """`Authorization: Bearer` stands in for the token in hello."""
    headers = {"Authorization": f"Bearer {token('job', 'service')}"}
    async with NativeClient(guarded_router.addresses.ws_url, additional_headers=headers) as service:
        assert (service.welcome["user"], service.welcome["role"]) == ("job", "service")


async def test_without_a_token_nobody_gets_in(guarded_router: Router):
    """A hello without a token is refused with the reason, and the connection closed with 4401."""
    async with NativeClient(guarded_router.addresses.ws_url, hello=False) as client:
        answer = await client.ask("hello")
        assert (answer["type"], answer["code"]) == ("error", "unauthenticated")
        assert (await client.closed())[0] == 4401
        assert len(guarded_router.ledger) == 0
