"""The official clients of the Centrifuge protocol, unchanged: npm's `centrifuge` and PyPI's `centrifuge-python`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from actors.batch import Batch
from actors.connection import Connection
from actors.messages import Frame
from server.app import Router

from ..centrifuge_client import centrifuge_url
from ..conftest import RouterProcess, running_router
from ..native_client import Message, NativeClient
from .faults import fail_on_message
from .network import Relay
from .official import LANGUAGES, Official, official
from .operators import Operator
from .services import http_service, publish, wait_until
from .streams import fill

pytestmark = pytest.mark.usefixtures("node_modules")

ROOM = "doc:1"


@pytest.fixture(params=LANGUAGES)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Official]:
    """Each of the official clients."""
    async with official(request.param) as client:
        yield client


async def connected(client: Official, url: str, **fields: Any) -> Message:
    """Connect; return what the application sees of it."""
    await client.send("connect", url=url, **fields)
    return await client.next("connected")


async def subscribed(client: Official, channel: str = ROOM, **options: Any) -> Message:
    """Subscribe, which must be allowed; return what the application sees of it."""
    await client.send("subscribe", channel=channel, options=options)
    return await client.next("sub.subscribed")


async def result(client: Official, do: str, **fields: Any) -> Any:
    """Give an order that must succeed; return its result."""
    outcome = await client.ask(do, **fields)
    assert "error" not in outcome, outcome
    return outcome["result"]


async def numbers(client: Official, count: int, what: str = "sub.publication", channel: str = ROOM) -> list[int]:
    """The `n` of the next publications of a channel."""
    found: list[int] = []
    while len(found) < count:
        publication = await client.next(what)
        assert publication["channel"] == channel
        found.append(publication["data"]["data"]["n"])
    return found


async def publish_numbers(router: Router, those: Iterable[int], room: str = ROOM, **fields: Any) -> None:
    """Publish an event for each number."""
    for number in those:
        await publish(router, room, "app.step", {"n": number}, **fields)


async def test_an_application_uses_all_that_the_client_offers(router: Router, client: Official) -> None:
    """Connect, subscribe, publish, presence, history, calls, unsubscribe."""
    context = await connected(client, centrifuge_url(router))
    assert context["data"]["user"] == "anonymous"
    context = await subscribed(client)
    assert (context["recoverable"], context["positioned"], context["recovered"]) == (True, True, False)
    assert context["data"]["state"]["status"] is None
    epoch = context["streamPosition"]["epoch"]

    assert await result(client, "publish", channel=ROOM, data={"kind": "app.step", "data": {"n": 1}, "id": "one"}) == {}
    publication = await client.next("sub.publication")
    assert publication["offset"] == 1
    assert publication["data"].pop("time")
    assert publication["data"] == {"id": "one", "kind": "app.step", "data": {"n": 1}}
    outcome = await client.ask("publish", channel=ROOM, data="hello")
    assert outcome["code"] == 107

    (state,) = router.registry.states
    presence = await result(client, "presence", channel=ROOM)
    assert presence == {"clients": {state.id: {"client": state.id, "user": "anonymous"}}}
    assert await result(client, "stats", channel=ROOM) == {"numClients": 1, "numUsers": 1}

    await publish_numbers(router, (2, 3))
    assert await numbers(client, 2) == [2, 3]
    assert await result(client, "history", channel=ROOM) == {"epoch": epoch, "offset": 3, "publications": []}
    history = await result(client, "history", channel=ROOM, options={"limit": 2, "reverse": True})
    assert [each["offset"] for each in history["publications"]] == [3, 2]
    since = {"offset": 1, "epoch": epoch}
    history = await result(client, "history", channel=ROOM, options={"limit": -1, "since": since})
    assert [each["data"]["data"]["n"] for each in history["publications"]] == [2, 3]
    since = {"offset": 1, "epoch": "another"}
    assert (await client.ask("history", channel=ROOM, options={"limit": 1, "since": since}))["code"] == 112

    alert = {"kind": "alert", "data": {"severity": "critical", "title": "t"}, "event_id": "a", "room": "doc:2"}
    assert (await result(client, "rpc", method="publish", data=alert))["data"]["offset"] == 1
    state_then = (await result(client, "rpc", method="state", data={"room": "doc:2"}))["data"]["state"]
    assert [each["event_id"] for each in state_then["alerts"]] == ["a"]
    await result(client, "rpc", method="ack", data={"room": "doc:2", "event_id": "a"})
    assert (await client.ask("rpc", method="fly", data={}))["code"] == 104

    await client.send("unsubscribe", channel=ROOM)
    assert (await client.next("sub.unsubscribed"))["code"] == 0
    await wait_until(lambda: ROOM not in state.subscriptions, "it has left the room")
    await client.send("subscribe", channel=ROOM)
    assert (await client.next("sub.subscribed"))["channel"] == ROOM
    await client.send("disconnect")
    assert (await client.next("disconnected"))["code"] == 0


async def test_subscribing_and_thinking_better_of_it_at_once_ends_as_it_should(
    router: Router, client: Official
) -> None:
    """The subscription that is left is one."""
    await connected(client, centrifuge_url(router))
    await client.send("subscribe", channel=ROOM)
    await client.send("unsubscribe", channel=ROOM)
    await client.send("subscribe", channel=ROOM)
    assert (await client.ask("rpc", method="fly", data={}))["code"] == 104  # behind the first two, at least
    (state,) = router.registry.states
    await wait_until(lambda: ROOM in state.subscriptions and not state.pending, "it is subscribed")
    await publish_numbers(router, (1, 2))
    assert await numbers(client, 2) == [1, 2]


async def test_server_side_subscriptions_come_with_connect_and_while_connected(
    guarded_router: Router, token: Callable[..., str], client: Official
) -> None:
    """Those of the token, those that everyone has, and those that an operator adds and ends."""
    router = guarded_router
    await connected(client, centrifuge_url(router), token=token("ann", subs=(ROOM,)))
    joined = [await client.next("subscribed") for _ in range(5)]
    assert {each["channel"] for each in joined} == {"user:ann", "role:user", "broadcast", "system", ROOM}
    assert all(each["recoverable"] for each in joined)
    await publish_numbers(router, (1, 2))
    assert await numbers(client, 2, "publication") == [1, 2]

    operator = Operator(router, token("ops", "admin"))
    await operator.call("PUT", "/v1/users/ann/rooms/doc:7")
    assert (await client.next("subscribed"))["channel"] == "doc:7"
    await publish_numbers(router, (3,), "doc:7")
    assert await numbers(client, 1, "publication", "doc:7") == [3]
    await operator.call("DELETE", "/v1/users/ann/rooms/doc:7")
    assert (await client.next("unsubscribed"))["channel"] == "doc:7"


async def test_a_subscription_that_the_router_ends_is_not_taken_up_again(
    guarded_router: Router, token: Callable[..., str], client: Official
) -> None:
    """The application is told the code and the reason."""
    router = guarded_router
    await connected(client, centrifuge_url(router), token=token("ann", rooms=("doc:*",)))
    await subscribed(client)
    await Operator(router, token("ops", "admin")).call("DELETE", f"/v1/rooms/{ROOM}")
    ended = await client.next("sub.unsubscribed")
    assert (ended["code"], bool(ended["reason"])) == (2000, True)


async def test_a_client_brings_a_new_token_before_its_own_ends(token: Callable[..., str], client: Official) -> None:
    """By itself, and keeps its connection."""
    async with running_router(token_warning_s=0) as router:
        new = token("ann", ttl_s=3600)
        await connected(client, centrifuge_url(router), token=token("ann", ttl_s=2), refreshes=[new])
        (state,) = router.registry.states
        first = state.identity
        await wait_until(lambda: state.identity is not first, "the token was refreshed")
        assert state.identity is not None
        assert not state.closed
        assert await result(client, "rpc", method="state", data={"room": "user:ann"})


async def test_a_client_whose_token_has_expired_comes_with_a_new_one(
    guarded_router: Router, token: Callable[..., str], client: Official
) -> None:
    """It is told so with the code for which it asks the application for another."""
    url, old = centrifuge_url(guarded_router), token("ann", ttl_s=-5)
    assert (await connected(client, url, token=old, refreshes=[token("ann")]))["data"]["user"] == "ann"
    assert (await client.next("error"))["code"] == 109


async def test_a_client_whose_token_does_not_count_stays_away(
    guarded_router: Router, token: Callable[..., str], client: Official
) -> None:
    """Unauthorized is for good."""
    await client.send("connect", url=centrifuge_url(guarded_router), token=token("ann") + "x")
    assert (await client.next("disconnected"))["code"] == 101


async def test_after_a_cut_nothing_is_lost_or_repeated(router: Router, client: Official) -> None:
    """In a subscription of its own and in a server-side one; both are recovered in full."""
    async with Relay(centrifuge_url(router)) as relay:
        await connected(client, relay.url)
        for _ in range(4):
            await client.next("subscribed")
        await subscribed(client)
        for first in (0, 50):
            await publish_numbers(router, range(first, first + 10))
            await publish_numbers(router, range(first, first + 10), "broadcast")
            relay.cut()
            await publish_numbers(router, range(first + 10, first + 50))
            await publish_numbers(router, range(first + 10, first + 50), "broadcast")
            assert await numbers(client, 50) == list(range(first, first + 50))
            assert await numbers(client, 50, "publication", "broadcast") == list(range(first, first + 50))
            again = await client.next("sub.subscribed")
            assert (again["wasRecovering"], again["recovered"]) == (True, True)
            own = [await client.next("subscribed") for _ in range(4)]
            assert all(each["recovered"] for each in own if each["channel"] == "broadcast")


async def test_after_the_router_was_killed_and_started_again_nothing_is_lost_or_repeated(
    start_router: Callable[..., RouterProcess], tmp_path: Path, client: Official
) -> None:
    """On the same journal: what was acknowledged is there, under the same epoch."""

    def start() -> RouterProcess:
        return start_router("--dev", "--journal", str(tmp_path / "journal.db"))

    process = start()
    there = "/connection/websocket"
    async with Relay(process.ws_url.replace("/v1/ws", there)) as relay:
        await connected(client, relay.url)
        before = await subscribed(client)
        async with NativeClient(process.ws_url) as writer:
            for number in range(50):
                await writer.ask("publish", room=ROOM, kind="app.step", data={"n": number})
        process.signal(signal.SIGKILL)
        process.wait()
        process = start()
        relay.lead_to(process.ws_url.replace("/v1/ws", there))
        again = await client.next("sub.subscribed")
        assert (again["wasRecovering"], again["recovered"]) == (True, True)
        assert again["streamPosition"]["epoch"] == before["streamPosition"]["epoch"]
        async with NativeClient(process.ws_url) as writer:
            await writer.ask("publish", room=ROOM, kind="app.step", data={"n": 50})
        assert await numbers(client, 51) == list(range(51))


async def test_who_was_away_too_long_is_told_and_gets_what_is_left(client: Official) -> None:
    """Not recovered: the application has to load anew. In a server-side subscription, too."""
    async with running_router(dev=True, history_events=5) as router, Relay(centrifuge_url(router)) as relay:
        await connected(client, relay.url)
        await subscribed(client)
        for _ in range(4):
            await client.next("subscribed")
        relay.stop()
        relay.cut()
        for room in (ROOM, "broadcast"):
            await fill(router, room, 1, 300)
            await fill(router, room, 301, 320)
        relay.go_on()
        again = await client.next("sub.subscribed")
        assert (again["wasRecovering"], again["recovered"]) == (True, False)
        first = again["data"]["missing"]["to"] + 1
        assert await numbers(client, 321 - first) == list(range(first, 321))
        own = {each["channel"]: each for each in [await client.next("subscribed") for _ in range(4)]}["broadcast"]
        assert (own["wasRecovering"], own["recovered"]) == (True, False)
        first = own["data"]["missing"]["to"] + 1
        assert await numbers(client, 321 - first, "publication", "broadcast") == list(range(first, 321))


async def test_who_asks_sees_who_comes_and_who_goes(router: Router, client: Official) -> None:
    """With the connection and the user of each."""
    await connected(client, centrifuge_url(router))
    await subscribed(client, joinLeave=True)
    async with NativeClient(router.addresses.ws_url) as other:
        await other.subscribe(ROOM)
        info = {"channel": ROOM, "client": other.welcome["connection"], "user": "anonymous"}
        joined = await client.next("sub.join")
        assert {name: joined[name] for name in info} == info
    left = await client.next("sub.leave")
    assert {name: left[name] for name in info} == info


async def test_offsets_that_will_not_come_are_no_gap_and_no_loss(router: Router, client: Official) -> None:
    """After them it goes on as before, and recovers as before."""
    async with Relay(centrifuge_url(router)) as relay:
        await connected(client, relay.url)
        await subscribed(client, data={"kinds": ["app.step"]})
        await publish_numbers(router, (1,))
        for number in range(300):
            await publish(router, ROOM, "app.other", {"n": number})
        await publish_numbers(router, (2,))
        assert await numbers(client, 2) == [1, 2]
        relay.cut()
        await publish_numbers(router, (3,))
        assert await numbers(client, 1) == [3]
        assert (await client.next("sub.subscribed"))["recovered"] is True


async def test_in_javascript_the_offsets_that_will_not_come_are_a_message(router: Router) -> None:
    """For applications that want to know; the client in Python drops it."""
    async with official("javascript") as client:
        await connected(client, centrifuge_url(router))
        await subscribed(client, data={"kinds": ["app.step"]})
        for number in range(300):
            await publish(router, ROOM, "app.other", {"n": number})
        skipped = (await client.next("message"))["data"]["skipped"]
        assert (skipped["from"], skipped["reason"]) == (1, "filtered")


async def test_a_connection_that_fails_under_an_open_socket_is_noticed_by_nobody(
    router: Router, client: Official, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the command on which it failed, which may be tried again; the client stays connected."""
    await connected(client, centrifuge_url(router))
    await subscribed(client)
    fault = fail_on_message(monkeypatch, Connection, Frame, when=lambda frame: "presence" in frame.text)
    await publish_numbers(router, range(10))
    assert (await client.ask("presence", channel=ROOM))["code"] == 100
    fail_on_message(monkeypatch, Connection, Batch)
    (state,) = router.registry.states
    state.subscriptions[ROOM].direct = False  # by its mailbox, in which the actor fails
    await publish_numbers(router, range(10, 100))
    assert await numbers(client, 100) == list(range(100))
    assert fault.struck == 1
    assert state.restarts == 2
    assert await result(client, "stats", channel=ROOM) == {"numClients": 1, "numUsers": 1}


async def test_a_client_that_lags_is_closed_and_recovers(client: Official) -> None:
    """3008, when its outbox is full; it comes back and misses nothing."""
    async with (
        running_router(dev=True, outbox_bytes=65_536, stall_s=30.0) as router,
        Relay(centrifuge_url(router)) as relay,
        http_service(router) as service,
    ):
        await connected(client, relay.url)
        await subscribed(client)
        (state,) = router.registry.states
        relay.stop()
        last = 0
        while not state.closed:
            assert last < 2000
            await service.publish({"room": ROOM, "kind": "app.step", "data": {"n": last, "text": "x" * 40_000}})
            last += 1
        relay.go_on()
        assert (await client.next("connecting"))["code"] == 0  # its own first
        assert (await client.next("connecting"))["code"] == 3008
        assert await numbers(client, last) == list(range(last))
        assert (await client.next("sub.subscribed"))["recovered"] is True


async def test_an_operator_closes_a_client_for_good(
    guarded_router: Router, token: Callable[..., str], client: Official
) -> None:
    """It does not come back."""
    router = guarded_router
    await connected(client, centrifuge_url(router), token=token("ann"))
    await Operator(router, token("ops", "admin")).call("DELETE", "/v1/users/ann/connections")
    assert (await client.next("disconnected"))["code"] == 3503


async def test_a_client_of_a_router_that_drains_will_come_back(client: Official) -> None:
    """It is connecting, not disconnected."""
    async with running_router(dev=True, drain_s=0) as router:
        await connected(client, centrifuge_url(router))
        assert (await client.next("connecting"))["code"] == 0
    assert (await client.next("connecting"))["code"] == 3001


async def test_a_ping_is_answered_by_the_client_and_its_absence_noticed(client: Official) -> None:
    """Through many of them it stays connected."""
    async with running_router(dev=True, heartbeat_s=0.1, pong_timeout_s=0.1) as router:
        await connected(client, centrifuge_url(router))
        for _ in range(5):
            await asyncio.sleep(0.1)
            assert (await client.ask("history", channel="doc:none"))["code"] == 102
        assert len(router.registry) == 1
