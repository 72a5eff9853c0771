"""The opening handshake: who may connect, what is refused with which status, and what an unfinished one costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from server.app import Router

from ..conftest import running_router
from ..native_client import NativeClient
from ..raw_client import RawClient

ALLOWED = "https://app.example.com"
LONG = ".".join(["a" * 61] * 4)


async def status(router: Router, *headers: str, path: str = "/v1/ws", host: str | None = None) -> int:
    """Ask for a WebSocket; return the status of the answer."""
    async with RawClient(router.addresses.ws_url) as client:
        return (await client.upgrade(*headers, path=path, host=host))[0]


def port(url: str) -> int:
    """Return the port of a URL."""
    found = urlsplit(url).port
    assert found is not None
    return found


@pytest.mark.parametrize("dev", [True, False])
async def test_a_page_of_the_same_host_may_connect(dev: bool) -> None:
    """Its origin is the host that it connects to, or the API's port there; a program sends none."""
    async with running_router(dev=dev) as each:
        ws, api = port(each.addresses.ws_url), port(each.addresses.api_url)
        assert await status(each) == 101
        assert await status(each, f"Origin: http://127.0.0.1:{ws}") == 101
        assert await status(each, f"Origin: https://127.0.0.1:{ws}") == 101
        assert await status(each, f"Origin: http://127.0.0.1:{api}") == 101
        assert await status(each, f"Origin: http://localhost:{ws}", host=f"localhost:{ws}") == 101
        assert await status(each, f"Origin: http://localhost:{api}", host=f"localhost:{ws}") == 101


@pytest.mark.parametrize("path", ["//[", "//[x]/v1/ws", "//]"])
async def test_a_path_that_is_none_is_a_bad_request(
    router: Router, logged: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """Whatever is asked for, the router does not stumble over it."""
    async with RawClient(router.addresses.ws_url) as client:
        answer, _, body = await client.request(path=path)
        assert answer == 400
        assert b"Traceback" not in body
    assert await status(router, path=path) == 400
    assert await status(router) == 101
    assert [line for line in logged if line["log_level"] in ("error", "critical")] == []
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("dev", [True, False])
async def test_a_page_of_any_other_origin_may_not_connect(dev: bool) -> None:
    """Names that contain the right one, other ports and schemes, `null` and nonsense; the answer says what to do."""
    async with running_router(dev=dev) as each:
        ws = port(each.addresses.ws_url)
        for origin in (
            "https://evil.example",
            f"http://127.0.0.1:{ws}.evil.example",
            f"http://evil.example/http://127.0.0.1:{ws}",
            f"http://evil.example:{ws}",
            f"http://x@127.0.0.1:{ws}",
            f"http://127.0.0.1:{ws}/",
            f"http://127.0.0.1:{ws}#",
            "http://127.0.0.1",
            "http://127.0.0.1:1",
            f"http://localhost:{ws}",
            f"ws://127.0.0.1:{ws}",
            f"file://127.0.0.1:{ws}",
            f"HTTP://127.0.0.1:{ws}",
            f"127.0.0.1:{ws}",
            "null",
            "",
            "://",
            "http://",
        ):
            async with RawClient(each.addresses.ws_url) as client:
                code, headers, body = await client.upgrade(f"Origin: {origin}")
                assert code == 403, origin
                assert b"POSTROOM_ORIGINS" in body
                assert headers["connection"] == "close"
                assert await client.ended() == b""


@pytest.mark.parametrize(
    ("settings", "origin", "advice"),
    [
        (
            {"dev": True},
            "http://localhost:5173",
            "POSTROOM_ORIGINS=http://localhost:5173,http://127.0.0.1:{api} postroom",
        ),
        ({}, "https://pages.example.com", "POSTROOM_ORIGINS=https://pages.example.com (`origins`)"),
        ({"origins": (ALLOWED,)}, "http://localhost:5173", "http://localhost:5173 added to POSTROOM_ORIGINS"),
        ({"dev": True}, "null", "python3 -m http.server 8080 --bind 127.0.0.1"),
        ({}, f"https://{LONG}", f"POSTROOM_ORIGINS=https://{LONG} (`origins`)"),
        ({}, "http://my_app:3000", "POSTROOM_ORIGINS=http://my_app:3000 (`origins`)"),
        ({"dev": True}, "http://x;reboot", "No browser sends this"),
        ({"dev": True}, "http://127.0.0.1:80", "No browser sends this"),
    ],
)
async def test_a_refused_page_and_the_log_say_how_to_allow_it(
    logged: list[dict[str, Any]], settings: dict[str, Any], origin: str, advice: str
) -> None:
    """The page may read it. A command is made of nothing but an origin, and the list that is set stays the router's."""
    async with running_router(**settings) as each, RawClient(each.addresses.ws_url) as client:
        _, headers, body = await client.upgrade(f"Origin: {origin}")
        api = port(each.addresses.api_url)
    said = body.decode().strip()
    assert advice.format(api=api) in said
    assert ALLOWED not in said
    assert headers["access-control-allow-origin"] == "*"
    (line,) = [line for line in logged if line["event"] == "origin_refused"]
    assert (line["origin"], line["reason"]) == (origin, said)


async def test_configured_origins_are_compared_as_a_whole() -> None:
    """A listed origin may connect, nothing that resembles it; the router's own host only if it is listed."""
    async with running_router(dev=True, origins=(ALLOWED,)) as router:
        assert await status(router) == 101
        assert await status(router, f"Origin: {ALLOWED}") == 101
        for origin in (
            f"{ALLOWED}.evil.example",
            f"{ALLOWED}:443",
            f"{ALLOWED}/",
            "http://app.example.com",
            "https://app.example.com.",
            "https://xapp.example.com",
            "https://APP.example.com",
            "https://sub.app.example.com",
            "null",
            f"http://127.0.0.1:{port(router.addresses.ws_url)}",
        ):
            assert await status(router, f"Origin: {origin}") == 403, origin


async def test_under_dev_a_name_that_was_made_to_point_here_is_refused(router: Router) -> None:
    """DNS rebinding: the page's origin and the host agree, and both are the attacker's."""
    ws = port(router.addresses.ws_url)
    for host in (f"evil.example:{ws}", f"localhost.evil.example:{ws}", f"127.0.0.1.nip.io:{ws}", "", "[::1"):
        assert await status(router, f"Origin: http://{host}", host=host or " ") == 403, host
        assert await status(router, host=host or " ") == 403, host


async def test_a_token_in_the_url_is_refused(guarded_router: Router, token: Callable[..., str]) -> None:
    """URLs end up in logs: 400, and the answer says where a token belongs; it does not repeat it."""
    good = token("ann")
    for query in (f"token={good}", f"access_token={good}", f"x=1&token={good}", f"%74oken={good}", f"token={good}&a"):
        async with RawClient(guarded_router.addresses.ws_url) as client:
            code, _, body = await client.upgrade(path=f"/v1/ws?{query}")
            assert code == 400, query
            assert b"hello" in body
            assert good.encode() not in body
    assert await status(guarded_router, path="/v1/ws?x=1&tokens=2") == 101


async def test_a_service_may_bring_its_token_in_the_header(guarded_router: Router, token: Callable[..., str]) -> None:
    """`hello` needs none then; one in `hello` counts more; a bad one is found out at `hello`."""
    url = guarded_router.addresses.ws_url
    headers = {"Authorization": f"Bearer {token('svc', 'service')}"}
    async with NativeClient(url, additional_headers=headers) as client:
        assert (client.welcome["user"], client.welcome["role"]) == ("svc", "service")
    async with NativeClient(url, token("ann"), additional_headers=headers) as client:
        assert (client.welcome["user"], client.welcome["role"]) == ("ann", "user")
    async with NativeClient(url, hello=False, additional_headers={"Authorization": "Bearer nonsense"}) as client:
        assert (await client.ask("hello"))["code"] == "unauthenticated"
        assert (await client.closed())[0] == 4401


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "Bearer ", "token", "Bearer a b", ""])
async def test_an_authorization_header_that_is_no_bearer_token_is_refused(router: Router, value: str) -> None:
    """401, before anything else is spent on the client."""
    assert await status(router, f"Authorization: {value}") == 401


@pytest.mark.parametrize(
    "headers",
    [
        ("Origin: http://127.0.0.1:1", "Origin: https://evil.example"),
        ("Authorization: Bearer a", "Authorization: Bearer b"),
        ("Host: 127.0.0.1",),
    ],
)
async def test_a_header_that_is_there_twice_is_refused(router: Router, headers: tuple[str, ...]) -> None:
    """Two parties that each read another one of them could be played off against each other."""
    assert await status(router, *headers) == 400


async def test_health_is_answered_on_the_websocket_port(router: Router) -> None:
    """To whoever asks, without an upgrade."""
    async with RawClient(router.addresses.ws_url) as client:
        code, headers, body = await client.request(path="/healthz")
        assert (code, json.loads(body)) == (200, {"status": "ok"})
        assert headers["content-type"] == "application/json"
        assert await client.ended() == b""
    assert await status(router, path="/healthz") == 200


@pytest.mark.parametrize("path", ["/", "/v1/ws/", "/v1", "/v1/ws2", "/V1/WS", "/v1//ws", "/v1/%77s", "/x?/v1/ws", "*"])
async def test_other_paths_are_not_found(router: Router, path: str) -> None:
    """404, with or without an upgrade."""
    assert await status(router, path=path) == 404
    async with RawClient(router.addresses.ws_url) as client:
        code, _, body = await client.request(path=path)
        assert code == 404
        assert b"WebSocket clients connect to /v1/ws" in body
        assert b"port of their own, 8001" in body


async def test_a_plain_request_for_the_websocket_is_told_to_upgrade(router: Router) -> None:
    """426 and not a hanging connection."""
    async with RawClient(router.addresses.ws_url) as client:
        code, headers, _ = await client.request()
        assert code == 426
        assert headers["upgrade"] == "websocket"
        assert await client.ended() == b""


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"Sec-WebSocket-Version": "12"}, 400),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Connection": "keep-alive"}, 426),
        ({"Upgrade": "h2c"}, 426),
    ],
)
async def test_a_wrong_upgrade_is_refused(router: Router, changed: dict[str, str], expected: int) -> None:
    """RFC 6455, 4.2.1: each header that must be there and right."""
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **changed,
    }
    async with RawClient(router.addresses.ws_url) as client:
        code, _, _ = await client.request(*(f"{name}: {value}" for name, value in headers.items()))
        assert code == expected


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /v1/ws HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /v1/ws\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v1/ws HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /v1/ws HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"\r\n" * 100,
        b"\x00" * 100_000,
    ],
)
async def test_what_is_no_handshake_is_refused_and_closed(request_bytes: bytes) -> None:
    """An HTTP error or nothing, and the connection ends; other clients are served."""
    async with (
        running_router(dev=True, handshake_timeout_s=0.3) as router,
        RawClient(router.addresses.ws_url) as client,
        NativeClient(router.addresses.ws_url) as other,
    ):
        await client.send(request_bytes)
        answer = await client.ended()
        assert answer[:10] in (b"", b"HTTP/1.1 4", b"HTTP/1.1 5"), answer
        assert answer[:12] != b"HTTP/1.1 500", answer
        assert (await other.ask("ping"))["type"] == "pong"


async def test_the_subprotocol_is_chosen_where_it_is_offered(router: Router) -> None:
    """A client may offer `postroom.v1`, nothing, or others besides it; one that is not known is not chosen."""
    for offered, chosen in (
        (None, None),
        ("postroom.v1", "postroom.v1"),
        ("chat, postroom.v1", "postroom.v1"),
        ("chat", None),
        ("postroom.v2", None),
        ("POSTROOM.V1", None),
    ):
        headers = () if offered is None else (f"Sec-WebSocket-Protocol: {offered}",)
        async with RawClient(router.addresses.ws_url) as client:
            code, answer, _ = await client.upgrade(*headers)
            assert code == 101, offered
            assert answer.get("sec-websocket-protocol") == chosen


async def test_no_extension_is_negotiated(router: Router) -> None:
    """Unless compression is turned on: it costs the client time and memory."""
    async with RawClient(router.addresses.ws_url) as client:
        _, headers, _ = await client.upgrade("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
        assert "sec-websocket-extensions" not in headers


async def test_a_handshake_that_is_not_finished_in_time_is_cut() -> None:
    """Whether nothing comes, or one header after the other without an end."""
    async with (
        running_router(dev=True, handshake_timeout_s=0.3) as router,
        NativeClient(router.addresses.ws_url) as other,
    ):
        async with RawClient(router.addresses.ws_url) as silent, RawClient(router.addresses.ws_url) as slow:
            ended = asyncio.gather(silent.ended(), slow.ended())
            await slow.send(b"GET /v1/ws HTTP/1.1\r\n")
            while not ended.done():
                try:
                    await slow.send(b"X: y\r\n")
                except ConnectionError:
                    break
                await asyncio.sleep(0.05)
            assert await ended == [b"", b""]
        assert (await other.ask("ping"))["type"] == "pong"


async def test_unfinished_handshakes_are_bounded() -> None:
    """Past the bound the oldest one gives way to the newcomer; open connections do not count."""
    async with running_router(dev=True, max_handshakes=3) as router:
        url = router.addresses.ws_url
        async with (
            NativeClient(url),
            NativeClient(url),
            NativeClient(url),
            RawClient(url) as one,
            RawClient(url) as two,
            RawClient(url) as three,
        ):
            for client in (one, two, three):
                await client.send(b"GET /v1/ws HTTP/1.1\r\n")
            async with RawClient(url) as another:
                await another.open()
            assert await one.ended() == b""
            async with RawClient(url) as waiting:
                await waiting.send(b"GET /v1/ws HTTP/1.1\r\n")
                async with RawClient(url) as another:
                    await another.open()


async def test_a_client_that_leaves_in_the_middle_of_its_handshake_leaves_nothing(router: Router) -> None:
    """At every byte of it; the fixture looks for what is left."""
    request = (
        b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    for end in range(0, len(request) + 1, 7):
        async with RawClient(router.addresses.ws_url) as client:
            await client.send(request[:end])
            client.cut()
    async with RawClient(router.addresses.ws_url) as client:
        await client.send(request)
        client.cut()
    async with NativeClient(router.addresses.ws_url) as client:
        assert client.welcome["type"] == "welcome"
