"""Tokens that end while their connection lives: a warning, a refresh in place, or the end after the grace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import pytest

from server.app import Router

from ..conftest import running_router
from ..native_client import NativeClient
from .services import numbers, publish

Token = Callable[..., str]

TTL_S = 2
"""Tokens end at whole seconds: one of two seconds lives between one and two."""
GRACE_S = 0.5


@pytest.fixture
async def strict_router() -> AsyncIterator[Router]:
    """A router that warns at once of a token of `TTL_S` seconds, and closes soon after its end."""
    async with running_router(token_warning_s=60.0, token_grace_s=GRACE_S) as router:
        yield router


def unix_time(text: str) -> float:
    """Read a time of the wire."""
    return datetime.fromisoformat(text).timestamp()


async def test_a_token_that_ends_is_announced_and_then_ends_the_connection(strict_router: Router, token: Token):
    """The client is told when its token ends, gets its events until the grace is over, and is closed with 4410."""
    async with (
        NativeClient(strict_router.addresses.ws_url, token("ann", ttl_s=TTL_S)) as client,
        NativeClient(strict_router.addresses.ws_url, token("bob")) as bystander,
    ):
        notice = await client.next()
        assert notice == {"type": "notice", "code": "token_expiring", "expires_at": client.welcome["expires_at"]}
        ends_at = unix_time(notice["expires_at"])
        await asyncio.sleep(ends_at - time.time() + 0.05)
        await publish(strict_router, "user:ann", "app.count", {"n": 1})
        assert numbers(await client.events(1)) == [1]
        assert await client.closed() == (4410, "token_expired")
        assert ends_at + GRACE_S - 0.01 <= time.time() < ends_at + GRACE_S + 2
        assert await bystander.nothing_more() == []
        assert len(strict_router.registry) == 1


async def test_a_refresh_in_place_keeps_the_connection_and_its_rooms(strict_router: Router, token: Token):
    """With a new token in time the connection goes on beyond the old one's end, as if nothing had been."""
    url, rooms = strict_router.addresses.ws_url, ("team:*",)
    async with (
        NativeClient(url, token("ann", rooms=rooms, ttl_s=TTL_S)) as refreshed,
        NativeClient(url, token("ann", rooms=rooms, ttl_s=TTL_S)) as forgetful,
    ):
        for client in (refreshed, forgetful):
            await client.subscribe("team:1")
            assert (await client.next())["code"] == "token_expiring"
        answer = await refreshed.ask("refresh", token=token("ann", rooms=rooms))
        assert answer["type"] == "refreshed"
        assert unix_time(answer["expires_at"]) > time.time() + 3000
        await publish(strict_router, "team:1", "app.count", {"n": 1})
        assert await forgetful.closed() == (4410, "token_expired")
        await publish(strict_router, "team:1", "app.count", {"n": 2})
        assert numbers(await refreshed.events(2)) == [1, 2]
        assert await refreshed.nothing_more() == []


async def test_a_refresh_within_the_grace_is_in_time(token: Token):
    """The grace is there for a refresh that is on its way when the token ends."""
    async with (
        running_router(token_warning_s=60.0, token_grace_s=5.0) as router,
        NativeClient(router.addresses.ws_url, token("ann", ttl_s=TTL_S)) as client,
    ):
        ends_at = unix_time((await client.next("notice"))["expires_at"])
        await asyncio.sleep(ends_at - time.time() + 0.05)
        assert (await client.ask("refresh", token=token("ann")))["type"] == "refreshed"
        await publish(router, "user:ann", "app.count", {"n": 1})
        assert numbers(await client.events(1)) == [1]


async def test_a_refresh_that_is_refused_changes_nothing(strict_router: Router, token: Token):
    """Another user's, an expired or a broken token is answered with an error; the connection lives on the old one."""
    async with NativeClient(strict_router.addresses.ws_url, token("ann", rooms=("team:*",))) as client:
        await client.subscribe("team:1")
        refused = {
            "forbidden": token("bob", rooms=("team:*",)),
            "token_expired": token("ann", ttl_s=-10),
            "unauthenticated": token("ann")[:-4] + "AAAA",
        }
        for code, bad in refused.items():
            answer = await client.ask("refresh", token=bad)
            assert (answer["type"], answer["code"]) == ("error", code)
            assert bad not in answer["message"]
        await publish(strict_router, "team:1", "app.count", {"n": 1})
        await publish(strict_router, "user:ann", "app.count", {"n": 2})
        assert numbers([event for event in await client.events(2) if event["room"] == "team:1"]) == [1]


async def test_a_refresh_with_fewer_rights_ends_what_it_no_longer_allows(strict_router: Router, token: Token):
    """Rooms that the new token does not cover are revoked at once; the others go on."""
    url = strict_router.addresses.ws_url
    async with NativeClient(url, token("ann", rooms=("team:*", "news:*"))) as client:
        await client.subscribe("team:1")
        await client.subscribe("news:1")
        assert (await client.ask("refresh", token=token("ann", rooms=("news:*",))))["type"] == "refreshed"
        revoked = await client.next()
        assert (revoked["type"], revoked["room"]) == ("revoked", "team:1")
        for room in ("team:1", "news:1"):
            await publish(strict_router, room, "app.count", {"n": 1})
        (event,) = await client.events(1)
        assert event["room"] == "news:1"
        assert (await client.ask("subscribe", room="team:1"))["code"] == "forbidden"
        assert await client.nothing_more() == []


async def test_a_subscription_that_a_refresh_overtakes_is_judged_by_the_new_token(strict_router: Router, token: Token):
    """A room that is asked for right before the right to it ends is not read on under the old token."""
    async with NativeClient(strict_router.addresses.ws_url, token("ann", rooms=("team:*",))) as client:
        await client.send("subscribe", id="late", room="team:1")
        await client.send("refresh", id="fewer rights", token=token("ann"))
        answers = {answer["id"]: answer for answer in [await client.next(), await client.next()]}
        assert answers["fewer rights"]["type"] == "refreshed"
        assert (answers["late"]["type"], answers["late"].get("code")) == ("error", "forbidden")
        await publish(strict_router, "team:1", "app.count", {"n": 1})
        assert await client.nothing_more() == []
        assert (await client.ask("unsubscribe", room="team:1"))["code"] == "not_subscribed"


async def test_an_expired_token_is_turned_away_with_the_reason(strict_router: Router, token: Token):
    """Who comes with a token that has ended already is told so and closed with 4410."""
    url = strict_router.addresses.ws_url
    async with NativeClient(url, hello=False) as client:
        answer = await client.ask("hello", token=token("ann", ttl_s=-10))
        assert (answer["type"], answer["code"]) == ("error", "token_expired")
        assert (await client.closed())[0] == 4410


async def test_without_a_warning_time_a_token_ends_without_a_notice(token: Token):
    """`token_warning_s` 0 means what it says: the client is not told, and closed after the grace."""
    async with (
        running_router(token_warning_s=0.0, token_grace_s=GRACE_S) as router,
        NativeClient(router.addresses.ws_url, token("ann", ttl_s=TTL_S)) as client,
    ):
        ends_at = unix_time(client.welcome["expires_at"])
        assert await client.closed() == (4410, "token_expired")
        assert time.time() >= ends_at + GRACE_S - 0.01
        assert client.kept() == []
