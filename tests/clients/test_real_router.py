"""Client and service against the real router, in a process of its own."""

from __future__ import annotations

import asyncio
import itertools
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postroom_client import (
    Alert,
    Backoff,
    CommandError,
    Custom,
    Event,
    GapError,
    Notification,
    Progress,
    Revoked,
    Service,
    Session,
    Skipped,
    Subscription,
    System,
    Unauthenticated,
    connect,
)
from postroom_client.testing import RouterProcess
from postroom_client.testing._line import line

from ..conftest import SECRET
from ..conftest import RouterProcess as GuardedRouter

BOUND_S = 20.0
QUICK = Backoff(floor_s=0.005, cap_s=0.1)


def open_router(folder: Path, **settings: str) -> RouterProcess:
    """A router that asks for no token."""
    return RouterProcess(folder, settings={"dev": True, **settings})


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    """A router for all tests of this file; each uses rooms of its own."""
    with open_router(tmp_path_factory.mktemp("router"), journal="memory") as running:
        yield running


@pytest.fixture
def room() -> str:
    """A room that nobody used before."""
    return f"session:{uuid.uuid4().hex}"


async def take(subscription: Subscription, count: int) -> list[Event]:
    async with asyncio.timeout(BOUND_S):
        return [await anext(subscription) for _ in range(count)]


async def test_a_subscriber_gets_what_is_published(real: RouterProcess, room: str):
    async with connect(real.url) as client:
        assert (client.user, client.role) == ("anonymous", "admin")
        session = await client.subscribe(room)
        assert (session.position.offset, session.recovery) == (0, "fresh")
        receipt = await client.publish(room, "build.finished", {"artifact": "a.tar"}, event_id="mine")
        [event] = await take(session, 1)
        assert (event.id, event.kind, event.data) == ("mine", "build.finished", {"artifact": "a.tar"})
        assert receipt.position == session.position
        again = await client.publish(room, "build.finished", {"artifact": "a.tar"}, event_id="mine")
        assert (again.duplicate, again.offset) == (True, receipt.offset)


async def test_every_kind_of_message_is_taken(real: RouterProcess, room: str):
    messages = [
        Session(room, "started", owner="ada"),
        Notification(room, "info", "hello", title="Hi", extra={"link": "/x"}),
        Alert(room, "high", "disk full", "99 %", ack="required"),
        Progress(room, 1, 3, unit="files", key="upload"),
        Custom(room, "build.finished", {"artifact": "a.tar"}, delivery="keep"),
        System("operational", "search", room=room),
        Session(room, "completed", result={"ok": True}),
    ]
    async with connect(real.url) as client, Service(real.api_url) as service:
        session = await client.subscribe(room)
        for message in messages:
            await service.ask(message)
        events = await take(session, len(messages))
        kinds = ["session", "notification", "alert", "progress", "build.finished", "system", "session"]
        assert [event.kind for event in events] == kinds
        assert events[2].ack == "required"
        with pytest.raises(CommandError, match="session_ended"):
            await service.ask(Progress(room, 2, 3))
        with pytest.raises(CommandError, match="invalid_event"):
            await service.ask(Notification(room, "loud", "hello"))  # type: ignore[arg-type]


async def test_questions_about_a_room(real: RouterProcess, room: str):
    async with connect(real.url) as client:
        await client.subscribe(room)
        await client.publish(room, "session", {"status": "started"})
        for number in range(5):
            await client.publish(room, "progress", {"current": number, "total": 5})
        state = await client.state(room)
        assert (state.state["status"], state.position.offset) == ("started", 6)
        page = await client.history(room, after=2, limit=3)
        assert ([event.offset for event in page.events], page.more) == ([3, 4, 5], True)
        presence = await client.presence(room)
        assert [member.user for member in presence.members] == ["anonymous"]
        assert (await client.ping()).tzinfo is not None


async def test_an_alert_is_acknowledged(real: RouterProcess, room: str):
    async with connect(real.url) as client, Service(real.api_url) as service:
        session = await client.subscribe(room)
        receipt = await service.ask(Alert(room, severity="critical", title="disk full"))
        await client.ack(room, receipt.event_id)
        events = await take(session, 2)
        assert [event.kind for event in events] == ["alert", "alert.acknowledged"]
        assert events[1].data["event_id"] == receipt.event_id


async def test_history_and_kinds_are_the_subscribers_choice(real: RouterProcess, room: str):
    markers: list[Skipped] = []
    async with connect(real.url) as writer, connect(real.url) as reader:
        for number in range(4):
            await writer.publish(room, "a.b", {"number": number})
        last = await reader.subscribe(room, history=2)
        assert [event.data["number"] for event in await take(last, 2)] == [2, 3]
        await last.unsubscribe()
        alerts = await reader.subscribe(room, kinds=["alert"], on_skipped=markers.append)
        await writer.publish(room, "a.b", {"number": 4})
        await writer.publish(room, "alert", {"severity": "low", "title": "late"})
        assert [event.kind for event in await take(alerts, 1)] == ["alert"]
        assert [marker.reason for marker in markers] == ["filtered"]


async def test_streams_survive_cut_connections_without_gap_or_repeat(real: RouterProcess, room: str):
    """All events fit into the rooms' history, so whatever is cut when, nothing may be missing."""
    total = 900

    async def read(subscription: Subscription, cut: Callable[[], None]) -> list[object]:
        numbers = []
        for count in range(1, total + 1):
            numbers += [event.data["number"] for event in await take(subscription, 1)]
            if count % 200 == 0:
                cut()
        return numbers

    async with (
        line(real.port) as proxy,
        connect(proxy.url, backoff=QUICK) as client,
        Service(real.api_url) as service,
    ):
        everything = await client.subscribe(room)
        filtered = await client.subscribe(f"{room}-2", kinds=["a.b"])
        for number in range(total):
            service.tell(Custom(room, "a.b", {"number": number}))
            service.tell(Custom(f"{room}-2", "a.b", {"number": number}))
        both = await asyncio.gather(read(everything, proxy.cut), read(filtered, proxy.cut))
        assert both == [list(range(total))] * 2
        assert proxy.connections > 2


async def test_a_room_that_is_not_read_does_not_stop_another(real: RouterProcess, room: str):
    async with connect(real.url, buffer=8) as client, Service(real.api_url) as service:
        slow = await client.subscribe(room)
        other = await client.subscribe(f"{room}-2")
        for number in range(500):
            service.tell(Custom(room, "a.b", {"number": number}))
        await service.ask(Custom(f"{room}-2", "a.b", {}))
        await take(other, 1)
        assert [event.data["number"] for event in await take(slow, 500)] == list(range(500))


async def test_commands_survive_cut_connections(real: RouterProcess, room: str):
    async with line(real.port) as proxy, connect(proxy.url, backoff=QUICK) as client:
        for number in range(100):
            publishing = asyncio.create_task(client.publish(room, "a.b", {"number": number}))
            if number % 10 == 5:
                await asyncio.sleep(0)  # lets the frame leave on some runs and not on others: both are right
                proxy.cut()
            await publishing
        page = await client.history(room, after=0, limit=300)
        assert [event.data["number"] for event in page.events] == list(range(100))


async def test_a_program_goes_on_where_its_last_run_stopped(real: RouterProcess, room: str):
    async with connect(real.url) as client:
        session = await client.subscribe(room)
        for number in range(5):
            await client.publish(room, "a.b", {"number": number})
        await take(session, 2)
        position = session.position
    async with connect(real.url) as client:
        session = await client.subscribe(room, after=position)
        assert session.recovery == "full"
        assert [event.data["number"] for event in await take(session, 3)] == [2, 3, 4]


async def test_the_rooms_that_everyone_is_in(real: RouterProcess):
    async with connect(real.url) as client, Service(real.api_url) as service:
        assert {"broadcast", "system"} <= set(client.rooms)
        system = client.joined("system")
        told = await service.ask(System("degraded", "search"))
        while (await take(system, 1))[0].id != told.event_id:
            pass
        position = system.position
    async with connect(real.url, resume={"system": position}) as client:
        assert client.joined("system").recovery == "full"


async def test_threads_publish_in_the_order_of_each(real: RouterProcess, room: str):
    def work(service: Service, number: int) -> None:
        for count in range(200):
            service.tell(Custom(room, "a.b", {"thread": number, "count": count}))

    async with connect(real.url) as client, Service(real.api_url) as service:
        session = await client.subscribe(room)
        await asyncio.gather(*(asyncio.to_thread(work, service, number) for number in range(4)))
        events = await take(session, 800)
        for number in range(4):
            counts = [event.data["count"] for event in events if event.data["thread"] == number]
            assert counts == list(range(200))


async def test_a_router_that_drains_and_comes_back_without_its_history_is_a_named_gap(tmp_path: Path, room: str):
    with open_router(tmp_path, journal="memory") as router:
        async with connect(router.url, backoff=QUICK, command_timeout_s=BOUND_S) as client:
            session = await client.subscribe(room)
            before = await client.publish(room, "a.b", {"number": 1})
            await take(session, 1)
            assert await asyncio.to_thread(router.stop) == 0
            await asyncio.to_thread(router.start)
            with pytest.raises(GapError) as caught:
                await take(session, 1)
            assert caught.value.gap.reason == "new_epoch"
            assert caught.value.gap.last == before.position
            await client.publish(room, "a.b", {"number": 2})
            assert [event.data["number"] for event in await take(session, 1)] == [2]


async def test_a_router_that_was_killed_comes_back_with_its_journal_and_nothing_is_missing(tmp_path: Path, room: str):
    with open_router(tmp_path) as router:
        async with (
            connect(router.url, backoff=QUICK, command_timeout_s=BOUND_S) as client,
            Service(router.api_url, backoff=QUICK) as service,
        ):
            session = await client.subscribe(room)
            for number in range(500):
                service.tell(Custom(room, "a.b", {"number": number}))
            await take(session, 100)
            await asyncio.to_thread(router.kill)
            for number in range(500, 600):
                service.tell(Custom(room, "a.b", {"number": number}))
            await asyncio.to_thread(router.start)
            assert [event.data["number"] for event in await take(session, 500)] == list(range(100, 600))


async def test_tokens_decide_what_a_client_may(
    start_router: Callable[..., GuardedRouter], token: Callable[..., str], room: str
):
    router = start_router("--journal", "memory", environment={"POSTROOM_SECRET": SECRET})
    service_token = token("builder", "service")
    user_tokens = itertools.count()

    async def user_token() -> str:
        next(user_tokens)
        return token("ada", rooms=[room], ttl_s=50)  # shorter than the router's warning time: refreshed at once

    async with (
        connect(router.ws_url, token=user_token) as client,
        Service(router.api_url, token=service_token) as service,
    ):
        assert (client.user, client.role) == ("ada", "user")
        first_end = client.expires_at
        assert first_end is not None
        await service.ask(Session(room, "started"))
        session = await client.subscribe(room)
        with pytest.raises(CommandError, match="forbidden"):
            await client.subscribe("session:of-somebody-else")
        with pytest.raises(CommandError, match="forbidden"):
            await client.publish(room, "a.b", {})
        await service.ask(Notification("user:ada", "info", "for you"))
        assert (await take(client.joined("user:ada"), 1))[0].data["message"] == "for you"
        await service.ask(Progress(room, 1, 2))
        assert [event.kind for event in await take(session, 1)] == ["progress"]
        assert next(user_tokens) >= 2
    for bad in ("forged", None):
        with pytest.raises(Unauthenticated):
            async with connect(router.ws_url, token=bad):
                pass
    with Service(router.api_url, token="forged") as service, pytest.raises(CommandError, match="unauthenticated"):
        await service.ask(Progress(room, 1))


async def test_a_room_that_an_operator_put_the_client_in_can_be_read_until_it_is_taken_away(tmp_path: Path, room: str):
    """The client asked for neither: it hands the room over when the application asks, and says that it was revoked."""

    def order(method: str, path: str) -> None:
        with urllib.request.urlopen(urllib.request.Request(f"{router.api_url}{path}", method=method), timeout=BOUND_S):
            pass

    with open_router(tmp_path, journal="memory") as router:
        async with connect(router.url) as client:
            path = f"/v1/users/anonymous/rooms/{room}"
            await asyncio.to_thread(order, "PUT", path)
            await client.state(room)  # whose answer comes after what the router said before
            assert room in client.rooms
            session = await client.subscribe(room)
            async with Service(router.api_url) as service:
                await service.ask(Custom(room, "app.thing", {"n": 1}))
            assert [event.data for event in await take(session, 1)] == [{"n": 1}]
            await asyncio.to_thread(order, "DELETE", path)
            with pytest.raises(Revoked):
                await take(session, 1)
            again = await client.subscribe(room)
            await asyncio.to_thread(order, "DELETE", f"/v1/rooms/{room}")
            with pytest.raises(Revoked):
                await take(again, 1)
