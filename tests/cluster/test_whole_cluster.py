"""One router is asked, and the whole cluster answers: over HTTP, over WebSocket, and in the supervisor journal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from actors.acceptance import Acceptance
from actors.errors import Refusal
from server import __version__
from server.app import Router, StartError
from server.commands.group import app
from server.settings import Settings

from ..integration.faults import fail_once
from ..integration.operators import Operator, kinds, until_there
from ..integration.services import publish
from ..native_client import WAIT_S, NativeClient
from ..nats_server import NatsServer, nats_servers
from .together import together

ROOM = "doc:1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One NATS server for all tests of the file."""
    with nats_servers(tmp_path_factory.mktemp("nats")) as (server,):
        yield server


async def client(stack: AsyncExitStack, router: Router, token: str | None = None) -> NativeClient:
    return await stack.enter_async_context(NativeClient(router.addresses.ws_url, token))


def ids(page: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["id"], line["node"]) for line in page["connections"]]


async def test_connections_of_all_routers_are_listed_shown_and_closed_by_any(server: NatsServer, token: Any) -> None:
    """In pages, with the node of each; one of another router by its id; all of a user."""
    admin = token("ops", "admin")
    async with together(server, "a", "b") as (first, second), AsyncExitStack() as stack:
        operator = Operator(first, admin)
        here = await client(stack, first, token("ann"))
        there = await client(stack, second, token("ann"))
        other = await client(stack, second, token("bob"))
        places = {here.welcome["connection"]: "a", there.welcome["connection"]: "b", other.welcome["connection"]: "b"}

        _, whole = await operator.call("GET", "/v1/connections")
        assert (dict(ids(whole)), whole["total"], whole["next"]) == (places, 3, None)
        _, page = await operator.call("GET", "/v1/connections", limit="2")
        _, rest = await operator.call("GET", "/v1/connections", limit="2", after=page["next"])
        assert ids(page) + ids(rest) == ids(whole)
        assert rest["next"] is None
        _, anns = await operator.call("GET", "/v1/connections", user="ann", sort="lag")
        assert anns["total"] == 2

        path = f"/v1/connections/{other.welcome['connection']}"
        status, shown = await operator.call("GET", path)
        assert (status, shown["user"], shown["node"]) == (200, "bob", "b")
        assert await operator.call("DELETE", path) == (200, {"closed": 1})
        await other.socket.wait_closed()
        assert other.socket.close_code == 4009
        status, problem = await operator.call("GET", "/v1/connections/nobody")
        assert (status, problem["code"]) == (404, "not_found")

        assert await operator.call("DELETE", "/v1/users/ann/connections") == (200, {"closed": 2})
        for each in (here, there):
            await each.socket.wait_closed()
            assert each.socket.close_code == 4009
        entries = await until_there(operator, "ordered", 2)
        orders = [(entry["order"], entry["node"]) for entry in entries if entry["kind"] == "supervisor.ordered"]
        assert orders == [("close_connection", "b"), ("close_user", "a")]  # by who carried it out, or was asked


async def test_a_user_is_subscribed_wherever_they_are(server: NatsServer, token: Any) -> None:
    service = token("svc", "service")
    async with together(server, "a", "b") as (first, second), AsyncExitStack() as stack:
        operator = Operator(first, service)
        clients = [await client(stack, router, token("ann")) for router in (first, second, second)]
        path = f"/v1/users/ann/rooms/{ROOM}"
        assert await operator.call("PUT", path) == (200, {"user": "ann", "room": ROOM, "connections": 3})
        for each in clients:
            assert (await each.next("subscribed"))["room"] == ROOM
        _, listed = await operator.call("GET", "/v1/rooms", prefix="doc:")
        assert [(line["room"], line["open"], line["subscribers"]) for line in listed["rooms"]] == [(ROOM, True, 3)]
        await publish(first, ROOM, "doc.changed", {"n": 1})
        for each in clients:
            assert (await each.events(1, ROOM))[0]["data"] == {"n": 1}
        _, room = await operator.call("GET", f"/v1/rooms/{ROOM}")
        assert room["subscribers"] == 3
        assert await operator.call("DELETE", path) == (200, {"user": "ann", "room": ROOM, "connections": 3})
        for each in clients:
            assert (await each.next("revoked"))["room"] == ROOM
        status, problem = await operator.call("PUT", "/v1/users/ann/rooms/no room")
        assert (status, problem["code"]) == (400, "bad_message")


async def test_presence_counts_the_members_of_all_routers(server: NatsServer, token: Any) -> None:
    """Over WebSocket and HTTP; also where nothing ever happened in the room, and nobody is in it here."""
    rooms = {"rooms": ("doc:*",)}
    async with together(server, "a", "b") as (first, second), AsyncExitStack() as stack:
        here = await client(stack, first, token("ann", **rooms))
        there = [await client(stack, second, token(user, **rooms)) for user in ("ann", "bob")]
        for each in there:
            await each.subscribe(ROOM)
        assert (await here.ask("presence", room="doc:2"))["code"] == "not_found"
        seen = await here.ask("presence", room=ROOM)
        assert (seen["type"], seen["count"]) == ("presence", 2), seen
        await here.subscribe(ROOM)
        seen = await here.ask("presence", room=ROOM, connections=True)
        assert {each["user"]: each["connections"] for each in seen["members"]} == {"ann": 2, "bob": 1}
        members = {each.welcome["connection"] for each in (here, *there)}
        assert {each["connection"] for each in seen["connections"]} == members
        _, presence = await Operator(first, token("svc", "service")).call("GET", f"/v1/rooms/{ROOM}/presence")
        assert presence["count"] == 2


async def test_who_comes_and_goes_on_one_router_is_heard_on_the_others(server: NatsServer) -> None:
    """For as long as somebody there wants to hear it, after a repair of the room too."""
    async with together(server, "a", "b", dev=True) as (first, second), AsyncExitStack() as stack:
        listening = await client(stack, first)
        await listening.subscribe(ROOM, presence=True)
        assert first._link is not None
        await first._link.settled()
        other = await client(stack, second)
        await other.subscribe(ROOM)
        joined = await listening.next("joined")
        assert (joined["room"], joined["connection"]) == (ROOM, other.welcome["connection"])
        await Operator(first).call("POST", f"/v1/actors/room:{ROOM}/restart")
        await until_there(Operator(first), "repaired", actor=f"room:{ROOM}")
        await first._link.settled()
        await other.ask("unsubscribe", room=ROOM)
        assert (await listening.next("left"))["connection"] == other.welcome["connection"]
        heard = [each.subject for each in first._link._listenings]
        await listening.ask("unsubscribe", room=ROOM)
        async with asyncio.timeout(WAIT_S):
            while any(".came." in each.subject for each in first._link._listenings):  # noqa: ASYNC110  # see below
                await asyncio.sleep(0.01)  # the room tells nobody that it stops to listen
        assert sum(".came." in subject for subject in heard) == 1


async def test_alerts_of_all_open_rooms_are_listed_once(server: NatsServer) -> None:
    async with together(server, "a", "b", dev=True) as (first, second), AsyncExitStack() as stack:
        for room, router in (("doc:1", first), ("doc:2", second)):
            await (await client(stack, router)).subscribe(room)
        await (await client(stack, second)).subscribe("doc:1")
        for room in ("doc:1", "doc:2"):
            await publish(first, room, "alert", {"title": room, "severity": "critical"}, ack="required")
        async with asyncio.timeout(WAIT_S):
            while True:
                _, page = await Operator(first).call("GET", "/v1/alerts")
                if len(page["alerts"]) == 2:
                    break
        assert [alert["room"] for alert in page["alerts"]] == ["doc:2", "doc:1"]
        assert page["more"] is False


async def test_the_supervisor_journal_is_that_of_all_nodes(server: NatsServer) -> None:
    """Each entry names its node; who came and who went is told once, however many saw it."""
    async with together(server, "a", "b", "c", dev=True) as (first, second, third):
        entries = await until_there(Operator(first), "started", 3)
        assert [entry["node"] for entry in entries if entry["kind"] == "supervisor.started"] == ["a", "b", "c"]
        await third.stop()
        entries = await until_there(Operator(first), "node_left")
        await asyncio.gather(*(_kept(each) for each in (first, second)))
        entries = await Operator(second).entries(limit="1000")
        changes = [(entry["kind"], entry["peer"]) for entry in entries if "peer" in entry]
        assert changes == [
            ("supervisor.node_joined", "b"),
            ("supervisor.node_joined", "c"),
            ("supervisor.node_left", "c"),
        ]
        assert kinds(entries).count("stopped") == 1


async def _kept(router: Router) -> None:
    kept = asyncio.Event()
    router.report.when_kept(kept.set)
    async with asyncio.timeout(WAIT_S):
        await kept.wait()


async def test_trees_are_shown_and_actors_restarted_on_the_node_that_is_named(server: NatsServer) -> None:
    """Without a name on the own node, or else on one that has such an actor."""
    async with together(server, "a", "b", dev=True) as (first, second), AsyncExitStack() as stack:
        operator = Operator(first)
        _, own = await operator.call("GET", "/v1/supervisor")
        _, other = await operator.call("GET", "/v1/supervisor", node="b")
        assert ([own["node"], other["node"]], [each["node"] for each in own["nodes"]]) == (["a", "b"], ["a", "b"])
        assert {own["nodes"][1]["ws"], own["nodes"][1]["api"]} == {*second.addresses}
        status, problem = await operator.call("GET", "/v1/supervisor", node="z")
        assert (status, problem["detail"]) == (404, "there is no node 'z' in the cluster; there are a, b")

        there = await client(stack, second)
        name = f"connection:{there.welcome['connection']}"
        assert await operator.call("POST", f"/v1/actors/{name}/restart") == (
            200,
            {"actor": name, "ordered": True, "node": "b"},
        )
        entries = await until_there(operator, "repaired", actor=name)
        assert {entry["node"] for entry in entries} == {"b"}
        for node, query in (("a", {}), ("b", {"node": "b"})):
            status, ordered = await operator.call("POST", "/v1/actors/source/restart", **query)
            assert (status, ordered["node"]) == (200, node)
        status, problem = await operator.call("POST", "/v1/actors/nobody/restart")
        assert (status, problem["code"]) == (404, "not_found")


async def test_a_quarantine_is_its_nodes_own_and_seen_from_all(server: NatsServer) -> None:
    """It comes back with its node, and with no other; any router retries and drops for it."""
    name = "c-quarantine"
    async with together(server, "a", "b", dev=True, cluster_name=name) as (first, second):
        with pytest.MonkeyPatch.context() as patch:
            fault = fail_once(patch, Acceptance, "accept", when=lambda draft: draft.kind == "doc.changed", times=4)
            for number in range(2):
                with pytest.raises(Refusal, match="is in quarantine"):
                    await publish(second, ROOM, "doc.changed", {"n": number})
        assert fault.struck == 4
        _, listed = await Operator(first).call("GET", "/v1/quarantine")
        assert ([entry["node"] for entry in listed["quarantine"]], listed["total"]) == (["b", "b"], 2)
        await _kept(second)
    async with together(server, "a", "b", dev=True, cluster_name=name) as (first, second):
        assert (len(first.quarantine), len(second.quarantine)) == (0, 2)
        _, listed = await Operator(first).call("GET", "/v1/quarantine")
        one, two = (entry["id"] for entry in listed["quarantine"])
        status, retried = await Operator(first).call("POST", f"/v1/quarantine/{one}/retry")
        assert (status, retried["result"]["room"]) == (200, ROOM)
        assert await Operator(first).call("DELETE", f"/v1/quarantine/{two}") == (200, {"id": two, "dropped": True})
        status, problem = await Operator(first).call("DELETE", f"/v1/quarantine/{two}")
        assert (status, problem["code"]) == (404, "not_found")


async def test_a_room_that_is_removed_is_removed_everywhere(server: NatsServer) -> None:
    async with together(server, "a", "b", dev=True) as (first, second), AsyncExitStack() as stack:
        clients = [await client(stack, router) for router in (first, second)]
        for each in clients:
            await each.subscribe(ROOM)
        await publish(first, ROOM, "doc.changed", {"n": 1})
        status, answer = await Operator(first).call("DELETE", f"/v1/rooms/{ROOM}")
        assert (status, answer["revoked"]) == (200, 2)
        for each in clients:
            assert (await each.next("revoked"))["room"] == ROOM


async def test_a_node_that_does_not_answer_is_named(server: NatsServer) -> None:
    """Lists go without its part; who may have what nobody else has is waited for, and `busy` says so."""
    async with together(server, "a", "b", dev=True) as (first, second):
        assert second._cluster is not None

        async def never(_body: object) -> bytes:
            return await asyncio.Event().wait()  # type: ignore[return-value]  # it does not return

        second._cluster.peers.answer("call", never)
        with capture_logs() as lines:
            _, page = await Operator(first).call("GET", "/v1/connections")
            assert page["unanswered"] == ["b"]
            status, problem = await Operator(first).call("GET", "/v1/connections/nobody")
            assert (status, problem["code"]) == (503, "busy")
            assert "b did not answer and may have it" in problem["detail"]
            status, problem = await Operator(first).call("GET", "/v1/supervisor", node="b")
            assert (status, problem["detail"]) == (503, "node b does not answer; ask again in a while")
        assert [line["nodes"] for line in lines if line["event"] == "nodes_unanswered"] == [["b"]] * 3
        async with asyncio.timeout(WAIT_S):
            while second._cluster.peers._answering:  # until they are over
                for task in second._cluster.peers._answering:
                    task.cancel()
                await asyncio.sleep(0)


async def test_status_shows_all_nodes(server: NatsServer) -> None:
    """One line for each, from `/readyz` of the one that is asked; `/metrics` counts them."""
    async with together(server, "a", "b", dev=True) as (first, _), AsyncExitStack() as stack:
        await client(stack, first)
        async with asyncio.timeout(WAIT_S):
            while True:  # the other tells of itself when it is up
                _, ready = await Operator(first).call("GET", "/readyz")
                if all(node["ready"] for node in ready["nodes"]):
                    break
        assert [(node["node"], node["connections"]) for node in ready["nodes"]] == [("a", 1), ("b", 0)]
        url = first.addresses.api_url
        done = await asyncio.to_thread(CliRunner().invoke, app, ["status", "--url", url])
        assert done.exit_code == 0
        ready_line, *nodes = done.stdout.splitlines()
        assert ready_line.startswith("ready: 1 connections, ")
        assert [re.sub(r"up \d+ s", "up", line) for line in nodes] == [
            f"  a  ready, 1 connections, {ready['nodes'][0]['rooms']} rooms, up, version {__version__}",
            f"  b  ready, 0 connections, {ready['nodes'][1]['rooms']} rooms, up, version {__version__}",
        ]
        async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
            metrics = (await answer.text()).splitlines()
        assert {"postroom_cluster_nodes 2.0", "postroom_cluster_link_up 1.0"} < set(metrics)


async def test_a_second_router_of_a_name_does_not_start(server: NatsServer) -> None:
    async with together(server, "a", dev=True) as (first,):
        second = Router(first._settings)
        with pytest.raises(StartError, match="a router named a is in the cluster already"):
            await second.start()


async def test_alone_there_is_no_node_to_be_named(server: NatsServer) -> None:
    router = Router(Settings(port=0, api_port=0, dev=True, journal="memory"))
    await router.start()
    try:
        status, problem = await Operator(router).call("GET", "/v1/supervisor", node="a")
        assert (status, problem["detail"]) == (404, "there is no node 'a': this router is alone")
        _, tree = await Operator(router).call("GET", "/v1/supervisor")
        assert "node" not in tree
    finally:
        await router.stop()
