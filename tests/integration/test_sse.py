"""A room as Server-Sent Events: the same events in the same order as for everybody else, whatever happens."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import httpx
import httpx_sse
import pytest

from actors.connection import Connection
from actors.messages import Close, Joined
from server.app import Router
from server.http.access import COOKIE

from ..conftest import RouterProcess, running_router
from ..event_source import Block, EventSource, SlowSource, parse
from ..native_client import WAIT_S, NativeClient
from .browser import browser_for_tests
from .faults import fail_on_message
from .services import HttpService, crash, numbers, publish, wait_until
from .streams import Stream, fill

Token = Callable[..., str]
Log = list[dict[str, Any]]

ROOM = "doc:1"


def follows(blocks: Iterable[Block], position: int) -> int:
    """Check that events and markers follow each other without a gap; return the position after them."""
    for block in blocks:
        if block.event == "skipped":
            assert block.data["from"] == position + 1, f"{block} does not follow {position}"
            position = block.data["to"]
        elif block.data["type"] == "event":
            assert block.data["prev"] == position, f"{block} does not follow {position}"
            position = block.data["offset"]
        assert block.id.endswith(f":{position}"), f"{block} says another position than {position}"
    return position


def values(blocks: Iterable[Block]) -> list[int]:
    """What `n` says in each event's data."""
    return numbers([block.data for block in blocks if block.data["type"] == "event"])


# --- with clients of others


async def test_curl_shows_a_room(router: Router) -> None:
    """Line by line, as it happens."""
    if shutil.which("curl") is None:
        reason = "curl is used here, and there is none"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    curl = await asyncio.create_subprocess_exec(
        "curl", "-sN", f"{router.addresses.api_url}/v1/rooms/{ROOM}/stream", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert curl.stdout is not None
        async with asyncio.timeout(WAIT_S):
            blocks = [parse((await curl.stdout.readuntil(b"\n\n")).decode())]
            for n in (1, 2):
                await publish(router, ROOM, "app.step", {"n": n})
                blocks.append(parse((await curl.stdout.readuntil(b"\n\n")).decode()))
            assert [block.event for block in blocks if block] == ["subscribed", "app.step", "app.step"]
            (state,) = router.registry.states
            state.mailbox.tell(Close(4009, "test"))
            assert b"event: closed" in await curl.stdout.read()
            assert await curl.wait() == 0
    finally:
        if curl.returncode is None:
            curl.kill()
            await curl.wait()


async def test_a_parser_of_others_reads_the_stream(router: Router) -> None:
    """httpx-sse: names, ids, data and the time to come back after."""
    await publish(router, ROOM, "app.step", {"text": "line\nline\u2028line\r"})
    url = f"{router.addresses.api_url}/v1/rooms/{ROOM}/stream"
    async with (
        asyncio.timeout(WAIT_S),
        httpx.AsyncClient(trust_env=False) as client,
        httpx_sse.aconnect_sse(client, "GET", url, params={"history": 1}) as source,
    ):
        events = source.aiter_sse()
        subscribed, event = [await anext(events) for _ in range(2)]
        await events.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert subscribed.event == "subscribed"
    assert subscribed.retry == 2000
    assert (event.event, event.json()["data"]) == ("app.step", {"text": "line\nline\u2028line\r"})
    assert event.id == f"{subscribed.json()['epoch']}:1"


_PAGE_SCRIPT = """([url, kinds]) => {
    window.seen = [];
    window.source = new EventSource(url, {withCredentials: true});
    for (const kind of kinds)
        window.source.addEventListener(
            kind, event => window.seen.push([kind, event.lastEventId, JSON.parse(event.data)]));
}"""


async def test_a_browsers_event_source_goes_on_where_it_was(token: Token) -> None:
    """Chromium, with a cookie: it comes back by itself after a cut, with the id of what it got last."""
    async with browser_for_tests() as browser, running_router() as router:
        url = router.addresses.api_url
        context = await browser.new_context()
        await context.add_cookies([{"name": COOKIE, "value": token("ann"), "url": url, "httpOnly": True}])
        page = await context.new_page()
        await page.goto(f"{url}/healthz")
        await page.evaluate(_PAGE_SCRIPT, [f"{url}/v1/rooms/user:ann/stream", ["subscribed", "app.step"]])
        await page.wait_for_function("window.seen.length == 1")
        await publish(router, "user:ann", "app.step", {"n": 1})
        await page.wait_for_function("window.seen.length == 2")
        (state,) = router.registry.states
        state.wire.cut()  # type: ignore[attr-defined]  # of a stream's wire
        await publish(router, "user:ann", "app.step", {"n": 2})
        await page.wait_for_function("window.seen.length == 4")
        await publish(router, "user:ann", "app.step", {"n": 3})
        await page.wait_for_function("window.seen.length == 5")
        seen = await page.evaluate("window.seen")
        epoch = seen[0][2]["epoch"]
        assert [(kind, id) for kind, id, _ in seen] == [
            ("subscribed", f"{epoch}:0"),
            ("app.step", f"{epoch}:1"),
            ("subscribed", f"{epoch}:1"),
            ("app.step", f"{epoch}:2"),
            ("app.step", f"{epoch}:3"),
        ]
        assert (seen[2][2]["recovery"], seen[2][2]["replay"]) == ("full", 1)
        await page.evaluate("window.source.close()")
        await wait_until(lambda: not len(router.registry), "the page has left")
        await context.close()


# --- order, and the way back


async def test_every_event_comes_in_the_rooms_order(router: Router) -> None:
    """As for a WebSocket client in the same room, with the state first and the same fields."""
    async with (
        NativeClient(router.addresses.ws_url) as client,
        EventSource(router.addresses.api_url, ROOM) as source,
    ):
        joined = await client.subscribe(ROOM)
        first = await source.next()
        assert (first.event, first.data["state"]) == ("subscribed", joined["state"])
        await asyncio.gather(*(fill(router, ROOM, n, n + 99) for n in (1, 101, 201)))
        blocks = await source.take(300)
        assert follows(blocks, 0) == 300
        assert [block.data for block in blocks] == (await Stream(client, ROOM).until(300)).events


async def test_frames_are_encoded_once_for_all_streams_of_a_room(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share a codec, and rooms write to them directly."""
    async with EventSource(router.addresses.api_url, ROOM) as one, EventSource(router.addresses.api_url, ROOM) as two:
        assert [(await source.next()).event for source in (one, two)] == ["subscribed"] * 2
        states = router.registry.states
        assert len({id(state.wire.codec) for state in states}) == 1
        await wait_until(lambda: all(state.mailbox.line.open for state in states), "nothing waits")  # type: ignore[union-attr]  # they have one
        monkeypatch.setattr(Connection, "on_batch_end", lambda self: pytest.fail("an actor had something to do"))
        await publish(router, ROOM, "app.step", {"n": 1})
        assert [values([await source.next()]) for source in (one, two)] == [[1], [1]]


async def test_a_stream_that_is_cut_goes_on_after_the_last_event_id(router: Router) -> None:
    """Over and over, at any place: nothing is lost and nothing comes twice."""
    url, seen, id = router.addresses.api_url, list[int](), ""
    await fill(router, ROOM, 1, 1)  # so that there is a position
    async with EventSource(url, ROOM, query={"history": "1"}) as source:
        seen += values(await source.take(2))
        id = source.id
    for round_ in range(1, 11):
        await fill(router, ROOM, 10 * round_ - 8, 10 * round_ + 1)
        async with EventSource(url, ROOM, last_event_id=id) as source:
            subscribed = await source.next()
            assert (subscribed.data["recovery"], subscribed.id) == ("full", id)
            seen += values(await source.take(round_ % 4))
            id = source.id
    async with EventSource(url, ROOM, query={"last_event_id": id}) as source:
        await source.next()
        seen += values(await source.take(101 - len(seen)))
    assert seen == list(range(1, 102))


async def test_after_the_router_was_killed_a_stream_goes_on_in_full(
    start_router: Callable[..., RouterProcess], tmp_path: Any
) -> None:
    """The position is good in the next process, too: `kill -9`, and the same journal."""
    journal = str(tmp_path / "journal.db")
    process = start_router("--dev", "--journal", journal)
    async with aiohttp.ClientSession() as session:
        events = [{"room": ROOM, "kind": "app.step", "data": {"n": n}} for n in range(1, 11)]
        async with EventSource(process.api_url, ROOM) as source:
            await source.next()
            await HttpService(session, process.api_url).publish(*events)
            assert values(await source.take(4)) == [1, 2, 3, 4]
            process.signal(signal.SIGKILL)
            process.wait()
            id = (await source.take(1))[0].id  # it was on its way
        process = start_router("--dev", "--journal", journal)
        async with EventSource(process.api_url, ROOM, last_event_id=id) as source:
            subscribed = await source.next()
            assert subscribed.data["recovery"] == "full"
            assert subscribed.id == id
            blocks = await source.take(5)
            assert values(blocks) == [6, 7, 8, 9, 10]
            assert follows(blocks, 5) == 10


async def test_what_is_gone_is_said() -> None:
    """`partial` names what is missing, and `none` that the position means nothing any more."""
    async with running_router(dev=True, history_events=50) as router:
        url = router.addresses.api_url
        await fill(router, ROOM, 1, 400)
        async with EventSource(url, ROOM) as source:
            epoch = (await source.next()).data["epoch"]
        async with EventSource(url, ROOM, last_event_id=f"{epoch}:2") as source:
            subscribed = await source.next()
            assert subscribed.data["recovery"] == "partial"
            assert subscribed.data["missing"]["from"] == 3
            assert subscribed.id == f"{epoch}:2", "what is missing was not got: who comes back is told again"
            assert follows(await source.take(subscribed.data["replay"]), subscribed.data["missing"]["to"]) == 400
        async with EventSource(url, ROOM, last_event_id="another:2") as source:
            subscribed = await source.next()
            assert (subscribed.data["recovery"], subscribed.data["replay"]) == ("none", 0)
            assert subscribed.id == f"{epoch}:400"


async def test_a_stream_may_begin_with_old_events_of_some_kinds_and_without_the_state(router: Router) -> None:
    await fill(router, ROOM, 1, 3)
    await publish(router, ROOM, "app.other", {"n": 4})
    query = {"history": "3", "kinds": "app.step,app.more", "state": "false"}
    async with EventSource(router.addresses.api_url, ROOM, query=query) as source:
        subscribed = await source.next()
        assert "state" not in subscribed.data
        assert values(await source.take(2)) == [2, 3]
        await publish(router, ROOM, "app.more", {"n": 5})
        skipped, event = await source.take(2)
        assert (skipped.event, skipped.data["reason"]) == ("skipped", "filtered")
        assert follows([skipped, event], 3) == 5


async def test_a_room_that_was_never_used_begins_with_its_reader(router: Router) -> None:
    """As with `subscribe` over WebSocket."""
    async with EventSource(router.addresses.api_url, "doc:new") as source:
        subscribed = await source.next()
        assert (subscribed.data["offset"], subscribed.data["recovery"]) == (0, "fresh")


# --- the end of it


async def test_a_room_that_is_removed_ends_its_streams(router: Router) -> None:
    """With the reason; who comes back with the old position is told that it means nothing any more."""
    url = router.addresses.api_url
    async with EventSource(url, ROOM) as source:
        await source.next()
        await fill(router, ROOM, 1, 1)
        async with aiohttp.ClientSession() as session, session.delete(f"{url}/v1/rooms/{ROOM}") as answer:
            assert (await answer.json())["revoked"] == 1
        _, revoked, closed = await source.rest()
        assert (revoked.event, revoked.data["room"]) == ("revoked", ROOM)
        assert (closed.event, closed.data["code"]) == ("closed", 1000)
    async with EventSource(url, ROOM, last_event_id=source.id) as source:
        assert (await source.next()).data["recovery"] == "none"


async def test_a_right_that_ends_ends_the_stream(guarded_router: Router, token: Token) -> None:
    """A session that goes over to another user is not its former owner's any more; who comes back is refused."""
    url = guarded_router.addresses.api_url
    await publish(guarded_router, "session:1", "session", {"status": "started", "owner": "ann"})
    async with EventSource(url, "session:1", token("ann")) as source:
        await source.next()
        await publish(guarded_router, "session:1", "session", {"status": "started", "owner": "bob"})
        assert [block.event for block in await source.rest()][-2:] == ["revoked", "closed"]
    async with EventSource(url, "session:1", token("ann")) as source:
        assert source.status == 403


async def test_an_operator_sends_a_user_out_of_the_room_or_away(guarded_router: Router, token: Token) -> None:
    url, anns = guarded_router.addresses.api_url, token("ann", rooms=("team:1",))
    headers = {"Authorization": f"Bearer {token('op', 'admin')}"}
    async with aiohttp.ClientSession(url, headers=headers) as operator:
        async with EventSource(url, "team:1", anns) as source:
            await source.next()
            async with operator.delete("/v1/users/ann/rooms/team:1") as answer:
                assert (await answer.json())["connections"] == 1
            assert [block.event for block in await source.rest()] == ["revoked", "closed"]
        async with EventSource(url, "team:1", anns, headers={"User-Agent": "test"}) as source:
            await source.next()
            async with operator.get("/v1/connections") as answer:
                (line,) = (await answer.json())["connections"]
            assert (line["protocol"], line["user"], line["client"], line["rooms"]) == ("sse", "ann", "test", 1)
            async with operator.delete(f"/v1/connections/{line['id']}") as answer:
                assert answer.status == 200
            (closed,) = await source.rest()
            assert (closed.event, closed.data["code"]) == ("closed", 4009)


async def test_a_token_that_ends_is_announced_and_then_ends_the_stream(token: Token) -> None:
    async with running_router(token_warning_s=60.0, token_grace_s=0.1) as router:
        async with EventSource(router.addresses.api_url, "user:ann", token("ann", ttl_s=1)) as source:
            notice, closed = (await source.rest())[1:]
            assert (notice.event, notice.data["code"]) == ("notice", "token_expiring")
            assert (closed.event, closed.data) == ("closed", {"code": 4410, "reason": "token_expired"})
        async with EventSource(router.addresses.api_url, "user:ann", source.headers["Authorization"][7:]) as source:
            assert source.status == 401


async def test_a_stream_is_kept_alive_by_comments() -> None:
    """So that no proxy takes it for dead, and TCP finds a client that is."""
    async with (
        running_router(dev=True, heartbeat_s=0.05, pong_timeout_s=0.05) as router,
        EventSource(router.addresses.api_url, ROOM) as source,
    ):
        await source.next()
        async with asyncio.timeout(WAIT_S):
            assert await source.content.readuntil(b"\n") == b": ping\n"
        await publish(router, ROOM, "app.step", {"n": 1})
        assert values([await source.next()]) == [1]


async def test_comments_are_no_events_to_a_parser_that_remembers_the_last_id() -> None:
    """As httpx-sse, which ends an event at each blank line then."""
    async with (
        asyncio.timeout(WAIT_S),
        running_router(dev=True, heartbeat_s=0.05, pong_timeout_s=0.05) as router,
        httpx.AsyncClient(trust_env=False) as client,
        httpx_sse.aconnect_sse(client, "GET", f"{router.addresses.api_url}/v1/rooms/{ROOM}/stream") as source,
        EventSource(router.addresses.api_url, ROOM) as beside,
    ):
        events = source.aiter_sse()
        assert (await anext(events)).event == "subscribed"
        await beside.next()
        for _ in range(3):
            assert await beside.content.readuntil(b"\n") == b": ping\n"
        await publish(router, ROOM, "app.step", {"n": 1})
        assert (await anext(events)).event == "app.step"
        await events.aclose()  # type: ignore[attr-defined]  # it is a generator


# --- clients that do not read


PADDING = "x" * 4000


async def test_a_slow_reader_gets_the_newest_progress_and_a_marker(router: Router) -> None:
    """Old values give way to newer ones, markers keep the chain whole, and what must be kept is."""
    async with SlowSource(router.addresses.api_url, ROOM) as source:
        (state,) = router.registry.states
        n, since = 0, 0
        while since < 300:
            n, since = n + 1, since + state.outbox.conflating
            await publish(router, ROOM, "progress", {"current": n, "text": PADDING}, key="k")
        await publish(router, ROOM, "app.step", {"n": n})
        blocks = await source.until("app.step")
        assert follows(blocks, 0) == n + 1
        skipped = [block.data for block in blocks if block.event == "skipped"]
        assert {each["reason"] for each in skipped} == {"conflated"}
        assert blocks[-2].data["data"]["current"] == n
        assert len(blocks) < n - 200


async def test_a_reader_that_takes_nothing_is_cut(logged: Log) -> None:
    """It costs its bound at most; others notice nothing; what it is owed waits in the room."""
    async with (
        running_router(dev=True, stall_s=0.5, outbox_bytes=2**20) as router,
        SlowSource(router.addresses.api_url, ROOM) as stalled,
        EventSource(router.addresses.api_url, ROOM) as source,
    ):
        assert [(await each.next()).event for each in (stalled, source)] == ["subscribed"] * 2
        (state, _) = router.registry.states
        most = n = 0
        while len(router.registry) == 2:
            n += 1
            await publish(router, ROOM, "progress", {"current": n, "text": PADDING}, key="k")
            most = max(most, state.outbox.size + state.wire.buffered)
            assert (await source.next()).data["data"]["current"] == n
        assert most <= 2**20
        assert (await stalled.rest())[-1].event == "progress"
    (line,) = [line for line in logged if line["event"] == "connection_closed" and line["stalled"]]
    assert line["by"] == "router"


async def test_a_reader_that_is_too_slow_for_what_must_be_kept_is_closed(logged: Log) -> None:
    """With 4002 behind what it was sent; it comes back with the position it has, and gets the rest."""
    async with running_router(dev=True, outbox_bytes=128 * 1024) as router:
        async with SlowSource(router.addresses.api_url, ROOM) as source:
            n = 0
            while not any(line["event"] == "slow_consumer" for line in logged):
                n += 1
                await publish(router, ROOM, "app.step", {"n": n, "text": PADDING})
            blocks = await source.rest()
            assert (blocks[-1].event, blocks[-1].data["code"]) == ("closed", 4002)
            assert values(blocks[:-1]) == list(range(1, len(blocks) - 1))
        async with EventSource(router.addresses.api_url, ROOM, last_event_id=source.id) as source:
            assert (await source.next()).data["recovery"] == "full"
            assert values(await source.take(n + 2 - len(blocks))) == list(range(len(blocks) - 1, n + 1))


# --- failures


async def test_a_connection_actor_that_fails_is_repaired_under_the_open_response(router: Router, logged: Log) -> None:
    """Every event once and in order in the same response; one notice says that something was."""
    async with EventSource(router.addresses.api_url, ROOM) as source:
        await source.next()
        (state,) = router.registry.states
        for first in (1, 21, 41):
            await fill(router, ROOM, first, first + 19)
            crash(state.mailbox)
        await fill(router, ROOM, 61, 80)
        blocks: list[Block] = []
        while not blocks or blocks[-1].id.rpartition(":")[2] != "80":
            blocks.append(await source.next())
        assert follows(blocks, 0) == 80
        assert values(blocks) == list(range(1, 81))
        notices = [block.data for block in blocks if block.event == "notice"]
        assert notices
        assert all(notice == {"type": "notice", "code": "resumed", "rooms": [ROOM]} for notice in notices)
        assert state.restarts == 3


async def test_a_failure_before_the_stream_has_begun_is_an_error(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client can ask again; nothing is left of the first time."""
    fail_on_message(monkeypatch, Connection, Joined)
    async with EventSource(router.addresses.api_url, ROOM) as source:
        assert source.status == 500
        assert (await source.problem())["code"] == "internal"
    await wait_until(lambda: not len(router.registry) and not len(router.ledger), "nothing is left")
    async with EventSource(router.addresses.api_url, ROOM) as source:
        assert (await source.next()).event == "subscribed"


async def test_a_connection_that_is_given_up_ends_its_stream(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    async with EventSource(router.addresses.api_url, ROOM) as source:
        await source.next()
        (state,) = router.registry.states
        for _ in range(4):
            crash(state.mailbox)
        assert (await source.rest())[-1].data["code"] == 1011


# --- the router stops


async def test_a_drain_tells_each_stream_when_to_come_back_and_ends_it(logged: Log) -> None:
    """Browsers come back by themselves then, each in its slot, and not before the router can have stopped."""
    async with AsyncExitStack() as clients:
        async with running_router(dev=True, drain_s=5.0) as router:
            sources = [EventSource(router.addresses.api_url, ROOM) for _ in range(3)]
            for source in sources:
                await clients.enter_async_context(source)
                await source.next()
        for source in sources:
            notice, closed = await source.rest()
            assert (notice.event, notice.data["code"]) == ("notice", "draining")
            assert notice.retry == 2000
            assert (closed.event, closed.data["code"]) == ("closed", 1001)
    assert not [line for line in logged if line["event"] == "drain_timed_out"]


async def test_a_stream_that_does_not_end_in_time_is_cut_and_new_ones_are_sent_back(logged: Log) -> None:
    """As a stream that ends at once: a browser comes back after one, and gives up after an error."""
    async with AsyncExitStack() as clients:
        async with running_router(dev=True, drain_s=0.3) as router:
            slow = await clients.enter_async_context(SlowSource(router.addresses.api_url, ROOM))
            await slow.next()
            (state,) = router.registry.states
            while not state.wire.paused:
                await publish(router, ROOM, "app.step", {"n": 1, "text": PADDING})

            async def come_too_late() -> list[Block]:
                await wait_until(lambda: state.draining, "it drains, and waits for the slow one")
                async with EventSource(router.addresses.api_url, ROOM) as source:
                    assert source.status == 200
                    return await source.rest()

            late = asyncio.create_task(come_too_late())
        (notice,) = await late
        assert (notice.data["code"], notice.retry) == ("draining", 2000)
        assert (await slow.rest())[-1].event == "app.step"
    assert [line["connections"] for line in logged if line["event"] == "drain_timed_out"] == [1]


async def test_a_room_that_does_not_answer_is_not_waited_for_for_ever(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.http.event_streams._PATIENCE_S", 0.05)
    monkeypatch.setitem(Connection._handlers, Joined, lambda *_: None)
    async with EventSource(router.addresses.api_url, ROOM) as source:
        assert source.status == 503
        assert source.response.headers["Retry-After"] == "1"
        assert json.loads(await source.response.read())["code"] == "busy"
    await wait_until(lambda: not len(router.registry), "nobody is left")
