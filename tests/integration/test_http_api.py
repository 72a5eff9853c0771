"""Every call for rooms, connections, users and alerts, over a real socket: what it answers, and to whom it does not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from server.app import Router

from ..conftest import running_router
from ..native_client import WAIT_S, Message, NativeClient
from ..raw_client import RawClient
from .services import publish, state_of, wait_until

Token = Callable[..., str]


class Caller:
    """Calls the API with one token."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Message]:
        """Return status and answer."""
        async with (
            asyncio.timeout(WAIT_S),
            self._session.request(method, URL(self._url + path, encoded=True), **options) as response,
        ):
            return response.status, json.loads(await response.read())

    async def get(self, path: str) -> Message:
        """Return a good answer."""
        return await self.good("GET", path)

    async def good(self, method: str, path: str) -> Message:
        """Return a good answer."""
        status, answer = await self.call(method, path)
        assert status == 200, answer
        return answer


def caller_of(router: Router, session: aiohttp.ClientSession) -> Caller:
    return Caller(session, router.addresses.api_url)


@pytest.fixture
async def session() -> AsyncIterator[Callable[[str | None], aiohttp.ClientSession]]:
    """Make sessions that are closed at the end."""
    sessions = []

    def make(token: str | None) -> aiohttp.ClientSession:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        sessions.append(aiohttp.ClientSession(headers=headers))
        return sessions[-1]

    yield make
    for each in sessions:
        await each.close()


@pytest.fixture
async def as_role(
    guarded_router: Router, token: Token, session: Callable[[str | None], aiohttp.ClientSession]
) -> Callable[[str | None], Caller]:
    """Make callers: `as_role("admin")`; None: without a token."""

    def make(role: str | None) -> Caller:
        return caller_of(guarded_router, session(None if role is None else token("op", role)))

    return make


@pytest.fixture
async def admin(as_role: Callable[[str | None], Caller]) -> Caller:
    """A caller who may do everything."""
    return as_role("admin")


# --- rooms


async def test_rooms_are_listed_by_name_a_page_at_a_time(guarded_router: Router, admin: Caller) -> None:
    """With how each stands; by prefix; `next` leads on."""
    for name in ("team:b", "team:a", "team:c", "doc:1"):
        await publish(guarded_router, name, "app.thing", {})
    await publish(guarded_router, "session:9", "session", {"status": "started", "owner": "ann"})
    page = await admin.get("/v1/rooms?prefix=team:&limit=2")
    assert [room["room"] for room in page["rooms"]] == ["team:a", "team:b"]
    assert page["next"] == "team:b"
    rest = await admin.get(f"/v1/rooms?prefix=team:&limit=2&after={page['next']}")
    assert [room["room"] for room in rest["rooms"]] == ["team:c"]
    assert rest["next"] is None
    (room,) = (await admin.get("/v1/rooms?prefix=session:"))["rooms"]
    assert (room["open"], room["offset"], room["status"], room["owner"]) == (True, 1, "started", "ann")
    assert room["subscribers"] == room["alerts"] == 0
    assert room["last_event_at"].endswith("Z")


async def test_a_room_that_has_retired_is_listed_as_closed_and_can_be_read(
    token: Token, session: Callable[[str | None], aiohttp.ClientSession]
) -> None:
    """The log knows it. Reading opens it, and its answer is what it was."""
    async with running_router(room_idle_s=0.1) as router:
        admin = caller_of(router, session(token("op", "admin")))
        receipt = await publish(router, "team:1", "app.thing", {"n": 1})
        await wait_until(lambda: "team:1" not in router.ledger.notes(), "retired")
        (room,) = (await admin.get("/v1/rooms?prefix=team:"))["rooms"]
        assert room == {"room": "team:1", "open": False, "subscribers": 0, "alerts": 0}
        assert (await admin.get("/v1/rooms/team:1"))["epoch"] == receipt.epoch


async def test_a_room_shows_its_state_history_and_members(guarded_router: Router, token: Token, admin: Caller) -> None:
    """Under its name as the path has it."""
    url = guarded_router.addresses.ws_url
    for n in range(5):
        receipt = await publish(
            guarded_router, "session:4/2", "progress", {"current": n, "total": 4}, event_id=f"e{n}", key="k"
        )
    async with NativeClient(url, token("ann", rooms=("session:*",))) as client:
        await client.subscribe("session:4/2")
        path = f"/v1/rooms/{quote('session:4/2', safe='')}"
        room = await admin.get(path)
        assert (room["room"], room["epoch"], room["offset"]) == ("session:4/2", receipt.epoch, 5)
        assert room["subscribers"] == 1
        assert room["state"]["progress"]["k"]["percent"] == 100.0
        history = await admin.get(f"{path}/history?after=1&limit=2")
        assert [(event["offset"], event["prev"], event["id"]) for event in history["events"]] == [
            (2, 1, "e1"),
            (3, 2, "e2"),
        ]
        assert (history["more"], history["events"][0]["key"], history["events"][0]["kind"]) == (True, "k", "progress")
        assert history["events"][0]["data"]["current"] == 1
        assert [event["offset"] for event in (await admin.get(f"{path}/history?before=3"))["events"]] == [1, 2]
        presence = await admin.get(f"{path}/presence")
        assert presence == {"room": "session:4/2", "members": [{"user": "ann", "connections": 1}], "count": 1}


@pytest.mark.parametrize("rest", ["", "/history", "/presence"])
async def test_reading_makes_no_room(guarded_router: Router, admin: Caller, rest: str) -> None:
    """One that was never used is not found, before and after."""
    rooms = len(guarded_router.directory)
    for _ in range(2):
        status, problem = await admin.call("GET", f"/v1/rooms/team%3Anobody{rest}")
        assert (status, problem["code"]) == (404, "not_found")
    assert len(guarded_router.directory) == rooms


async def test_the_record_of_the_supervisor_is_for_admins_and_stays(as_role: Callable[[str | None], Caller]) -> None:
    """A service may not read it, and nobody may remove it."""
    path = "/v1/rooms/system:supervisor"
    status, problem = await as_role("service").call("GET", f"{path}/history")
    assert (status, problem["code"]) == (403, "forbidden")
    assert (await as_role("admin").get(path))["offset"] >= 1
    status, problem = await as_role("admin").call("DELETE", path)
    assert (status, problem["code"]) == (403, "forbidden")


async def test_a_removed_room_is_gone_before_the_answer_and_after_a_restart(
    tmp_path: Any, token: Token, session: Callable[[str | None], aiohttp.ClientSession]
) -> None:
    """Who was in it hears that an operator removed it; its name begins anew."""
    journal = str(tmp_path / "journal.db")
    async with running_router(journal=journal) as router:
        admin = caller_of(router, session(token("op", "admin")))
        old = await publish(router, "team:1", "alert", {"severity": "critical", "title": "t"}, event_id="once")
        async with NativeClient(router.addresses.ws_url, token("ann", rooms=("team:*",))) as client:
            await client.subscribe("team:1")
            answer = await admin.good("DELETE", "/v1/rooms/team:1")
            assert answer == {"room": "team:1", "revoked": 1, "forgotten": True}
            revoked = await client.next("revoked")
            assert (revoked["room"], "operator" in revoked["reason"]) == ("team:1", True)
            status, _ = await admin.call("GET", "/v1/rooms/team:1")
            assert status == 404
    async with running_router(journal=journal) as router:
        admin = caller_of(router, session(token("op", "admin")))
        assert (await admin.get("/v1/rooms?prefix=team:"))["rooms"] == []
        assert (await admin.get("/v1/alerts"))["alerts"] == []
        new = await publish(router, "team:1", "app.thing", {}, event_id="once")
        assert (new.offset, new.duplicate) == (1, False)
        assert new.epoch != old.epoch


async def test_publishing_while_a_room_is_removed_again_and_again_tells_the_truth(
    guarded_router: Router, admin: Caller
) -> None:
    """What a receipt says is there, unless the room was removed after it: epochs are never mixed."""
    receipts = []
    done = False

    async def publisher() -> None:
        n = 0
        while not done:
            receipts.append(await publish(guarded_router, "team:1", "app.thing", {"n": n}, event_id=f"e{n}"))
            n += 1

    publishing = asyncio.ensure_future(publisher())
    for _ in range(10):
        seen = len(receipts)
        await wait_until(lambda: len(receipts) > seen + 5, "events")  # noqa: B023  # awaited in the loop
        await admin.good("DELETE", "/v1/rooms/team:1")
    done = True
    await publishing
    by_epoch: dict[str, list[int]] = {}
    for receipt in receipts:
        assert not receipt.duplicate
        by_epoch.setdefault(receipt.epoch, []).append(receipt.offset)
    assert all(offsets == list(range(1, len(offsets) + 1)) for offsets in by_epoch.values())
    history = await admin.get("/v1/rooms/team:1/history?limit=300")
    assert [event["offset"] for event in history["events"]] == by_epoch[history["epoch"]]
    orders = await admin.get("/v1/supervisor/journal?limit=1000")
    assert sum(entry.get("order") == "forget_room" for entry in orders["entries"]) == 10


# --- connections


async def test_connections_are_listed_and_shown(guarded_router: Router, token: Token, admin: Caller) -> None:
    """By id a page at a time, by user, by lag."""
    url = guarded_router.addresses.ws_url
    async with (
        NativeClient(url, token("ann", rooms=("team:*",))) as first,
        NativeClient(url, token("ben")) as second,
        NativeClient(url, token("ann")) as third,
    ):
        await first.subscribe("team:1")
        await publish(guarded_router, "team:1", "app.thing", {})
        await first.next("event")
        ids = [client.welcome["connection"] for client in (first, second, third)]
        page = await admin.get("/v1/connections?limit=2")
        assert ([each["id"] for each in page["connections"]], page["total"], page["next"]) == (ids[:2], 3, ids[1])
        rest = await admin.get(f"/v1/connections?limit=2&after={ids[1]}")
        assert ([each["id"] for each in rest["connections"]], rest["next"]) == (ids[2:], None)
        anns = await admin.get("/v1/connections?user=ann&sort=lag")
        assert (sorted(each["id"] for each in anns["connections"]), anns["total"]) == (sorted([ids[0], ids[2]]), 2)
        shown = await admin.get(f"/v1/connections/{ids[0]}")
        assert (shown["user"], shown["role"], shown["state"], shown["rooms"]) == ("ann", "user", "open", 5)
        assert (shown["address"], shown["lag"], shown["outbox_bytes"], shown["restarts"]) == ("127.0.0.1", 0, 0, 0)
        (team,) = [room for room in shown["room_list"] if room["room"] == "team:1"]
        assert (team["offset"], team["top"], team["lag"], team["own"]) == (1, 1, 0, False)
        status, problem = await admin.call("GET", "/v1/connections/nobody")
        assert (status, problem["code"]) == (404, "not_found")


async def test_a_client_that_reads_nothing_shows_its_lag_and_is_gone_a_second_after_it_is_closed(
    guarded_router: Router, token: Token, admin: Caller
) -> None:
    """An operator need not wait until it stalls; its user's other sockets stay."""
    url = guarded_router.addresses.ws_url
    async with RawClient(url, receive_bytes=4096) as deaf, NativeClient(url, token("ann")) as other:
        await deaf.open(hello=False)
        await deaf.command("hello", id=1, token=token("ann", rooms=("team:*",)))
        assert (await deaf.message())["type"] == "welcome"
        await deaf.command("subscribe", id=2, room="team:1")
        assert (await deaf.message())["type"] == "subscribed"
        for n in range(400):
            await publish(guarded_router, "team:1", "app.thing", {"n": n, "x": "x" * 2000})
        (slow, *_) = (await admin.get("/v1/connections?sort=lag"))["connections"]
        assert slow["lag"] > 0
        (most, *_) = (await admin.get("/v1/connections?sort=outbox"))["connections"]
        assert (most["id"], most["outbox_bytes"] > 0) == (slow["id"], True)
        assert await admin.good("DELETE", f"/v1/connections/{slow['id']}") == {"closed": 1}
        closed_at = time.monotonic()
        await wait_until(lambda: guarded_router.registry.arrival(slow["id"]) is None, "gone")
        assert time.monotonic() - closed_at < 5.0  # a second, and what a busy machine adds
        assert (await other.ask("ping"))["type"] == "pong"


async def test_all_sockets_of_a_user_are_closed_with_4009(guarded_router: Router, token: Token, admin: Caller) -> None:
    """And nobody else's. An unknown user has none."""
    url = guarded_router.addresses.ws_url
    async with (
        NativeClient(url, token("ann")) as first,
        NativeClient(url, token("ann")) as second,
        NativeClient(url, token("ben")) as other,
    ):
        assert await admin.good("DELETE", "/v1/users/ann/connections") == {"closed": 2}
        assert [(await client.closed())[0] for client in (first, second)] == [4009, 4009]
        assert await admin.good("DELETE", "/v1/users/nobody/connections") == {"closed": 0}
        assert (await other.ask("ping"))["type"] == "pong"


async def test_a_users_connections_join_a_room_and_leave_it_on_order(
    guarded_router: Router, token: Token, admin: Caller
) -> None:
    """As if the token allowed it, through a refresh and a repair; and not after they have left it."""
    url = guarded_router.addresses.ws_url
    async with NativeClient(url, token("ann")) as client, NativeClient(url, token("ann")) as second:
        path = "/v1/users/ann/rooms/team%3A1"
        assert await admin.good("PUT", path) == {"user": "ann", "room": "team:1", "connections": 2}
        joined = await client.next("subscribed")
        assert (joined["room"], "id" in joined) == ("team:1", False)
        await second.next("subscribed")
        await admin.good("PUT", path)  # again: nothing comes
        assert (await client.ask("refresh", token=token("ann")))["type"] == "refreshed"
        status, _ = await admin.call("POST", f"/v1/actors/connection:{client.welcome['connection']}/restart")
        assert status == 200
        assert (await client.next())["code"] == "resumed"
        await publish(guarded_router, "team:1", "app.thing", {"n": 1})
        assert (await client.next("event"))["data"] == {"n": 1}
        assert (await client.ask("unsubscribe", room="team:1"))["type"] == "unsubscribed"
        await client.subscribe("team:1")
        assert (await admin.good("DELETE", path))["connections"] == 2
        assert (await client.next("revoked"))["room"] == "team:1"
        assert (await second.next("revoked"))["room"] == "team:1"
        assert (await client.ask("subscribe", room="team:1"))["code"] == "forbidden"
        expected = ["subscribe_user", "subscribe_user", "restart", "unsubscribe_user"]
        orders: list[str] = []
        async with asyncio.timeout(WAIT_S):
            while len(orders) < len(expected):  # the record is kept a moment after the answer
                entries = (await admin.get("/v1/supervisor/journal"))["entries"]
                orders = [entry["order"] for entry in entries if "order" in entry]
        assert orders == expected


async def test_an_order_that_is_taken_back_at_once_leaves_nobody_in_the_room(
    guarded_router: Router, token: Token, admin: Caller
) -> None:
    """Whether the room had answered or not."""
    path = "/v1/users/ann/rooms/team:1"
    async with NativeClient(guarded_router.addresses.ws_url, token("ann", rooms=("team:*",))) as client:
        for _ in range(10):
            await asyncio.gather(admin.good("PUT", path), admin.good("DELETE", path))
        await admin.good("DELETE", path)
        assert (await client.ask("ping"))["type"] == "pong"
        state = state_of(guarded_router, client)
        await wait_until(lambda: not state.pending, "the room has answered")
        assert guarded_router.ledger.subscribers("team:1") == 0
        await client.subscribe("team:1")


async def test_the_limit_of_rooms_holds_for_orders_too(
    token: Token, session: Callable[[str | None], aiohttp.ClientSession]
) -> None:
    """The operator is told; the client is left as it is."""
    async with running_router(max_rooms=2) as router, NativeClient(router.addresses.ws_url, token("ann")) as client:
        admin = caller_of(router, session(token("op", "admin")))
        for n in (1, 2):
            await admin.good("PUT", f"/v1/users/ann/rooms/team:{n}")
        status, problem = await admin.call("PUT", "/v1/users/ann/rooms/team:3")
        assert (status, problem["code"]) == (400, "too_many_rooms")
        assert (await client.ask("subscribe", room="team:3"))["code"] in ("too_many_rooms", "forbidden")


# --- alerts


async def test_alerts_that_nobody_has_acknowledged_are_listed(
    guarded_router: Router, token: Token, admin: Caller
) -> None:
    """The latest first, of all rooms, until they are acknowledged."""
    for n in range(3):
        await publish(
            guarded_router, f"team:{n}", "alert", {"severity": "critical", "title": f"t{n}"}, event_id=f"a{n}"
        )
    page = await admin.get("/v1/alerts?limit=2")
    assert (len(page["alerts"]), page["more"]) == (2, True)
    alerts = (await admin.get("/v1/alerts"))["alerts"]
    assert {(alert["room"], alert["event_id"], alert["title"]) for alert in alerts} == {
        (f"team:{n}", f"a{n}", f"t{n}") for n in range(3)
    }
    async with NativeClient(guarded_router.addresses.ws_url, token("op", "admin")) as client:
        assert (await client.ask("ack", room="team:1", event_id="a1"))["type"] == "acknowledged"
    assert {alert["room"] for alert in (await admin.get("/v1/alerts"))["alerts"]} == {"team:0", "team:2"}


# --- who may call, and with what

CALLS = [
    ("GET", "/v1/rooms", "both"),
    ("GET", "/v1/rooms/team:1", "both"),
    ("GET", "/v1/rooms/team:1/history", "both"),
    ("GET", "/v1/rooms/team:1/presence", "both"),
    ("DELETE", "/v1/rooms/team:1", "admin"),
    ("GET", "/v1/connections", "admin"),
    ("GET", "/v1/connections/x", "admin"),
    ("DELETE", "/v1/connections/x", "admin"),
    ("DELETE", "/v1/users/ann/connections", "both"),
    ("PUT", "/v1/users/ann/rooms/team:1", "both"),
    ("DELETE", "/v1/users/ann/rooms/team:1", "both"),
    ("GET", "/v1/alerts", "admin"),
]


@pytest.mark.parametrize(("method", "path", "roles"), CALLS)
async def test_who_may_not_call_is_told_so(
    guarded_router: Router,
    session: Callable[[str | None], aiohttp.ClientSession],
    as_role: Callable[[str | None], Caller],
    method: str,
    path: str,
    roles: str,
) -> None:
    """No token and a wrong one: 401. A role that does not do: 403. A body where none is taken: 413."""
    for wrong in (as_role(None), caller_of(guarded_router, session("eyJwrong"))):
        status, problem = await wrong.call(method, path)
        assert (status, problem["code"]) == (401, "unauthenticated")
    status, problem = await as_role("user").call(method, path)
    assert (status, problem["code"]) == (403, "forbidden")
    status, problem = await as_role("service").call(method, path)
    assert (status == 403) is (roles == "admin"), problem
    status, problem = await as_role("admin").call(method, path, data=b"x" * 100_000)
    assert (status, problem["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/v1/rooms?limit=0", ">= 1"),
        ("/v1/rooms?limit=1001", "<= 1000"),
        ("/v1/rooms?limit=ten", "int"),
        ("/v1/rooms?limit=1&limit=2", "once"),
        ("/v1/rooms/broadcast/history?limit=301", "<= 300"),
        ("/v1/rooms/broadcast/history?after=1&before=2", "exclude"),
        ("/v1/rooms/broadcast/history?after=-1", ">= 0"),
        ("/v1/connections?sort=age", "sort"),
        ("/v1/connections?sort=lag&after=x", "sort=id"),
        ("/v1/alerts?limit=0", ">= 1"),
    ],
)
async def test_a_wrong_parameter_is_a_bad_message_that_says_what_is_right(admin: Caller, path: str, right: str) -> None:
    status, problem = await admin.call("GET", path)
    assert (status, problem["code"]) == (400, "bad_message")
    assert right in problem["detail"]
    assert (await admin.call("GET", path.partition("?")[0] + "?unknown=1"))[0] in (200, 404)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_what_is_no_room_name_is_refused_for_users(admin: Caller, method: str) -> None:
    status, problem = await admin.call(method, "/v1/users/ann/rooms/not%20a%20room")
    assert (status, problem["code"]) == (400, "bad_message")
