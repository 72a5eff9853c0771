"""An operator answers from the supervisor journal alone: what failed, on what, what was done, noticed and lost."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from actors.connection import Connection
from actors.messages import Frame
from server.app import Router

from ..conftest import running_router
from ..native_client import NativeClient
from .faults import fail_on_message
from .operators import Operator, kinds, until_there
from .services import crash, publish, state_of

ROOM = "system:supervisor"


async def test_a_failed_connection_is_three_entries_of_one_incident(router: Router) -> None:
    """What failed on which message; how it was restarted; what was brought up, noticed and lost."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1")
        await publish(router, "doc:1", "doc.changed", {"n": 1})
        await client.events(1)
        name = state_of(router, client).mailbox.name
        with pytest.MonkeyPatch.context() as patch:
            fail_on_message(patch, Connection, Frame, error=ValueError("cannot read it"))
            assert (await client.ask("state", room="doc:1"))["code"] == "internal"
        entries = await until_there(Operator(router), "repaired", actor=name)
    failed, restarted, repaired = entries
    assert kinds(entries) == ["failed", "restarted", "repaired"]
    assert len({entry["incident"] for entry in entries}) == 1
    assert (failed["message_type"], failed["exception_type"], failed["error"]) == (
        "Frame",
        "ValueError",
        "cannot read it",
    )
    assert "cannot read it" in failed["traceback"]
    assert (restarted["restart"], restarted["of"], restarted["backoff_ms"]) == (1, 3, 0.0)
    assert repaired["rooms"]["doc:1"] == {"from": 1, "to": 1}
    assert (repaired["commands_lost"], repaired["user"]) == (["state doc:1"], "anonymous")
    assert "`resumed`" in repaired["noticed"]
    assert "1 of its commands answered `internal`" in repaired["noticed"]


async def test_the_journal_is_a_room_that_admins_follow_live(router: Router) -> None:
    """A subscriber of role admin gets each entry as an event, in order."""
    async with NativeClient(router.addresses.ws_url) as client:
        await until_there(Operator(router), "started")
        await client.subscribe(ROOM)
        await publish(router, "doc:1", "doc.changed", {})
        crash(router.directory.room("doc:1"))
        seen = await client.events(3, ROOM)
    assert [event["kind"] for event in seen] == ["supervisor.failed", "supervisor.restarted", "supervisor.repaired"]
    assert seen[2]["data"]["actor"] == "room:doc:1"
    assert [event["prev"] for event in seen[1:]] == [event["offset"] for event in seen[:-1]]


async def test_who_follows_it_hears_of_a_drain_before_they_have_to_go() -> None:
    """The entry comes before the notice; what comes after that a follower gets from the next router."""
    async with running_router(dev=True) as router, NativeClient(router.addresses.ws_url) as client:
        await client.subscribe(ROOM)
        stopping = asyncio.ensure_future(router.stop())
        (entry,) = await client.events(1, ROOM)
        assert (entry["kind"], entry["data"]) == ("supervisor.draining", {"connections": 1})
        assert (await client.next("notice"))["code"] == "draining"
        await stopping


async def test_nobody_but_admins_reads_it_and_nobody_writes_it(guarded_router: Router, token: Any) -> None:
    """A pattern for all rooms does not help a user, and a service cannot forge an entry."""
    url = guarded_router.addresses.ws_url
    async with NativeClient(url, token=token("ann", rooms=("*",), publish=("*",))) as client:
        for command in ("subscribe", "history", "state"):
            assert (await client.ask(command, room=ROOM))["code"] == "forbidden"
    async with NativeClient(url, token=token("svc", "service")) as client:
        answer = await client.ask("publish", room=ROOM, kind="supervisor.failed", data={})
        assert answer["code"] == "forbidden"
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token('root', 'admin')}"}) as session,
        session.post(
            f"{guarded_router.addresses.api_url}/v1/publish",
            json={"room": ROOM, "kind": "supervisor.failed", "data": {}},
        ) as answer,
    ):
        assert answer.status == 403
        assert "router's own record" in (await answer.json())["detail"]


async def test_an_operator_restarts_an_actor_and_the_journal_says_who(guarded_router: Router, token: Any) -> None:
    """Without a failure entry, outside the intensity, and with the operator's name."""
    operator = Operator(guarded_router, token("olga", "admin"))
    async with NativeClient(guarded_router.addresses.ws_url, token=token("ann")) as client:
        name = state_of(guarded_router, client).mailbox.name
        for _ in range(5):
            assert await operator.call("POST", f"/v1/actors/{name}/restart") == (
                200,
                {"actor": name, "ordered": True},
            )
            assert (await client.ask("ping"))["type"] == "pong"
        entries = await until_there(operator, "repaired", 5, actor=name)
    assert kinds(entries).count("failed") == 0
    assert kinds(entries)[:3] == ["ordered", "restarted", "repaired"]
    assert entries[0] | {"offset": 0, "time": ""} == {
        "offset": 0,
        "time": "",
        "kind": "supervisor.ordered",
        "order": "restart",
        "target": name,
        "actor": name,
        "by": "olga",
    }
    assert entries[1]["by"] == "olga"


@pytest.mark.parametrize("name", ["source", "journal", "rooms", "connections"])
async def test_whatever_an_operator_restarts_comes_back_and_nothing_is_lost(router: Router, name: str) -> None:
    """The record has the order, the restart and the repair."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1")
        await Operator(router).call("POST", f"/v1/actors/{name}/restart")
        entries = await until_there(Operator(router), "repaired", actor=name)
        assert kinds(entries) == ["ordered", "restarted", "repaired"]
        await publish(router, "doc:1", "doc.changed", {"n": 1})
        (event,) = await client.events(1, "doc:1")
        assert event["data"] == {"n": 1}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/v1/actors/root/restart", 403, "forbidden"), ("/v1/actors/nobody/restart", 404, "not_found")],
)
async def test_what_cannot_be_restarted_is_explained(router: Router, path: str, status: int, code: str) -> None:
    answered, problem = await Operator(router).call("POST", path)
    assert (answered, problem["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/v1/supervisor", "/v1/supervisor/journal"])
async def test_who_is_no_admin_sees_nothing(guarded_router: Router, token: Any, path: str) -> None:
    for presented, status in ((None, 401), ("rubbish", 401), (token("s", "service"), 403), (token("u"), 403)):
        assert (await Operator(guarded_router, presented).call("GET", path))[0] == status


async def test_the_tree_shows_who_is_there_and_how_often_each_was_restarted(router: Router) -> None:
    """Supervisors with their children; of many children those that failed come first."""
    async with NativeClient(router.addresses.ws_url), NativeClient(router.addresses.ws_url) as second:
        operator = Operator(router)
        name = state_of(router, second).mailbox.name
        await operator.call("POST", f"/v1/actors/{name}/restart")
        await until_there(operator, "repaired", actor=name)
        status, answer = await operator.call("GET", "/v1/supervisor", limit="1")
    assert status == 200
    root = answer["tree"]
    assert (root["name"], root["kind"], root["state"]) == ("root", "supervisor", "running")
    (shown,) = root["children"]
    assert root["children_total"] == 4
    assert shown["kind"] == "supervisor"
    _, answer = await operator.call("GET", "/v1/supervisor")
    assert {child["name"] for child in answer["tree"]["children"]} == {"journal", "rooms", "source", "connections"}


async def test_the_tree_names_who_failed_first_where_not_all_are_shown(router: Router) -> None:
    """Among more connections than are shown, the one that was restarted is the first."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(NativeClient(router.addresses.ws_url)) for _ in range(5)]
        name = state_of(router, clients[3]).mailbox.name
        await Operator(router).call("POST", f"/v1/actors/{name}/restart")
        await until_there(Operator(router), "repaired", actor=name)
        _, answer = await Operator(router).call("GET", "/v1/supervisor", limit="4")
        (connections,) = [child for child in answer["tree"]["children"] if child["name"] == "connections"]
        first = connections["children"][0]
        assert (first["name"], first["class"], first["restarts"]) == (name, "Connection", 1)
        assert (len(connections["children"]), connections["children_total"]) == (4, 5)


async def test_the_journal_outlives_the_router_and_says_whether_it_was_stopped(tmp_path: Path) -> None:
    """After an orderly stop its last entry is `stopped`; one that died left none."""
    journal = str(tmp_path / "journal.db")
    async with running_router(dev=True, journal=journal) as first:
        crash(first.directory.room("doc:1"))
        await until_there(Operator(first), "repaired")
    async with running_router(dev=True, journal=journal) as second:
        entries = await until_there(Operator(second), "started", 2)
    assert kinds(entries) == ["started", "failed", "restarted", "repaired", "draining", "stopped", "started"]
    assert [entry["offset"] for entry in entries] == [1, 2, 3, 4, 5, 6, 7]


async def test_pages_go_forward_from_an_offset_and_backward_from_the_end(router: Router) -> None:
    """With a filter a page is as full as without one."""
    for number in range(30):
        router.report("ordered", order="restart", target=f"t{number % 3}", by="olga")
    operator = Operator(router)
    await until_there(operator, "ordered", 30)
    assert [entry["offset"] for entry in await operator.entries(limit="3")] == [29, 30, 31]
    assert [entry["offset"] for entry in await operator.entries(after="0", limit="3")] == [1, 2, 3]
    assert [entry["offset"] for entry in await operator.entries(actor="t0", limit="2")] == [26, 29]
    assert [entry["offset"] for entry in await operator.entries(actor="t0", after="2", limit="2")] == [5, 8]
    assert await operator.entries(after="31") == []
    status, problem = await operator.call("GET", "/v1/supervisor/journal", limit="0")
    assert (status, problem["code"]) == (400, "bad_message")
    assert "parameters are after, actor, limit" in problem["detail"]


async def test_no_token_gets_into_the_journal(guarded_router: Router, token: Any) -> None:
    """An exception's words may repeat what it was given."""
    secret = token("ann")
    guarded_router.report("repaired", actor="source", noticed=f"bad token {secret}", token=secret)
    (entry,) = await until_there(Operator(guarded_router, token("olga", "admin")), "repaired", actor="source")
    assert entry["noticed"] == "bad token [hidden]"
    assert entry["token"] == "[hidden]"
