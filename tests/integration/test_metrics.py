"""Metrics of a real router with real clients: what is scraped is exactly what was done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from server.app import Router

from ..conftest import running_router
from ..native_client import Message, NativeClient
from ..raw_client import RawClient
from ..scrape import Scrape, scrape
from .services import crash, http_service, publish, small_client, state_of, wait_until

Token = Callable[..., str]
WRITTEN = "postroom_publish_to_write_seconds_count"
NOTE = {"level": "info", "message": "m"}


async def scraped(router: Router) -> Scrape:
    return await scrape(router.addresses.api_url)


async def stats(router: Router, token: str | None = None) -> tuple[int, Message]:
    """Ask for `/v1/stats`; return the status and the answer."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{router.addresses.api_url}/v1/stats") as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def test_what_was_published_and_delivered_is_counted_exactly(router: Router) -> None:
    """Events once each by kind; deliveries once for each subscriber, replayed ones too; latency for the live ones."""
    url = router.addresses.ws_url
    async with NativeClient(url) as one, NativeClient(url) as two, NativeClient(url) as choosy:
        for client in (one, two):
            await client.subscribe("team:1")
        await choosy.subscribe("team:1", kinds=["notification"])
        async with http_service(router) as service:
            notes = [{"room": "team:1", "kind": "notification", "data": NOTE} for _ in range(30)]
            await service.publish(*notes)
            await service.publish({"room": "team:1", "kind": "notification", "data": NOTE, "event_id": "once"})
            await service.publish({"room": "team:1", "kind": "notification", "data": NOTE, "event_id": "once"})
        for n in range(5):
            await publish(router, "team:1", "app.count", {"n": n})
        for client in (one, two):
            await client.events(36)
        await choosy.events(31)
        now = await scraped(router)
        kinds = now.by("postroom_events_in_total", "kind")
        assert kinds == {"notification": 31, "custom": 5, "supervisor": 1}
        assert now.value("postroom_deliveries_total") == now.value(WRITTEN) == 36 + 36 + 31
        async with NativeClient(url) as late:
            await late.subscribe("team:1", history=20)
            await late.events(20)
            now = await scraped(router)
            assert now.value("postroom_deliveries_total") == 36 + 36 + 31 + 20
            assert now.value(WRITTEN) == 36 + 36 + 31, "old events say nothing of the way of new ones"
            assert now.value("postroom_connections") == now.value("postroom_connections_opened_total") == 4
            assert now.value("postroom_subscriptions") == len(router.ledger)
            assert now.value("postroom_rooms") == len(router.directory)


async def test_what_gives_way_for_a_slow_client_is_counted_and_its_markers_too() -> None:
    """Delivered and conflated make up what was published; each marker that came was counted under its reason."""
    count = 400
    async with running_router(dev=True, outbox_bytes=256 * 1024) as router:
        url = router.addresses.ws_url
        async with NativeClient(url) as steady, small_client(url) as slow:
            await steady.subscribe("team:1")
            await slow.subscribe("team:1")
            slow.socket.transport.pause_reading()
            state = state_of(router, slow)

            async def fill() -> None:
                for n in range(count):
                    await publish(router, "team:1", "progress", {"current": n, "filling": "x" * 30_000})

            await asyncio.gather(steady.events(count), fill())
            await wait_until(lambda: state.outbox.conflating, "values give way")
            behind = await scraped(router)
            assert 0 < behind.value("postroom_connection_lag_events", quantile="1") <= count
            assert behind.value("postroom_connection_outbox_bytes", quantile="1") > 0
            assert behind.value("postroom_outbox_bytes") > 0
            slow.socket.transport.resume_reading()
            came = [await slow.next()]
            while came[-1]["type"] != "event" or came[-1]["data"]["current"] < count - 1:
                came.append(await slow.next())
            got, markers = (sum(message["type"] == type for message in came) for type in ("event", "skipped"))
            now = await scraped(router)
            assert got < count
            assert markers
            assert now.value("postroom_conflated_total") == count - got
            assert now.by("postroom_skipped_total", "reason") == {"conflated": markers}
            assert now.value("postroom_deliveries_total") == now.value(WRITTEN) == count + got


async def test_failures_and_restarts_are_counted_by_class_and_supervisor(router: Router) -> None:
    """A client that is gone takes no restart with it."""
    async with NativeClient(router.addresses.ws_url) as client:
        for _ in range(2):
            crash(state_of(router, client).mailbox)
            await client.next("notice")
    await wait_until(lambda: not len(router.registry), "it is gone")
    crash(router.source)
    await publish(router, "team:1", "app.count", {"n": 1})
    now = await scraped(router)
    assert now.by("postroom_actor_failures_total", "actor_class") == {"Connection": 2, "NotificationSource": 1}
    assert now.by("postroom_restarts_total", "supervisor") == {"connections": 2, "root": 1}
    assert now.by("postroom_given_up_total", "supervisor") == {}
    assert now.by("postroom_actors", "actor_class")["NotificationSource"] == 1
    assert now.value("postroom_connections_closed_total", code="1000", by="client") == 1


async def test_what_is_refused_is_counted_where_it_was_and_why(guarded_router: Router, token: Token) -> None:
    """Errors on a socket, problem documents, events that are refused among others, and handshakes."""
    router = guarded_router
    async with NativeClient(router.addresses.ws_url, token("ann", rooms=("team:1",))) as client:
        assert (await client.ask("subscribe", room="team:2"))["code"] == "forbidden"
        assert (await client.ask("unsubscribe", room="team:1"))["code"] == "not_subscribed"
        await client.socket.send("nonsense")
        await client.next("error")
    async with NativeClient(router.addresses.ws_url, hello=False) as client:
        await client.send("hello", token="none")
        assert (await client.closed())[0] == 4401
    async with http_service(router) as service:
        assert (await service.post({}))[0] == 401
    async with http_service(router, token("svc", "service")) as service:
        assert (await service.post({"room": "team:1", "kind": "nodot", "data": {}}))[0] == 422
        bad, good = ({"room": "team:1", "kind": kind, "data": {}} for kind in ("nodot", "app.thing"))
        assert (await service.post([bad, good, bad]))[0] == 200
    for path, header in (("/nowhere", ()), ("/v1/ws?token=x", ()), ("/v1/ws", ("Origin: https://evil.example",))):
        async with RawClient(router.addresses.ws_url) as raw:
            await raw.upgrade(*header, path=path)
    async with RawClient(router.addresses.ws_url) as raw:
        await raw.request(path="/healthz")
    await wait_until(lambda: not len(router.registry), "all are gone")
    now = await scraped(router)
    rejected = {
        (dict(labels)["where"], dict(labels)["reason"]): value
        for (name, labels), value in now.samples.items()
        if name == "postroom_rejected_total"
    }
    assert rejected == {
        ("websocket", "forbidden"): 1,
        ("websocket", "not_subscribed"): 1,
        ("websocket", "bad_message"): 1,
        ("websocket", "unauthenticated"): 1,
        ("http", "unauthenticated"): 1,
        ("http", "invalid_event"): 3,
        ("handshake", "not_found"): 1,
        ("handshake", "bad_request"): 1,
        ("handshake", "foreign_origin"): 1,
    }
    assert now.value("postroom_connections_closed_total", code="4401", by="router") == 1
    _, answer = await stats(router, token("op", "admin"))
    assert answer["rejected"]["invalid_event"] == 3
    assert answer["rejected"]["unauthenticated"] == 2


async def test_a_client_too_many_is_counted_though_it_gets_no_actor(token: Token) -> None:
    """One over the user's cap is closed after its hello, one over the router's before it."""
    async with running_router(max_connections_per_user=1, max_connections=2) as router:
        url = router.addresses.ws_url
        async with NativeClient(url, token("ann")), NativeClient(url, hello=False) as second:
            await second.send("hello", token=token("ann"))
            assert (await second.closed())[0] == 4429
            await wait_until(lambda: len(router.registry) == 1, "it is gone")
            async with NativeClient(url, token("bob")), NativeClient(url, hello=False) as third:
                assert (await third.closed())[0] == 4429
                now = await scraped(router)
                assert now.value("postroom_rejected_total", where="websocket", reason="too_many_connections") == 1
                assert now.value("postroom_rejected_total", where="handshake", reason="too_many_connections") == 1


async def test_no_label_grows_with_users_rooms_kinds_or_close_codes(token: Token) -> None:
    """However many there are, there are as many samples as before."""
    async with (
        running_router(max_connections_per_address=0) as router,
        http_service(router, token("svc", "service")) as service,
    ):

        async def some(first: int, last: int) -> None:
            for n in range(first, last):
                async with NativeClient(router.addresses.ws_url, token(f"user-{n}", rooms=("*",))) as client:
                    await client.subscribe(f"team:{n}")
                    await service.publish({"room": f"team:{n}", "kind": f"app.kind_{n}", "data": {}})
                    await service.publish({"room": f"team:{n}", "kind": "notification", "data": NOTE})
                    await client.events(2)
                    await client.ask("subscribe", room=f"team:{n}")
                    await client.ask("unsubscribe", room=f"other:{n}")
                    await client.socket.close(4900 + n)  # a code of no protocol here
            await wait_until(lambda: not len(router.registry), "all are gone")

        await some(0, 2)
        before = (await scraped(router)).samples.keys()
        await some(2, 30)
        now = await scraped(router)
        assert now.samples.keys() == before
        assert now.by("postroom_events_in_total", "kind") == {"custom": 30, "notification": 30, "supervisor": 1}
        assert now.value("postroom_connections_closed_total", code="other", by="client") == 30


async def test_metrics_take_no_token_and_stats_an_admin_s(guarded_router: Router, token: Token) -> None:
    """Prometheus has no token of ours; what the console shows is for operators."""
    assert (await scraped(guarded_router)).value("postroom_connections") == 0
    assert (await stats(guarded_router))[0] == 401
    assert (await stats(guarded_router, token("svc", "service")))[0] == 403
    assert (await stats(guarded_router, token("op", "admin")))[0] == 200


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
        ("application/openmetrics-text;version=0.0.1;q=0.7,text/plain;version=0.0.4;q=0.3", "text/plain"),
        ("application/openmetrics-text; version=nonsense", "text/plain"),
        ("text/plain; version=1.x", "text/plain"),
        ("*/*", "text/plain"),
    ],
)
async def test_the_format_is_what_the_scraper_asks_for(router: Router, accept: str, content_type: str) -> None:
    """Text, or OpenMetrics, which its own parser reads; an Accept header that makes no sense gets text."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{router.addresses.api_url}/metrics", headers={"Accept": accept}) as answer,
    ):
        assert (answer.status, answer.content_type) == (200, content_type)
        text = await answer.text()
    if content_type == "application/openmetrics-text":
        names = {family.name for family in text_string_to_metric_families(text)}
    else:
        names = {family.name for family in Scrape(text).families}
    assert {"postroom_connections", "postroom_deliveries", "process_open_fds"} <= names


async def test_stats_say_what_the_metrics_say_and_how_the_last_seconds_were(router: Router) -> None:
    """Cumulative counters, quantiles of the last seconds, and what each class of actors has done."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("team:1")
        for n in range(10):
            await publish(router, "team:1", "app.count", {"n": n})
        await client.events(10)
        await client.ask("unsubscribe", room="team:9")
        crash(state_of(router, client).mailbox)
        await client.next("notice")
        status, answer = await stats(router)
    assert status == 200
    assert {name: answer[name] for name in ("connections", "handshakes", "deliveries", "conflated", "skipped")} == {
        "connections": 1,
        "handshakes": 1,
        "deliveries": 10,
        "conflated": 0,
        "skipped": 0,
    }
    assert answer["events_in"]["custom"] == 10
    assert answer["rejected"] == {"not_subscribed": 1}
    assert (answer["restarts"], answer["given_up"], answer["quarantined"]) == (1, 0, 0)
    assert answer["lag"] == {"p50": 0, "p99": 0, "max": 0}
    assert answer["outbox_bytes"] == 0
    for name in ("latency_ms", "commit_ms"):
        assert 0 < answer[name]["p50"] <= answer[name]["p99"]
    assert answer["loop_lag_ms"] >= 0
    assert answer["time"].endswith("Z")
    room = answer["actors"]["Room"]
    assert room["count"] == answer["rooms"]
    assert room["handled"] >= 20, "each event comes twice: to be taken, and when it is committed"
    assert room["busy_s"] > 0
    assert room["mailbox_depth"] == 0


async def test_several_scrapers_at_once_share_one_look_at_the_connections(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many ask, each connection is looked at once a second at most; counters are those of the moment."""
    looked: list[Any] = []
    lag = router.ledger.lag
    monkeypatch.setattr(router.ledger, "lag", lambda state: looked.append(state) or lag(state))
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("team:1")
        await asyncio.gather(*(scraped(router) for _ in range(5)))
        assert len(looked) == 1
        await publish(router, "team:1", "app.count", {"n": 1})
        await client.events(1)
        assert (await scraped(router)).value("postroom_deliveries_total") == 1


async def test_a_router_without_a_journal_has_no_figures_of_one() -> None:
    """Figures that would stand still at zero would say that all is well."""
    async with running_router(dev=True, journal="memory") as router:
        names = {name for name, _ in (await scraped(router)).samples}
        assert not [name for name in names if name.startswith("postroom_journal")]
        assert (await stats(router))[1]["commit_ms"] == {"p50": None, "p99": None}
