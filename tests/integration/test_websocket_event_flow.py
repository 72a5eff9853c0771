"""Events from services to WebSocket clients, from end to end: real router, real sockets, real clients."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pykka
import pytest

from actors.connection import Connection
from actors.errors import ErrorCode, Refusal
from actors.messages import Publish
from server.app import Router

from ..conftest import running_router
from ..native_client import Message, NativeClient
from .network import PING_FRAME, silent_peer
from .services import (
    FailsOnce,
    SteppedClock,
    crash,
    http_service,
    in_chain,
    numbers,
    position,
    publish,
    state_of,
    wait_until,
)

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
Token = Callable[..., str]


class TestEndToEndEventDelivery:
    async def test_notification_delivery_flow(self, guarded_router: Router, token: Token):
        """A service's notifications of every level reach the user they are for, as they were sent, and nobody else."""
        url = guarded_router.addresses.ws_url
        async with (
            NativeClient(url, token("ann")) as ann,
            NativeClient(url, token("bob")) as bob,
            http_service(guarded_router, token("mailer", "service")) as mailer,
        ):
            assert ann.welcome["rooms"]["user:ann"]["offset"] == 0
            sent = [
                {"level": level, "message": f"{level} for ann", "title": "Title", "link": {"href": "/ü"}}
                for level in ("info", "warning", "error", "success")
            ]
            receipts = [
                receipt
                for data in sent
                for receipt in await mailer.publish({"room": "user:ann", "kind": "notification", "data": data})
            ]
            events = await ann.events(4)
            assert [event["data"] for event in events] == sent
            assert [(event["offset"], event["id"]) for event in events] == [
                (receipt["offset"], receipt["event_id"]) for receipt in receipts
            ]
            assert in_chain(events) == 4
            for event in events:
                assert event.keys() == {"type", "room", "offset", "prev", "id", "kind", "time", "data"}
                assert (event["type"], event["room"], event["kind"]) == ("event", "user:ann", "notification")
                assert TIME.match(event["time"])
            status, problem = await mailer.post(
                {"room": "user:ann", "kind": "notification", "data": {"level": "fatal", "message": "no such level"}}
            )
            assert (status, problem["code"]) == (422, "invalid_event")
            assert await ann.nothing_more() == []
            assert await bob.nothing_more() == []

    async def test_alert_delivery_flow(self, router: Router):
        """Alerts of every severity arrive; those that ask for it stay in the state until somebody acknowledges them."""
        url = router.addresses.ws_url
        async with NativeClient(url) as operator, NativeClient(url) as service:
            await operator.subscribe("session:7")
            for severity in ("low", "medium", "high", "critical"):
                data = {"severity": severity, "title": f"{severity} disk", "message": "look"}
                published = await service.ask("publish", room="session:7", kind="alert", data=data, event_id=severity)
                assert published["type"] == "published", published
            asked = {"severity": "low", "title": "sign here"}
            await service.ask("publish", room="session:7", kind="alert", data=asked, event_id="asked", ack="required")
            events = await operator.events(5)
            assert [event["data"]["severity"] for event in events] == ["low", "medium", "high", "critical", "low"]
            assert [event.get("ack") for event in events] == [None, None, None, "required", "required"]

            async with NativeClient(url) as late:
                shown = (await late.subscribe("session:7"))["state"]["alerts"]
                assert [(alert["event_id"], alert["title"]) for alert in shown] == [
                    ("critical", "critical disk"),
                    ("asked", "sign here"),
                ]
            answer = await operator.ask("ack", room="session:7", event_id="critical")
            assert (answer["type"], answer["event_id"]) == ("acknowledged", "critical")
            (event,) = await operator.events(1)
            assert event["kind"] == "alert.acknowledged"
            assert event["data"] == {"event_id": "critical", "user": "anonymous"}
            again = await operator.ask("ack", room="session:7", event_id="critical")
            assert (again["type"], again["code"]) == ("error", "not_found")
            state = await operator.ask("state", room="session:7")
            assert [alert["event_id"] for alert in state["state"]["alerts"]] == ["asked"]

    async def test_progress_update_delivery_flow(self, monkeypatch: pytest.MonkeyPatch):
        """Progress reaches its session's subscribers only, with percent, rate, elapsed and remaining time added."""
        monkeypatch.setattr("server.app.SystemClock", SteppedClock)
        async with running_router(dev=True) as router:
            url, clock = router.addresses.ws_url, router.clock
            assert isinstance(clock, SteppedClock)
            async with NativeClient(url) as ann, NativeClient(url) as bob, NativeClient(url) as carol:
                await ann.subscribe("session:1")
                await bob.subscribe("session:2")

                async def step(seconds: float, **data: Any) -> Message:
                    clock.now_s += seconds
                    await publish(router, "session:1", "progress", data)
                    (event,) = await ann.events(1)
                    return dict(event["data"])

                first = {"current": 0, "total": 100, "unit": "files"}
                assert await step(0, **first) == {**first, "percent": 0.0, "elapsed_s": 0.0}
                assert await step(5, current=25, total=100) == {
                    "current": 25,
                    "total": 100,
                    "percent": 25.0,
                    "rate": 5.0,
                    "elapsed_s": 5.0,
                    "eta_s": 15.0,
                }
                own = {"current": 50, "total": 100, "percent": 42.0, "rate": 9.0, "elapsed_s": 11.0, "eta_s": 3.0}
                assert await step(5, **own) == own, "what the publisher knows better stays"
                last = await step(5, current=100, total=100, message="done")
                assert (last["percent"], last["eta_s"], last["message"]) == (100.0, 0.0, "done")
                assert last["elapsed_s"] == 16.0
                unknown_end = await step(1, current=130)
                assert not {"percent", "eta_s"} & unknown_end.keys()
                assert unknown_end["rate"] > 0

                state = (await carol.subscribe("session:1"))["state"]
                assert state["progress"] == {"default": unknown_end}
                for client in (ann, bob, carol):
                    assert await client.nothing_more() == []


class TestMultipleClientScenarios:
    async def test_broadcast_to_all_clients(self, guarded_router: Router, token: Token):
        """What is published to `broadcast` reaches every client of every role, once, without a subscription."""
        url = guarded_router.addresses.ws_url
        async with (
            NativeClient(url, token("ann")) as ann,
            NativeClient(url, token("ann")) as ann_again,
            NativeClient(url, token("bob")) as bob,
            NativeClient(url, token("root", "admin")) as admin,
            NativeClient(url, token("worker", "service")) as worker,
            http_service(guarded_router, token("mailer", "service")) as mailer,
        ):
            hello = {"level": "info", "message": "hello all"}
            await mailer.publish({"room": "broadcast", "kind": "notification", "data": hello})
            answer = await worker.ask("publish", room="broadcast", kind="app.version", data={"version": 2})
            assert answer["type"] == "published"
            await publish(guarded_router, "broadcast", "alert", {"severity": "high", "title": "storm"})
            for client in (ann, ann_again, bob, admin, worker):
                events = await client.events(3)
                assert [event["kind"] for event in events] == ["notification", "app.version", "alert"]
                assert in_chain(events) == 3
                assert await client.nothing_more() == []

    async def test_multiple_clients_receive_same_event(self, router: Router):
        """Every subscriber of a room gets the very same event: same offset, same id, same data."""
        url = router.addresses.ws_url
        async with NativeClient(url) as one, NativeClient(url) as two, NativeClient(url) as three:
            clients = (one, two, three)
            for client in clients:
                await client.subscribe("session:1")
            receipt = await publish(router, "session:1", "build.finished", {"text": "grün ✓", "n": [1, {"x": None}]})
            received = [await client.next() for client in clients]
            assert received[0] == received[1] == received[2]
            assert (received[0]["offset"], received[0]["id"]) == (receipt.offset, receipt.event_id)
            assert received[0]["data"] == {"text": "grün ✓", "n": [1, {"x": None}]}
            retried = [
                await publish(router, "session:1", "build.finished", {"n": 1}, event_id="the-one") for _ in range(2)
            ]
            assert [receipt.duplicate for receipt in retried] == [False, True]
            for client in clients:
                assert [event["id"] for event in await client.events(1)] == ["the-one"]
                assert await client.nothing_more() == [], "a publisher's retry is no second event"

    async def test_client_specific_subscriptions(self, router: Router):
        """Each client gets the rooms and kinds that it asked for, and is told which offsets it did not want."""
        url = router.addresses.ws_url
        async with (
            NativeClient(url) as all_rooms,
            NativeClient(url) as second_room,
            NativeClient(url) as alerts_only,
            NativeClient(url) as no_room,
            http_service(router) as service,
        ):
            await all_rooms.subscribe("team:1")
            await all_rooms.subscribe("team:2")
            await second_room.subscribe("team:2")
            await alerts_only.subscribe("team:1", kinds=["alert"], state=False)
            for n, room in enumerate(("team:1", "team:2", "team:1", "team:2")):
                await service.publish({"room": room, "kind": "app.count", "data": {"n": n}})
            alert = {"severity": "low", "title": "only this"}
            await service.publish({"room": "team:1", "kind": "alert", "data": alert})

            events = await all_rooms.events(5)
            assert numbers(events[:4]) == [0, 1, 2, 3]
            assert in_chain(event for event in events if event["room"] == "team:1") == 3
            assert in_chain(event for event in events if event["room"] == "team:2") == 2
            assert numbers(await second_room.events(2)) == [1, 3]
            skipped, event = await alerts_only.next(), await alerts_only.next()
            assert skipped == {"type": "skipped", "room": "team:1", "from": 1, "to": 2, "reason": "filtered"}
            assert (event["prev"], event["data"]) == (skipped["to"], alert)
            for client in (all_rooms, second_room, alerts_only, no_room):
                assert await client.nothing_more() == []

    async def test_concurrent_event_delivery(self, router: Router):
        """Publishers that all publish at once lose nothing, and every subscriber sees the one order of the room."""
        url, each = router.addresses.ws_url, 40
        async with (
            NativeClient(url) as one,
            NativeClient(url) as two,
            NativeClient(url) as over_websocket,
            http_service(router) as over_http,
        ):
            for client in (one, two):
                await client.subscribe("team:1")

            async def from_http() -> None:
                for n in range(each):
                    await over_http.publish({"room": "team:1", "kind": "from.http", "data": {"n": n}})

            async def from_websocket() -> None:
                for n in range(each):
                    await over_websocket.ask("publish", room="team:1", kind="from.websocket", data={"n": n})

            async def from_inside() -> None:
                for n in range(each):
                    await publish(router, "team:1", "from.inside", {"n": n})

            seen_by_one, seen_by_two, *_ = await asyncio.gather(
                one.events(3 * each), two.events(3 * each), from_http(), from_websocket(), from_inside()
            )
            assert seen_by_one == seen_by_two
            assert in_chain(seen_by_one) == 3 * each
            for kind in ("from.http", "from.websocket", "from.inside"):
                assert numbers([event for event in seen_by_one if event["kind"] == kind]) == list(range(each))


class TestRoomBasedEventFiltering:
    async def test_session_room_subscription(self, router: Router):
        """A client gets a session's events from its subscription on, and none after it has unsubscribed."""
        async with NativeClient(router.addresses.ws_url) as client:
            await publish(router, "session:1", "app.count", {"n": 0})
            subscribed = await client.subscribe("session:1")
            assert (subscribed["offset"], subscribed["recovery"], subscribed["replay"]) == (1, "fresh", 0)
            assert subscribed["state"]["counts"] == {"app.count": 1}
            again = await client.ask("subscribe", room="session:1")
            assert (again["type"], again["code"]) == ("error", "already_subscribed")

            await publish(router, "session:1", "app.count", {"n": 1})
            assert numbers(await client.events(1)) == [1]
            presence = await client.ask("presence", room="session:1")
            assert presence["members"] == [{"user": "anonymous", "connections": 1}]

            assert (await client.ask("unsubscribe", room="session:1"))["type"] == "unsubscribed"
            await publish(router, "session:1", "app.count", {"n": 2})
            assert await client.nothing_more() == []
            assert (await client.ask("presence", room="session:1"))["count"] == 0
            assert (await client.ask("unsubscribe", room="session:1"))["code"] == "not_subscribed"

            back = await client.subscribe("session:1", after={"epoch": subscribed["epoch"], "offset": 1})
            assert (back["recovery"], back["replay"], back["offset"]) == ("full", 2, 3)
            assert numbers(await client.events(2)) == [1, 2]
            assert await client.nothing_more() == []

    async def test_room_based_progress_filtering(self, router: Router):
        """Progress of one session never shows up in another one, nor with who wants other kinds of the same one."""
        url = router.addresses.ws_url
        async with (
            NativeClient(url) as first,
            NativeClient(url) as second,
            NativeClient(url) as lifecycle,
            http_service(router) as service,
        ):
            await first.subscribe("session:1", kinds=["progress"])
            await second.subscribe("session:2", kinds=["progress"])
            await lifecycle.subscribe("session:1", kinds=["session"])
            for room in ("session:1", "session:2"):
                await service.publish({"room": room, "kind": "session", "data": {"status": "started"}})
                for current in (1, 2, 3):
                    # `keep`: not even a client that lags may be spared one of these.
                    data = {"current": current, "total": 3, "message": room}
                    await service.publish({"room": room, "kind": "progress", "data": data, "delivery": "keep"})
                await service.publish({"room": room, "kind": "session", "data": {"status": "completed"}})
            for client, room in ((first, "session:1"), (second, "session:2")):
                started, *progress = [await client.next() for _ in range(4)]
                assert (started["type"], started["to"]) == ("skipped", 1)
                assert [(event["kind"], event["room"], event["data"]["message"]) for event in progress] == [
                    ("progress", room, room)
                ] * 3
                assert in_chain(progress, after=1) == 4
                assert [event["data"]["current"] for event in progress] == [1, 2, 3]
                assert await client.nothing_more() == []
            assert [event["data"]["status"] for event in await lifecycle.events(2)] == ["started", "completed"]
            assert await lifecycle.nothing_more() == []

    async def test_multiple_session_subscriptions(self, router: Router):
        """One connection follows several sessions, each with a chain and a state of its own."""
        rooms = [f"session:{number}" for number in range(5)]
        async with NativeClient(router.addresses.ws_url) as client, http_service(router) as service:
            for room in rooms:
                await service.publish({"room": room, "kind": "session", "data": {"status": "started", "owner": room}})
                subscribed = await client.subscribe(room)
                assert (subscribed["state"]["status"], subscribed["state"]["owner"]) == ("started", room)
            await service.publish(
                *({"room": room, "kind": "app.count", "data": {"n": n}} for n in range(20) for room in rooms)
            )
            events = await client.events(100)
            for room in rooms:
                of_room = [event for event in events if event["room"] == room]
                assert numbers(of_room) == list(range(20))
                assert in_chain(of_room, after=1) == 21
            await client.ask("unsubscribe", room=rooms[0])
            await service.publish({"rooms": rooms, "kind": "app.count", "data": {"n": 20}})
            assert {event["room"] for event in await client.events(4)} == set(rooms[1:])
            assert await client.nothing_more() == []

    async def test_session_cleanup_on_disconnect(self, router: Router):
        """Nothing is left of a client that went, whether it said goodbye or its machine failed."""
        url = router.addresses.ws_url
        async with NativeClient(url) as watcher:
            await watcher.subscribe("session:1")
            before = len(router.ledger)
            leaving, failing = NativeClient(url), NativeClient(url)
            for client in (leaving, failing):
                await client.__aenter__()
                for room in ("session:1", "session:2", "session:3"):
                    await client.subscribe(room)
            assert (await watcher.ask("presence", room="session:1"))["count"] == 1
            assert (await watcher.ask("presence", room="session:1"))["members"][0]["connections"] == 3
            assert len(pykka.ActorRegistry.get_by_class(Connection)) == 3

            await leaving.__aexit__(None, None, None)
            failing.cut()
            await wait_until(lambda: len(router.registry) == 1, "the registry forgets both clients")
            await wait_until(lambda: len(router.ledger) == before, "the ledger forgets both clients")
            await wait_until(
                lambda: len(pykka.ActorRegistry.get_by_class(Connection)) == 1, "both clients' actors have stopped"
            )
            assert (await watcher.ask("presence", room="session:1"))["members"] == [
                {"user": "anonymous", "connections": 1}
            ]
            assert (await watcher.ask("presence", room="session:2"))["count"] == 0
            await publish(router, "session:1", "app.count", {"n": 1})
            assert numbers(await watcher.events(1)) == [1]
        await wait_until(lambda: not len(router.registry), "the registry forgets the watcher")
        await wait_until(lambda: not len(router.ledger), "the ledger forgets the watcher")
        await wait_until(lambda: not pykka.ActorRegistry.get_by_class(Connection), "no connection's actor is left")
        await failing.socket.wait_closed()


class TestReconnectionAndStateSynchronization:
    async def test_client_reconnection(self, guarded_router: Router, token: Token):
        """`resume` in hello brings a client back into its rooms, each from its own position."""
        url, ticket = guarded_router.addresses.ws_url, token("ann", rooms=("session:*",))
        async with NativeClient(url, ticket) as client:
            resume = {room: position(await client.subscribe(room)) for room in ("session:1", "session:2")}
            resume["user:ann"] = position(client.welcome["rooms"]["user:ann"])
            await publish(guarded_router, "session:1", "app.count", {"n": 1})
            (event,) = await client.events(1)
            resume["session:1"]["offset"] = event["offset"]
            client.cut()
        await publish(guarded_router, "session:2", "app.count", {"n": 2})
        await publish(guarded_router, "user:ann", "app.count", {"n": 3})
        resume["session:3"] = {"epoch": "of another time", "offset": 99}
        resume["secret:1"] = {"epoch": "x", "offset": 1}

        async with NativeClient(url, ticket, resume=resume) as client:
            rooms = client.welcome["rooms"]
            own = {"user:ann", "role:user", "broadcast", "system"}
            assert rooms.keys() == {*own, "session:1", "session:2", "session:3"}, "not the room it may not read"
            assert {room: (where["recovery"], where["replay"]) for room, where in rooms.items()} == {
                "user:ann": ("full", 1),
                "role:user": ("fresh", 0),
                "broadcast": ("fresh", 0),
                "system": ("fresh", 0),
                "session:1": ("full", 0),
                "session:2": ("full", 1),
                "session:3": ("none", 0),
            }
            missed = [await client.next() for _ in range(3)]
            assert sorted((each["room"], each["type"]) for each in missed) == [
                ("secret:1", "revoked"),
                ("session:2", "event"),
                ("user:ann", "event"),
            ]
            for n, room in enumerate(("session:1", "session:2", "session:3")):
                await publish(guarded_router, room, "app.count", {"n": n})
                (event,) = await client.events(1)
                assert (event["room"], event["prev"]) == (room, rooms[room]["offset"])
            assert await client.nothing_more() == []

    async def test_state_synchronization_after_reconnect(self, router: Router):
        """Who comes back gets the session's state and its position in one answer, and can build on it without a gap."""
        url = router.addresses.ws_url
        async with NativeClient(url) as client, http_service(router) as service:
            await service.publish(
                {"room": "session:1", "kind": "session", "data": {"status": "started", "owner": "ann"}}
            )
            at = position(await client.subscribe("session:1"))
            client.cut()
            for current in (1, 2):
                for key in ("upload", "scan"):
                    data = {"current": current, "total": 4}
                    await service.publish({"room": "session:1", "kind": "progress", "key": key, "data": data})
            alert = {"severity": "critical", "title": "disk full"}
            await service.publish({"room": "session:1", "kind": "alert", "data": alert, "event_id": "alert-1"})

            async with NativeClient(url, resume={"session:1": at}) as back:
                where = back.welcome["rooms"]["session:1"]
                assert (where["recovery"], where["replay"], where["offset"]) == ("full", 3, 6), "the last of each key"
                state = where["state"]
                assert (state["status"], state["owner"]) == ("started", "ann")
                assert TIME.match(state["started_at"])
                assert "ended_at" not in state
                assert {key: (each["current"], each["percent"]) for key, each in state["progress"].items()} == {
                    "upload": (2, 50.0),
                    "scan": (2, 50.0),
                }
                assert [alert["event_id"] for alert in state["alerts"]] == ["alert-1"]
                assert state["counts"] == {"session": 1, "progress": 4, "alert": 1}
                skipped = await back.next()
                assert (skipped["type"], skipped["from"], skipped["to"], skipped["reason"]) == (
                    "skipped",
                    at["offset"] + 1,
                    at["offset"] + 2,
                    "conflated",
                )
                replayed = await back.events(3)
                assert in_chain(replayed, after=skipped["to"]) == where["offset"]
                assert state["last_event_at"] == replayed[-1]["time"]
                assert replayed[1]["data"] == state["progress"]["scan"], "the last value is the one in the state"

                await service.publish({"room": "session:1", "kind": "session", "data": {"status": "completed"}})
                (ended,) = await back.events(1)
                assert ended["prev"] == where["offset"], "the state and the stream fit together"
                asked = await back.ask("state", room="session:1")
                assert (asked["offset"], asked["state"]["status"]) == (ended["offset"], "completed")
                assert TIME.match(asked["state"]["ended_at"])

    async def test_missed_events_during_disconnect(self):
        """A client that was away gets what it missed, in order; what has left the history it is told of exactly."""
        async with running_router(dev=True, history_events=50) as router:
            url = router.addresses.ws_url
            async with NativeClient(url) as client, NativeClient(url) as steady:
                at = position(await client.subscribe("team:1"))
                await steady.subscribe("team:1")
                client.cut()
                for n in range(40):
                    await publish(router, "team:1", "app.count", {"n": n})
                async with NativeClient(url, resume={"team:1": at}) as back:
                    assert back.welcome["rooms"]["team:1"]["recovery"] == "full"
                    events = await back.events(40)
                    assert events == await steady.events(40)
                    assert await back.nothing_more() == []

                for n in range(40, 400):
                    await publish(router, "team:1", "app.count", {"n": n})
                async with NativeClient(url, resume={"team:1": at}) as back:
                    where = back.welcome["rooms"]["team:1"]
                    assert (where["recovery"], where["offset"]) == ("partial", 400)
                    missing = where["missing"]
                    assert missing["from"] == 1
                    assert 400 - missing["to"] == where["replay"] >= 50
                    events = await back.events(where["replay"])
                    assert in_chain(events, after=missing["to"]) == 400
                    assert events == (await steady.events(360))[-where["replay"] :]
                    assert await back.nothing_more() == []

    async def test_connection_health_check(self):
        """Both sides can ask whether the other lives, in messages and in frames; who does not answer is cut."""
        async with running_router(dev=True, heartbeat_s=0.2, pong_timeout_s=0.1) as router:
            url = router.addresses.ws_url
            async with NativeClient(url) as alive, silent_peer(url) as dead:
                assert alive.welcome["heartbeat_s"] == 0.2
                assert len(router.registry) == 2
                pong = await alive.ask("ping")
                assert pong["type"] == "pong"
                assert TIME.match(pong["time"])
                async with asyncio.timeout(5):
                    await (await alive.socket.ping(b"are you there"))

                assert PING_FRAME in await dead.end()
                await wait_until(lambda: len(router.registry) == 1, "the registry forgets the dead peer")
                await wait_until(
                    lambda: len(pykka.ActorRegistry.get_by_class(Connection)) == 1, "the dead peer's actor has stopped"
                )
                await publish(router, "broadcast", "app.count", {"n": 1})
                assert numbers(await alive.events(1)) == [1]


class TestEventDeliveryReliability:
    async def test_delivery_failure_handling(self, router: Router, logged: list[dict[str, Any]]):
        """A cut connection and a crashed actor go unnoticed by the others, and the crash by its own client too."""
        url = router.addresses.ws_url
        async with (
            NativeClient(url) as steady,
            NativeClient(url) as cut,
            NativeClient(url) as crashed,
            http_service(router) as service,
        ):
            for client in (steady, cut, crashed):
                await client.subscribe("team:1")
            state = state_of(router, crashed)
            sent = iter(range(1_000))

            async def send(count: int, **fields: Any) -> None:
                for _ in range(count):
                    await service.publish({"room": "team:1", "kind": "app.count", "data": {"n": next(sent)}, **fields})

            await send(5)
            cut.cut()
            await send(5)
            crash(state.mailbox)
            await send(5)
            before = await crashed.events(10)
            notice = await crashed.next()
            assert (notice["type"], notice["code"]) == ("notice", "resumed")
            assert set(notice["rooms"]) == {"team:1", *crashed.welcome["rooms"]}
            after = await crashed.events(5)

            # Now an event on which it fails while it is written.
            state.wire.codec = codec = FailsOnce(state.wire.codec, "bad")
            crash(state.mailbox)
            assert (await crashed.next("notice"))["code"] == "resumed"
            await send(1, event_id="bad")
            await send(4)
            assert codec.failures == 1
            rest = [await crashed.next() for _ in range(6)]
            assert [each["code"] for each in rest if each["type"] == "notice"] == ["resumed"]
            last = [each for each in rest if each["type"] == "event"]

            events = await steady.events(20)
            assert numbers(events) == list(range(20))
            assert in_chain(events) == 20
            assert [*before, *after, *last] == events
            for client in (steady, crashed):
                assert await client.nothing_more() == []
            await wait_until(lambda: len(router.registry) == 2, "the registry forgets the client that was cut")
            failures = [line["actor"] for line in logged if line["event"] == "actor_failed"]
            assert failures == [state.mailbox.name] * 3, "nobody else failed"

    async def test_event_ordering(self, router: Router):
        """Events come in the order in which they were taken, the same for all, whatever way they came in."""
        url = router.addresses.ws_url
        async with (
            NativeClient(url) as one,
            NativeClient(url) as two,
            NativeClient(url) as publisher,
            http_service(router) as service,
        ):
            for client in (one, two):
                await client.subscribe("team:1")
            for n in range(300):  # pipelined: nobody waits for an answer
                await publisher.send("publish", room="team:1", kind="app.count", data={"n": n})
            assert (await publisher.ask("publish", room="team:1", kind="app.count", data={"n": 300}))["offset"] == 301
            receipts = await service.publish(
                *({"room": "team:1", "kind": "app.count", "data": {"n": n}} for n in range(301, 600))
            )
            assert [receipt["offset"] for receipt in receipts] == list(range(302, 601))
            for n in range(600, 900):
                router.source.tell(Publish(rooms=("team:1",), kind="app.count", data={"n": n}))
            events = await one.events(900)
            assert numbers(events) == list(range(900))
            assert in_chain(events) == 900
            assert await two.events(900) == events
            history = await two.ask("history", room="team:1", after=600, limit=300)
            assert numbers(history["events"]) == list(range(600, 900))
            assert not history["more"]

    async def test_high_frequency_events(self, router: Router):
        """Ten thousand events as fast as they can be published: every client gets all of them, in order."""
        url, count, at_once = router.addresses.ws_url, 10_000, 1_000
        async with NativeClient(url) as one, NativeClient(url) as two, http_service(router) as service:
            clients = (one, two)
            for client in clients:
                await client.subscribe("team:1")

            async def send() -> None:
                for start in range(0, count, at_once):
                    await service.publish(
                        *(
                            {"room": "team:1", "kind": "app.count", "data": {"n": n}}
                            for n in range(start, start + at_once)
                        )
                    )

            async with asyncio.timeout(30):
                *received, _ = await asyncio.gather(*(client.events(count) for client in clients), send())
            for events in received:
                assert numbers(events) == list(range(count))
                assert in_chain(events) == count
            for client in clients:
                assert await client.nothing_more() == []


class TestComplexScenarios:
    async def test_multiple_sessions_multiple_clients(self, router: Router):
        """Several sessions with several clients each, some in many: everyone gets exactly its sessions' events."""
        url = router.addresses.ws_url
        rooms = [f"session:{number}" for number in range(4)]
        wanted = {
            "first": rooms[:1],
            "second": rooms[1:2],
            "both": rooms[:2],
            "last": rooms[2:],
            "everything": rooms,
            "nothing": [],
        }
        async with http_service(router) as service, AsyncExitStack() as stack:
            clients = {name: await stack.enter_async_context(NativeClient(url)) for name in wanted}
            for name, client in clients.items():
                for room in wanted[name]:
                    await client.subscribe(room)

            async def run(number: int, room: str) -> None:
                started = {"status": "started", "owner": f"user-{number}"}
                await service.publish({"room": room, "kind": "session", "data": started})
                async with NativeClient(url) as publisher:
                    for n in range(10):
                        await publisher.ask("publish", room=room, kind="app.count", data={"n": n})
                await publish(router, room, "alert", {"severity": "high", "title": room})
                await publish(router, room, "session", {"status": "completed"})

            await asyncio.gather(*(run(number, room) for number, room in enumerate(rooms)))
            for name, client in clients.items():
                events = await client.events(13 * len(wanted[name]))
                for room in wanted[name]:
                    of_room = [event for event in events if event["room"] == room]
                    assert in_chain(of_room) == 13
                    assert [event["kind"] for event in of_room] == ["session", *["app.count"] * 10, "alert", "session"]
                    assert numbers(of_room[1:11]) == list(range(10))
                assert await client.nothing_more() == []

    @pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
    async def test_session_lifecycle_with_events(self, router: Router, end: str):
        """A session starts, makes progress, alerts and ends; then it takes no progress until it is started again."""
        url = router.addresses.ws_url
        async with NativeClient(url) as client, http_service(router) as service:
            assert (await client.subscribe("session:1"))["state"]["status"] is None

            async def send(kind: str, **data: Any) -> None:
                await service.publish({"room": "session:1", "kind": kind, "data": data})

            await send("session", status="started", owner="ann")
            await send("progress", current=1, total=4)
            await send("alert", severity="critical", title="disk full")
            await send("progress", current=2, total=4)
            await send("session", status=end, reason="because", result={"files": 2})
            events = await client.events(5)
            assert [event["kind"] for event in events] == ["session", "progress", "alert", "progress", "session"]
            assert events[-1]["data"] == {"status": end, "reason": "because", "result": {"files": 2}}

            progress = {"room": "session:1", "kind": "progress", "data": {"current": 3, "total": 4}}
            status, problem = await service.post(progress)
            assert (status, problem["code"], problem["temporary"]) == (409, "session_ended", False)
            refused = await client.ask("publish", **progress)
            assert (refused["type"], refused["code"]) == ("error", "session_ended")
            with pytest.raises(Refusal) as refusal:
                await publish(router, "session:1", "progress", {"current": 3, "total": 4})
            assert refusal.value.code is ErrorCode.SESSION_ENDED
            await send("notification", level="info", message="other kinds are still taken")
            assert [event["kind"] for event in await client.events(1)] == ["notification"]
            ended = (await client.ask("state", room="session:1"))["state"]
            assert (ended["status"], ended["progress"]["default"]["current"]) == (end, 2)
            assert len(ended["alerts"]) == 1, "an alert outlives the run until somebody has seen it"

            await send("session", status="started")
            again = (await client.ask("state", room="session:1"))["state"]
            assert again["status"] == "started"
            assert not {"ended_at", "progress"} & again.keys()
            await send("progress", current=1, total=4)
            started, first = await client.events(2)
            assert started["prev"] == 6, "what was refused took no place"
            assert first["data"]["elapsed_s"] == 0.0, "the new run has a clock of its own"
            assert "rate" not in first["data"]
            assert await client.nothing_more() == []
