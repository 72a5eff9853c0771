"""The official clients of Socket.IO, as they are, for JavaScript and Python: what their users meet."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from actors.errors import CloseCode
from actors.ledger import ConnectionState
from actors.messages import Close
from server.app import Router

from ..conftest import RouterProcess, running_router
from ..native_client import Message, NativeClient
from .network import Relay
from .operators import Operator
from .services import crash, in_chain, numbers, publish, wait_until
from .socketio_clients import CLIENTS, Official, official

pytestmark = pytest.mark.usefixtures("node_modules")

Token = Callable[..., str]


@pytest.fixture(params=CLIENTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Official]:
    """Each of the official clients."""
    async with official(request.param) as client:
        yield client


@pytest.fixture
async def both() -> AsyncIterator[list[Official]]:
    """Both of them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(official(name)) for name in CLIENTS]


def address(router: Router | Relay, namespace: str = "") -> str:
    """Return the URL that a client connects to."""
    url = router.url if isinstance(router, Relay) else router.addresses.ws_url
    return url.replace("ws://", "http://").replace("/v1/ws", namespace)


async def connected(client: Official, url: str, **fields: Any) -> Message:
    """Connect, which must succeed; return the welcome."""
    await client.send("connect", url=url, **fields)
    await client.next("connect")
    welcome = await client.next("event")
    assert welcome["name"] == "welcome", welcome
    (told,) = welcome["arguments"]
    return dict(told)


async def call(client: Official, name: str, argument: Any = None) -> Message:
    """Say an event and return what it is acknowledged with."""
    answer = await client.ask("call", name=name, argument=argument)
    return dict(answer["answer"])


async def events(client: Official, count: int, *names: str) -> list[Message]:
    """Return the arguments of the next events with one of these names; without names, of the next of all."""
    found: list[Message] = []
    while len(found) < count:
        event = await client.next("event")
        if not names or event["name"] in names:
            (argument,) = event["arguments"]
            found.append(argument)
    return found


def state_of(router: Router) -> ConnectionState:
    """Return what the router holds of the one client of Socket.IO."""
    (state,) = [state for state in router.registry.states if state.protocol == "socketio"]
    return state


async def test_a_client_connects_with_its_token_and_has_every_event_acknowledged(
    client: Official, token: Token
) -> None:
    """Subscribe with state and position; publish; an error is in the acknowledgement, too."""
    async with running_router(socketio_namespaces=("/admin",)) as router:
        mine = token("ann", rooms=("team:*",), publish=("team:*",))
        welcome = await connected(client, address(router), token=mine)
        assert welcome["user"] == "ann"
        assert state_of(router).client.startswith(("socket.io-client", "python-socketio"))
        joined = await call(client, "subscribe", "team:1")
        assert (joined["room"], joined["offset"], joined["recovery"]) == ("team:1", 0, "fresh")
        assert joined["state"]["counts"] == {}
        receipt = await call(client, "publish", {"room": "team:1", "kind": "a.b", "data": {"n": 1}})
        assert (receipt["epoch"], receipt["offset"], receipt["duplicate"]) == (joined["epoch"], 1, False)
        (event,) = await events(client, 1, "a.b")
        assert (event["id"], event["prev"], event["data"]) == (receipt["event_id"], 0, {"n": 1})
        assert (await call(client, "subscribe", "secret:1"))["error"]["code"] == "forbidden"
        assert (await call(client, "refresh", token("ann")))["expires_in_s"] > 3000
        await client.send("send", name="cheer", argument={})
        (error,) = await events(client, 1, "error")
        assert error["code"] == "unknown_type"


async def test_every_kind_of_event_arrives_under_its_own_name(client: Official) -> None:
    """With the envelope as its one argument, in the room's order."""
    published: list[tuple[str, Message]] = [
        ("session", {"status": "started", "owner": "ann"}),
        ("notification", {"level": "info", "message": "m"}),
        ("progress", {"current": 1, "total": 4}),
        ("alert", {"severity": "low", "title": "t"}),
        ("system", {"status": "operational"}),
        ("app.step", {"n": 1}),
        ("session", {"status": "completed"}),
    ]
    async with running_router(dev=True) as router:
        await connected(client, address(router))
        await call(client, "subscribe", "session:1")
        for kind, data in published:
            await publish(router, "session:1", kind, data)
        told = [await client.next("event") for _ in published]
        assert [each["name"] for each in told] == [kind for kind, _ in published]
        envelopes = [each["arguments"][0] for each in told]
        assert in_chain(envelopes) == len(published)
        assert all(data.items() <= each["data"].items() for each, (_, data) in zip(envelopes, published, strict=True))


async def test_a_bad_token_is_a_connect_error_with_its_code(client: Official, token: Token) -> None:
    """The client does not try again by itself; with a good one it gets in."""
    async with running_router() as router:
        await client.send("connect", url=address(router), token="nonsense")
        error = await client.next("connect_error")
        assert error["data"]["code"] == "unauthenticated"
        assert error["message"] == error["data"]["message"]
        await wait_until(lambda: not router.registry.states, "it is gone")
        await client.send("give", token=token("ann"))
        await client.send("connect_again")
        await client.next("connect")


async def test_a_client_may_connect_to_a_namespace_of_the_settings(client: Official) -> None:
    """It asks and hears there what it would elsewhere."""
    async with running_router(dev=True, socketio_namespaces=("/admin",)) as router:
        await connected(client, address(router, "/admin"))
        await call(client, "subscribe", "doc:1")
        await publish(router, "doc:1", "a.b", {})
        await events(client, 1, "a.b")


async def test_an_unknown_namespace_is_a_connect_error(client: Official) -> None:
    """As at the reference server."""
    async with running_router(dev=True) as router:
        await client.send("connect", url=address(router, "/nope"))
        assert (await client.next("connect_error"))["message"] == "Invalid namespace"


async def test_polling_is_refused_with_an_error_that_names_what_to_do(client: Official) -> None:
    """Where the client shows it to its user."""
    async with running_router(dev=True) as router:
        await client.send("connect", url=address(router), options={"transports": ["polling"]})
        error = await client.next("connect_error")
        assert 'transports: ["websocket"]' in error["data"]["message"]


async def test_clients_stay_connected_as_long_as_they_answer_pings(both: list[Official]) -> None:
    """Over many intervals, in which nothing else is said."""
    async with running_router(dev=True, heartbeat_s=0.2, pong_timeout_s=0.2) as router:
        for client in both:
            await connected(client, address(router))
        states = set(router.registry.states)
        await asyncio.sleep(1.2)  # three times as long as either side would keep the connection without them
        for client in both:
            assert "time" in await call(client, "ping")
        assert set(router.registry.states) == states


async def test_a_client_that_was_cut_resumes_without_loss_or_repeat(client: Official) -> None:
    """It brings its newest positions along, each time it connects."""
    async with running_router(dev=True) as router, Relay(router.addresses.ws_url) as relay:
        await connected(client, address(relay))
        await call(client, "subscribe", "doc:1")
        received = []
        for round in range(3):
            for n in range(5):
                await publish(router, "doc:1", "a.b", {"n": 10 * round + n})
            received += await events(client, 3, "a.b")
            relay.cut()
            await publish(router, "doc:1", "a.b", {"n": 10 * round + 5})
            assert (await client.next("disconnect"))["reason"] in ("transport close", "transport error")
            await client.next("connect")
            received += await events(client, 3, "a.b")
        assert numbers(received) == [10 * round + n for round in range(3) for n in range(6)]
        assert in_chain(received) == 18


async def test_clients_resume_after_a_router_was_killed_and_started_again(
    start_router: Callable[..., RouterProcess], tmp_path: Path, both: list[Official]
) -> None:
    """On the same journal: each event once, in order, and what was published meanwhile, too."""
    journal = ("--dev", "--journal", str(tmp_path / "journal.db"))
    first = start_router(*journal)
    async with Relay(first.ws_url) as relay:
        for client in both:
            await connected(client, address(relay))
            await call(client, "subscribe", "doc:1")
        async with NativeClient(first.ws_url) as publisher:
            for n in range(5):
                await publisher.ask("publish", room="doc:1", kind="a.b", data={"n": n})
        received = [await events(client, 5, "a.b") for client in both]
        first.signal(signal.SIGKILL)
        first.wait()
        second = start_router(*journal)
        async with NativeClient(second.ws_url) as publisher:
            await publisher.ask("publish", room="doc:1", kind="a.b", data={"n": 5})
        relay.lead_to(second.ws_url)
        for client, before in zip(both, received, strict=True):
            await client.next("disconnect")
            await client.next("connect")
            (welcome,) = await events(client, 1, "welcome")
            assert welcome["rooms"]["doc:1"]["recovery"] == "full"
            assert numbers([*before, *await events(client, 1, "a.b")]) == list(range(6))


async def test_an_operators_close_keeps_the_client_away(client: Official) -> None:
    """It is told that the server disconnected it, and does not come back by itself."""
    async with running_router(dev=True) as router:
        await connected(client, address(router))
        await Operator(router).call("DELETE", f"/v1/connections/{state_of(router).id}")
        assert (await client.next("disconnect"))["reason"] in ("io server disconnect", "server disconnect")
        await asyncio.sleep(0.3)  # many times as long as it waits before it tries again
        assert not router.registry.states
        await client.send("connect_again")
        await client.next("connect")


async def test_a_client_that_disconnects_is_gone(client: Official) -> None:
    """By its own word, and does not come back."""
    async with running_router(dev=True) as router:
        await connected(client, address(router))
        await client.send("disconnect")
        assert (await client.next("disconnect"))["reason"] in ("io client disconnect", "client disconnect")
        await wait_until(lambda: not router.registry.states, "it is gone")


async def test_an_expired_token_brings_the_client_back_with_the_next_one(client: Official, token: Token) -> None:
    """It is asked for each time it connects."""
    async with running_router() as router:
        await connected(client, address(router), token=token("ann"))
        await client.send("give", token=token("bob"))
        state_of(router).mailbox.tell(Close(CloseCode.TOKEN_EXPIRED, "token_expired"))
        assert (await client.next("disconnect"))["reason"] in ("transport close", "transport error")
        await client.next("connect")
        (welcome,) = await events(client, 1, "welcome")
        assert welcome["user"] == "bob"


async def test_a_binary_event_is_refused_and_ends_the_connection(client: Official) -> None:
    """With an error that says so."""
    async with running_router(dev=True) as router:
        await connected(client, address(router))
        await client.send("send_binary", name="publish")
        (error,) = await events(client, 1, "error")
        assert "binary attachments are refused" in error["message"]
        assert (await client.next("disconnect"))["reason"] in ("io server disconnect", "server disconnect")


async def test_a_connection_actor_that_fails_is_not_noticed_but_for_the_notice(client: Official) -> None:
    """The socket stays open, and every event comes once."""
    async with running_router(dev=True) as router:
        await connected(client, address(router))
        await call(client, "subscribe", "doc:1")
        for n in range(3):
            await publish(router, "doc:1", "a.b", {"n": n})
            crash(state_of(router).mailbox)
        await publish(router, "doc:1", "a.b", {"n": 3})
        assert numbers(await events(client, 4, "a.b")) == [0, 1, 2, 3]
        assert await call(client, "ping")


async def test_slow_consumers_come_back_and_miss_nothing(both: list[Official]) -> None:
    """Closed with 4002 after their bound, they resume from the last event that they got."""
    filling, count = "x" * 30_000, 400
    async with running_router(dev=True, outbox_bytes=256 * 1024) as router, Relay(router.addresses.ws_url) as relay:
        for client in both:
            await connected(client, address(relay))
            await call(client, "subscribe", "doc:1")
        states = router.registry.states
        relay.stop()
        for n in range(count):
            await publish(router, "doc:1", "a.b", {"n": n, "filling": filling})
        await wait_until(
            lambda: all(state.wire.stuck or state.closed for state in states), "they have had their chance"
        )
        await publish(router, "doc:1", "a.b", {"n": count})
        await wait_until(lambda: all(each.closed for each in states), "they count as slow")
        relay.go_on()
        for client in both:
            await client.next("disconnect")
            received = await events(client, count + 1, "a.b")
            assert numbers(received) == list(range(count + 1))
