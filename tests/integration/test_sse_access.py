"""Who may follow a room as an event stream, from which pages, and how many: errors come before the stream begins."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from server import descriptors
from server.app import Router
from server.http.access import COOKIE

from ..conftest import running_router
from ..event_source import EventSource
from ..native_client import WAIT_S, Message, NativeClient
from .services import publish, wait_until

Token = Callable[..., str]

PAGE = "https://app.example.com"


async def refused(router: Router, room: str, token: str | None = None, **options: Any) -> tuple[int, Message]:
    """Return status and problem of a stream that is refused."""
    async with EventSource(router.addresses.api_url, room, token, **options) as source:
        return source.status, await source.problem()


@pytest.mark.parametrize(
    ("role", "room", "status"),
    [
        ("user", "user:ann", 200),
        ("user", "broadcast", 200),
        ("user", "team:1", 200),
        ("user", "team:2", 403),
        ("user", "user:bob", 403),
        ("user", "session:anns", 200),
        ("user", "session:bobs", 403),
        ("user", "session:unused", 403),
        ("user", "system:supervisor", 403),
        ("service", "team:1", 200),
        ("service", "team:2", 403),
        ("service", "system:supervisor", 403),
        ("admin", "team:2", 200),
        ("admin", "system:supervisor", 200),
    ],
)
async def test_a_stream_gives_what_the_token_gives_over_websocket(
    guarded_router: Router, token: Token, role: str, room: str, status: int
) -> None:
    """The same rights for the same room; the error comes as one, before there is a stream."""
    for owner in ("ann", "bob"):
        await publish(guarded_router, f"session:{owner}s", "session", {"status": "started", "owner": owner})
    rights = token("ann", role, rooms=("team:1",))
    async with NativeClient(guarded_router.addresses.ws_url, rights) as client:
        own = room in client.welcome["rooms"]
        answer = {"type": "subscribed"} if own else await client.ask("subscribe", room=room)
    async with EventSource(guarded_router.addresses.api_url, room, rights) as source:
        assert source.status == status
        assert answer["type"] == ("subscribed" if status == 200 else "error")
        if status == 200:
            assert (await source.next()).data["room"] == room
        else:
            problem = await source.problem()
            assert (problem["code"], problem["code"]) == (answer["code"], "forbidden")
    await wait_until(lambda: not len(guarded_router.registry), "nobody is left")


async def test_a_stream_is_of_the_room_that_was_asked_for_and_of_no_other(guarded_router: Router, token: Token) -> None:
    """What WebSocket clients join by themselves, and what an operator has the user join, does not come here."""
    url = guarded_router.addresses.api_url
    async with EventSource(url, "team:1", token("ann", rooms=("team:1",))) as source:
        assert (await source.next()).event == "subscribed"
        headers = {"Authorization": f"Bearer {token('op', 'admin')}"}
        async with (
            aiohttp.ClientSession(headers=headers) as operator,
            operator.put(f"{url}/v1/users/ann/rooms/team:2") as answer,
        ):
            assert answer.status == 200
        for room in ("user:ann", "broadcast", "team:2", "team:1"):
            await publish(guarded_router, room, "app.thing", {"room": room})
        assert (await source.next()).data["data"] == {"room": "team:1"}


async def test_without_a_token_that_counts_there_is_no_stream(guarded_router: Router, token: Token) -> None:
    status, problem = await refused(guarded_router, "team:1")
    assert (status, problem["code"]) == (401, "unauthenticated")
    status, problem = await refused(guarded_router, "team:1", "nonsense")
    assert (status, problem["code"]) == (401, "unauthenticated")
    status, problem = await refused(guarded_router, "user:ann", token("ann", ttl_s=-5))
    assert (status, problem["code"]) == (401, "token_expired")
    assert not len(guarded_router.registry)


async def test_a_refusal_is_counted_once(guarded_router: Router, token: Token) -> None:
    """As one over HTTP, whoever refused."""
    await refused(guarded_router, "team:1", token("ann"))
    await refused(guarded_router, "team:1")
    assert guarded_router.meters.rejected == {("http", "forbidden"): 1, ("http", "unauthenticated"): 1}


@pytest.mark.parametrize(
    ("room", "options"),
    [
        ("team", {}),
        ("team:*", {}),
        ("team:1", {"last_event_id": "nonsense"}),
        ("team:1", {"query": {"last_event_id": "nonsense"}}),
        ("team:1", {"query": {"history": "301"}}),
        ("team:1", {"query": {"history": "-1"}}),
        ("team:1", {"query": {"kinds": ",".join(f"app.k{n}" for n in range(33))}}),
        ("team:1", {"query": {"state": "perhaps"}}),
        ("team:1", {"query": {"token": "eyJ"}}),
        ("team:1", {"query": {"access_token": "eyJ"}}),
    ],
)
async def test_what_cannot_be_asked_for_is_a_problem(router: Router, room: str, options: dict[str, Any]) -> None:
    status, problem = await refused(router, room, **options)
    assert (status, problem["code"]) == (400, "bad_message")
    assert problem["detail"]


async def test_the_path_takes_get_and_head(router: Router) -> None:
    """HEAD is answered as GET would be, and nobody is connected by it."""
    url = f"{router.addresses.api_url}/v1/rooms/team:1/stream"
    async with aiohttp.ClientSession() as session:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            async with session.request(method, url) as answer:
                assert answer.status == 405, method
                assert answer.headers["Allow"] == "GET, HEAD"
        async with session.head(url) as answer:
            assert answer.status == 200
            assert answer.content_type == "text/event-stream"
        async with session.head(f"{router.addresses.api_url}/v1/rooms/team/stream") as answer:
            assert answer.status == 400
    assert not len(router.registry)


# --- cookies and pages


async def test_the_token_may_come_in_a_cookie(guarded_router: Router, token: Token) -> None:
    """Browsers can send no header with an EventSource. The header counts where both are there."""
    url, anns = guarded_router.addresses.api_url, {"Cookie": f"{COOKIE}={token('ann')}"}
    async with EventSource(url, "user:ann", headers=anns) as source:
        assert (await source.next()).event == "subscribed"
    async with EventSource(url, "user:bob", token("bob"), headers=anns) as source:
        assert source.status == 200
    status, problem = await refused(guarded_router, "user:ann", headers={"Cookie": f"{COOKIE}=nonsense"})
    assert (status, problem["code"]) == (401, "unauthenticated")


async def test_the_cookie_counts_for_streams_only(guarded_router: Router, token: Token) -> None:
    """Browsers send it along with whatever a page asks for: with it nothing can be changed, or asked for else."""
    cookie = {"Cookie": f"{COOKIE}={token('op', 'admin')}"}
    async with aiohttp.ClientSession(headers=cookie) as session:
        for method, path in (("GET", "/v1/rooms"), ("POST", "/v1/publish"), ("DELETE", "/v1/rooms/team:1")):
            async with session.request(method, f"{guarded_router.addresses.api_url}{path}") as answer:
                assert answer.status == 401, path


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_the_cookie_does_not_count_for_what_another_page_embeds(
    guarded_router: Router, token: Token, site: str
) -> None:
    """An image of another page brings the cookie and no origin; the browser says where it comes from otherwise."""
    headers = {"Cookie": f"{COOKIE}={token('ann')}", "Sec-Fetch-Site": site}
    status, problem = await refused(guarded_router, "user:ann", headers=headers)
    assert (status, problem["code"]) == (403, "forbidden")
    headers["Sec-Fetch-Site"] = "same-origin"
    async with EventSource(guarded_router.addresses.api_url, "user:ann", headers=headers) as source:
        assert source.status == 200


async def test_pages_of_other_origins_are_turned_away(guarded_router: Router, token: Token) -> None:
    for headers in ({"Cookie": f"{COOKIE}={token('ann')}"}, {"Authorization": f"Bearer {token('ann')}"}):
        status, _ = await refused(guarded_router, "user:ann", headers={**headers, "Origin": PAGE})
        assert status == 403


async def test_pages_of_configured_origins_may_read_the_stream(token: Token) -> None:
    """With their cookie: that is what these answer headers allow; nobody else gets them."""
    async with running_router(origins=(PAGE,)) as router:
        cookie = {"Cookie": f"{COOKIE}={token('ann')}", "Sec-Fetch-Site": "same-site"}
        async with EventSource(router.addresses.api_url, "user:ann", headers={**cookie, "Origin": PAGE}) as source:
            assert source.response.headers["Access-Control-Allow-Origin"] == PAGE
            assert source.response.headers["Access-Control-Allow-Credentials"] == "true"
            assert source.response.headers["Vary"] == "Origin"
            assert (await source.next()).event == "subscribed"
        async with EventSource(router.addresses.api_url, "user:ann", token("ann")) as source:
            assert not any(name.startswith("Access-Control") for name in source.response.headers)
        status, _ = await refused(router, "user:ann", headers={**cookie, "Origin": f"{PAGE}.evil.example"})
        assert status == 403


# --- limits


@pytest.fixture
async def sources() -> AsyncIterator[AsyncExitStack]:
    """Streams of a test, which end with it."""
    async with AsyncExitStack() as stack:
        yield stack


async def follow(sources: AsyncExitStack, router: Router, room: str, token: str | None = None) -> EventSource:
    """Open a stream that must begin."""
    source = await sources.enter_async_context(EventSource(router.addresses.api_url, room, token))
    assert source.status == 200
    await source.next()
    return source


@pytest.mark.parametrize(
    ("limit", "what"),
    [
        ({"max_connections": 2}, "this router has its 2 connections"),
        ({"max_connections_per_address": 2}, "your address has its 2 connections"),
        ({"max_connections_per_user": 2}, "user ann has 2 connections"),
    ],
)
async def test_streams_and_sockets_count_together(
    token: Token, sources: AsyncExitStack, limit: dict[str, int], what: str
) -> None:
    """One more than there may be is told when to come back; when one goes there is room again."""
    async with running_router(**limit) as router:
        first = await follow(sources, router, "user:ann", token("ann"))
        async with NativeClient(router.addresses.ws_url, token("ann")):
            async with EventSource(router.addresses.api_url, "user:ann", token("ann")) as source:
                assert source.status == 429
                assert source.response.headers["Retry-After"] == "1"
                assert (await source.problem())["detail"] == what
            first.response.close()
            await wait_until(lambda: len(router.registry) == 1, "the first one is gone")
            await follow(sources, router, "user:ann", token("ann"))
        await sources.aclose()


async def test_streams_leave_sockets_of_the_api_to_operators(
    token: Token, sources: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thirds of the API's sockets are the most that streams get, whoever asks for more."""
    monkeypatch.setattr(descriptors, "MOST_REQUESTS", 6)
    async with running_router() as router:
        for _ in range(4):
            await follow(sources, router, "broadcast", token("ann"))
        async with EventSource(router.addresses.api_url, "broadcast", token("ann")) as source:
            assert source.status == 503
            assert source.response.headers["Retry-After"] == "1"
            assert (await source.problem())["code"] == "busy"
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token('op', 'admin')}"}) as operator,
            operator.get(f"{router.addresses.api_url}/v1/connections") as answer,
        ):
            assert [each["protocol"] for each in (await answer.json())["connections"]] == ["sse"] * 4
        await sources.aclose()


async def test_a_refused_stream_leaves_its_socket_to_other_requests(guarded_router: Router, token: Token) -> None:
    """The answer has an end, as any other, and the next request may come on the same socket."""
    opened: list[object] = []
    tracing = aiohttp.TraceConfig()

    async def note(_session: object, _context: object, params: object) -> None:
        opened.append(params)

    tracing.on_connection_create_end.append(note)
    async with aiohttp.ClientSession(
        guarded_router.addresses.api_url,
        trace_configs=[tracing],
        headers={"Authorization": f"Bearer {token('ann')}"},
        connector=aiohttp.TCPConnector(limit=1),
    ) as session:
        for path, status in (("/v1/rooms/team:1/stream", 403), ("/healthz", 200), ("/v1/rooms/team:1/stream", 403)):
            async with session.get(path) as answer:
                assert answer.status == status
                await answer.read()
        async with session.get("/v1/rooms/user:ann/stream") as answer:
            assert answer.status == 200
            assert (await answer.content.readline()).startswith(b"id: ")
    assert len(opened) == 1


async def test_a_client_that_speaks_http_1_0_gets_the_same_stream(router: Router) -> None:
    """Some proxies do by default. There are no chunks to be taken for events: the body ends with the socket."""
    parts = urlsplit(router.addresses.api_url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(b"GET /v1/rooms/team:1/stream HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        async with asyncio.timeout(WAIT_S):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.0 200")
            assert (await reader.readuntil(b"\n\n")).startswith(b"id: ")
            await publish(router, "team:1", "app.thing", {})
            assert (await reader.readuntil(b"\n\n")).startswith(b"id: ")
    finally:
        writer.close()


async def test_a_stream_is_never_compressed(router: Router) -> None:
    """A compressor would keep events back; and they are written once for all."""
    headers = {"Accept-Encoding": "gzip, deflate, br"}
    async with EventSource(router.addresses.api_url, "team:1", headers=headers) as source:
        assert "Content-Encoding" not in source.response.headers
        assert source.response.headers["Cache-Control"] == "no-store"
        assert source.response.headers["X-Accel-Buffering"] == "no"
        assert (await source.next()).event == "subscribed"


async def test_a_client_that_hangs_up_before_the_answer_leaves_nothing(router: Router) -> None:
    parts = urlsplit(router.addresses.api_url)
    for _ in range(20):
        with socket.create_connection((parts.hostname, parts.port)) as client:
            client.sendall(b"GET /v1/rooms/team:1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await asyncio.sleep(0)
    await wait_until(lambda: router.meters.opened == sum(router.meters.closed.values()), "all are gone")
    assert not len(router.registry)
