"""Connecting, coming back, and not coming back, against a scripted router."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time

import pytest
from websockets.asyncio.server import serve

from postroom_client import (
    Backoff,
    ClientClosed,
    CommandError,
    ConnectFailed,
    ConnectionEnded,
    Unauthenticated,
    connect,
)

from .scripted_router import BOUND_S, ScriptedRouter, attached


async def test_hello_carries_the_token_and_the_welcome_fills_the_client(router: ScriptedRouter):
    async def script() -> dict:
        peer = await router.peer()
        return await peer.welcome(connection="c7", user="ada", role="service")

    scripted = asyncio.create_task(script())
    async with connect(router.url, token="secret") as client:
        assert (client.connection_id, client.user, client.role) == ("c7", "ada", "service")
        assert client.connected
    hello = await scripted
    assert hello["token"] == "secret"
    assert hello["client"]["name"] == "postroom-client-python"
    assert "resume" not in hello


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_callable_gives_a_fresh_token_to_every_connection(
    router: ScriptedRouter, quick: Backoff, asynchronous: bool
):
    tokens = iter(["first", "second"])

    async def later() -> str:
        return next(tokens)

    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, token=later if asynchronous else lambda: next(tokens), backoff=quick):
        first = await opening
        first.cut()
        second = await router.welcomed()
        assert [first.hello["token"], second.hello["token"]] == ["first", "second"]


async def test_an_expiring_token_is_refreshed_by_itself(router: ScriptedRouter):
    tokens = iter(["first", "second"])
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, token=lambda: next(tokens)) as client:
        peer = await opening
        await peer.send("notice", code="token_expiring", expires_at="2026-01-02T03:04:05.000Z")
        command = await peer.expect("refresh")
        assert command["token"] == "second"
        await peer.answer(command, "refreshed", expires_at="2026-01-02T04:04:05.000Z")
        ping = asyncio.create_task(client.ping())
        await peer.answer(await peer.expect("ping"), "pong", time="2026-01-02T03:04:05.000Z")
        await ping
        assert client.expires_at is not None
        assert client.expires_at.hour == 4


@pytest.mark.parametrize(
    "frame",
    [
        b"nonsense",
        b'{"type": "error", "code": "\xff"}',
        b'{"a":' * 20_000,
        b'{"type": "event", "data": ' + b"[" * 20_000,
    ],
    ids=["not JSON", "not UTF-8", "too deep", "too deep in an event"],
)
async def test_a_frame_that_cannot_be_read_breaks_the_connection_and_the_client_comes_back(
    router: ScriptedRouter, quick: Backoff, frame: bytes
):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, backoff=quick) as client:
        await (await opening).socket.send(frame, text=True)
        peer = await router.welcomed()
        pinging = asyncio.create_task(client.ping())
        await peer.answer(await peer.expect("ping"), "pong", time="2026-01-02T03:04:05.000Z")
        await pinging


async def test_short_lived_tokens_are_not_refreshed_in_a_circle(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, token=lambda: "token") as client:
        peer = await opening
        for _ in range(2):
            await peer.send("notice", code="token_expiring", expires_at="2026-01-02T03:04:05.000Z")
        await peer.answer(await peer.expect("refresh"), "refreshed", expires_at="2026-01-02T03:04:06.000Z")
        await peer.send("notice", code="token_expiring", expires_at="2026-01-02T03:04:06.000Z")
        pinging = asyncio.create_task(client.ping())
        await peer.answer(await peer.expect("ping"), "pong", time="2026-01-02T03:04:05.000Z")
        await pinging
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.expect("refresh"), 0.1)


async def test_refresh_gives_a_new_fixed_token_to_later_connections_too(router: ScriptedRouter, quick: Backoff):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, token="old", backoff=quick) as client:
        peer = await opening
        refreshing = asyncio.create_task(client.refresh("new"))
        command = await peer.expect("refresh")
        await peer.answer(command, "refreshed", expires_at=None)
        assert await refreshing is None
        peer.cut()
        assert (await router.welcomed()).hello["token"] == "new"


@pytest.mark.parametrize("code", [1003, 1007, 1009, 4009, 4400, 4401])
async def test_a_close_that_says_no_ends_every_iterator_and_command(router: ScriptedRouter, code: int):
    opening = asyncio.create_task(router.welcomed(rooms={"broadcast": attached()}))
    async with connect(router.url) as client:
        peer = await opening
        broadcast = client.joined("broadcast")
        waiting = asyncio.create_task(client.ping())
        await peer.expect("ping")
        await peer.close(code, "because")
        for raising in (anext(broadcast), waiting, client.ping(), anext(broadcast)):
            with pytest.raises(ConnectionEnded, match="because") as caught:
                await asyncio.wait_for(raising, BOUND_S)
            assert caught.value.code == code
            assert isinstance(caught.value, Unauthenticated) == (code == 4401)
        assert router.peers.empty()


@pytest.mark.parametrize("code", [1000, 1011, 4002, 4408, 4429])
async def test_a_close_that_says_come_back_is_come_back_from(router: ScriptedRouter, quick: Backoff, code: int):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, backoff=quick) as client:
        await (await opening).close(code)
        peer = await router.welcomed(connection="c2")
        pinging = asyncio.create_task(client.ping())
        await peer.answer(await peer.expect("ping"), "pong", time="2026-01-02T03:04:05.000Z")
        await pinging
        assert client.connection_id == "c2"


async def test_a_token_that_expired_ends_a_client_that_cannot_renew_it(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, token="fixed") as client:
        await (await opening).close(4410)
        with pytest.raises(Unauthenticated):
            await client.ping()


async def test_a_token_that_expired_is_renewed_by_a_callable(router: ScriptedRouter, quick: Backoff):
    tokens = iter(["first", "second"])
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, token=lambda: next(tokens), backoff=quick):
        await (await opening).close(4410)
        assert (await router.welcomed()).hello["token"] == "second"


async def test_a_draining_router_is_come_back_to_in_the_slot_it_gave(router: ScriptedRouter):
    slow = Backoff(floor_s=60, cap_s=60)
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, backoff=slow):
        peer = await opening
        await peer.send("notice", code="draining", reconnect_in_ms=100)
        began = time.monotonic()
        await peer.close(1001, "draining")
        await router.welcomed()
        assert 0.1 <= time.monotonic() - began < BOUND_S


async def test_a_hello_that_is_refused_for_now_is_said_again(router: ScriptedRouter, quick: Backoff):
    async def script() -> None:
        first = await router.peer()
        await first.refuse(await first.expect("hello"), "busy", temporary=True)
        await router.welcomed()

    scripted = asyncio.create_task(script())
    async with connect(router.url, backoff=quick):
        await scripted


async def test_a_hello_that_is_refused_for_good_raises_from_connect(router: ScriptedRouter):
    async def script() -> None:
        peer = await router.peer()
        await peer.refuse(await peer.expect("hello"), "unauthenticated")

    scripted = asyncio.create_task(script())
    with pytest.raises(Unauthenticated, match="no: unauthenticated"):
        async with connect(router.url, token="forged"):
            pass
    await scripted


async def test_a_router_that_is_not_there_is_tried_until_the_time_is_up(quick: Backoff, unused_tcp_port: int):
    began = time.monotonic()
    with pytest.raises(ConnectFailed) as caught:
        async with connect(f"ws://127.0.0.1:{unused_tcp_port}/v1/ws", backoff=quick, connect_timeout_s=0.2):
            pass
    assert time.monotonic() - began >= 0.2
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_router_that_starts_late_is_found(quick: Backoff, unused_tcp_port: int):
    router = ScriptedRouter()
    attempts = itertools.count(1)
    third_attempt = asyncio.Event()

    def token() -> str:
        if next(attempts) == 3:
            third_attempt.set()
        return "token"

    url = f"ws://127.0.0.1:{unused_tcp_port}/v1/ws"
    connecting = asyncio.create_task(connect(url, token=token, backoff=quick).__aenter__())
    await asyncio.wait_for(third_attempt.wait(), BOUND_S)
    async with serve(router.handle, "127.0.0.1", unused_tcp_port, close_timeout=0.5):
        await router.welcomed()
        client = await asyncio.wait_for(connecting, BOUND_S)
        assert client.connected
        await client.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "nonsense"])
async def test_a_url_that_is_none_raises_at_once(url: str):
    with pytest.raises(ConnectFailed):
        async with connect(url):
            pass


async def test_an_error_of_the_token_callable_reaches_whoever_connects(router: ScriptedRouter):
    def broken() -> str:
        raise LookupError("no token today")

    with pytest.raises(LookupError, match="no token today"):
        async with connect(router.url, token=broken):
            pass


async def test_an_error_of_the_token_callable_later_is_backed_off_from(router: ScriptedRouter, quick: Backoff):
    tokens = iter(["first", None, "third"])

    def sometimes() -> str:
        token = next(tokens)
        if token is None:
            raise LookupError
        return token

    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, token=sometimes, backoff=quick):
        (await opening).cut()
        assert (await router.welcomed()).hello["token"] == "third"


async def test_closing_ends_iterators_and_fails_commands_that_wait(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed(rooms={"broadcast": attached()}))
    async with connect(router.url) as client:
        peer = await opening
        broadcast = client.joined("broadcast")
        waiting = asyncio.create_task(client.ping())
        await peer.expect("ping")
    with pytest.raises(ClientClosed):
        await waiting
    with pytest.raises(ClientClosed):
        await client.ping()
    assert [event async for event in broadcast] == []
    await client.close()


async def test_messages_of_a_later_router_are_ignored(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed(new_field=1))
    async with connect(router.url) as client:
        peer = await opening
        await peer.send("something_new", room="session:1")
        await peer.send("notice", code="something_new")
        await peer.send("error", code="bad_message", message="nobody's", temporary=False)
        pinging = asyncio.create_task(client.ping())
        await peer.answer(await peer.expect("ping"), "pong", time="2026-01-02T03:04:05.000Z", extra=1)
        assert (await pinging).year == 2026


@pytest.mark.parametrize("frame", ["{", "[]", json.dumps({"type": "event", "room": "session:1"})])
async def test_a_peer_that_does_not_speak_the_protocol_is_left_and_tried_again(
    router: ScriptedRouter, quick: Backoff, frame: str
):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, backoff=quick):
        await (await opening).socket.send(frame)
        await router.welcomed()


async def test_no_log_holds_a_token_or_a_payload(router: ScriptedRouter, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, token="TOKEN-IN-HELLO") as client:
        peer = await opening
        assert "TOKEN" not in repr(client)
        refreshing = asyncio.create_task(client.refresh("TOKEN-IN-REFRESH"))
        await peer.answer(await peer.expect("refresh"), "refreshed", expires_at=None)
        await refreshing
        publishing = asyncio.create_task(client.publish("session:1", "a.b", {"x": "PAYLOAD"}))
        await peer.refuse(await peer.expect("publish"), "forbidden")
        with pytest.raises(CommandError):
            await publishing
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name != "websockets.server")
    assert "connected as ada" in ours
    assert "TOKEN" not in ours
    assert "PAYLOAD" not in ours
