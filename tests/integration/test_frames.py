"""WebSocket frames as bytes, and clients that do not end as they should; `conformance` has the standard topic by topic.

In: frames that a library would not send. Out: what is allowed works, what is not ends the connection with its code.
"""

from __future__ import annotations

import json

import pytest

from server import listener
from server.app import Router

from ..conftest import running_router
from ..native_client import NativeClient
from ..raw_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawClient, frame
from .services import publish, wait_until

PING_COMMAND = json.dumps({"type": "ping", "id": 7}).encode()


async def answered(client: RawClient) -> None:
    """Check that the command in `PING_COMMAND` was understood."""
    message = await client.message()
    assert (message["type"], message["id"]) == ("pong", 7)


async def test_bytes_may_come_one_by_one(router: Router) -> None:
    """A frame's head may be cut anywhere."""
    async with RawClient(router.addresses.ws_url) as client:
        await client.open()
        for byte in frame(TEXT, PING_COMMAND):
            await client.send(bytes([byte]))
        await answered(client)


async def test_many_frames_may_come_in_one_packet(router: Router) -> None:
    """They are answered in order."""
    async with RawClient(router.addresses.ws_url) as client:
        await client.open()
        await client.send(b"".join(frame(TEXT, json.dumps({"type": "ping", "id": n}).encode()) for n in range(300)))
        assert [(await client.message())["id"] for _ in range(300)] == list(range(300))


async def test_a_ping_is_answered_with_its_payload(router: Router) -> None:
    """Up to the 125 bytes that a control frame may have."""
    async with RawClient(router.addresses.ws_url) as client:
        await client.open()
        for payload in (b"", b"x", b"\xff\x00" * 62):
            await client.send(frame(PING, payload))
            assert await client.read() == (PONG, payload)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(PING, b"", mask=False), id="a ping without a mask"),
        pytest.param(frame(CLOSE, b"", mask=False), id="a close without a mask"),
        pytest.param(frame(CLOSE, b"\x03\xe8" + b"x" * 124), id="a close that is too long"),
        pytest.param(frame(CONTINUATION, PING_COMMAND), id="a last fragment of nothing"),
        pytest.param(frame(CONTINUATION, PING_COMMAND, fin=False), id="a fragment of nothing"),
        pytest.param(frame(CLOSE, b"\x03"), id="half a code"),
        *(
            pytest.param(frame(CLOSE, code.to_bytes(2, "big")), id=f"code {code}")
            for code in (999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)
        ),
    ],
)
async def test_what_the_protocol_forbids_is_closed_with_1002(router: Router, data: bytes) -> None:
    """And nothing behind it is obeyed; another client in the same room notices nothing."""
    event = json.dumps({"type": "publish", "room": "doc:1", "kind": "a.b", "data": {"n": "evil"}}).encode()
    async with RawClient(router.addresses.ws_url) as client, NativeClient(router.addresses.ws_url) as other:
        await other.subscribe("doc:1")
        await client.open()
        await client.send(data + frame(TEXT, event))
        assert await client.closed() == 1002
        await publish(router, "doc:1", "a.b", {"n": "good"})
        assert [message["data"] for message in await other.nothing_more()] == [{"n": "good"}]


async def test_a_close_reason_that_is_no_text_is_closed_with_1007(router: Router) -> None:
    """RFC 6455, 5.5.1: the reason is UTF-8."""
    async with RawClient(router.addresses.ws_url) as client:
        await client.open()
        await client.send(frame(CLOSE, b"\x03\xe8\xff\xfe"))
        assert await client.closed() == 1007


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 3000, 4999])
async def test_a_close_is_answered_with_the_same_code(router: Router, code: int) -> None:
    """The closing handshake; the router closes TCP first."""
    async with RawClient(router.addresses.ws_url) as client:
        await client.open()
        await client.send(frame(CLOSE, code.to_bytes(2, "big") + b"bye"))
        opcode, payload = await client.read()
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, code)
        assert await client.ended() == b""


async def test_a_close_without_a_code_is_answered(router: Router) -> None:
    """It is allowed to say nothing."""
    async with RawClient(router.addresses.ws_url) as client:
        await client.open()
        await client.send(frame(CLOSE))
        opcode, payload = await client.read()
        assert opcode == CLOSE
        assert payload in (b"", b"\x03\xe8")
        assert await client.ended() == b""


async def test_what_comes_after_a_close_is_not_obeyed(router: Router) -> None:
    """RFC 6455, 5.5.1; what came before it is."""
    async with NativeClient(router.addresses.ws_url) as watching, RawClient(router.addresses.ws_url) as client:
        await watching.subscribe("doc:1")
        await client.open()
        events = [
            frame(TEXT, json.dumps({"type": "publish", "room": "doc:1", "kind": "a.b", "data": {"n": n}}).encode())
            for n in range(2)
        ]
        await client.send(events[0] + frame(CLOSE, b"\x03\xe8") + events[1])
        assert await client.closed() == 1000
        assert [event["data"] for event in await watching.events(1)] == [{"n": 0}]
        await publish(router, "doc:1", "a.b", {"n": "last"})
        assert [message["data"] for message in await watching.nothing_more()] == [{"n": "last"}]


async def test_a_half_closed_connection_ends(router: Router) -> None:
    """A client that can say nothing more is let go, and leaves its rooms."""
    async with RawClient(router.addresses.ws_url) as client:
        await client.open()
        await client.command("subscribe", id=1, room="doc:1")
        assert (await client.message())["type"] == "subscribed"
        client.half_close()
        await client.ended()
    await wait_until(lambda: not len(router.ledger), "its subscriptions are gone")


async def test_a_half_close_in_the_middle_of_a_frame_ends_it_too(router: Router) -> None:
    """Nothing of an unfinished message is obeyed."""
    async with RawClient(router.addresses.ws_url) as client:
        await client.open()
        await client.send(frame(TEXT, PING_COMMAND)[:-3])
        client.half_close()
        await client.ended()
    await wait_until(lambda: not len(router.registry), "it is gone")


async def test_a_client_that_does_not_take_part_in_closing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is closed and does not answer holds nothing for longer than the closing handshake may take."""
    monkeypatch.setattr(listener, "_CLOSE_TIMEOUT_S", 0.2)
    async with running_router(dev=True) as router, RawClient(router.addresses.ws_url) as client:
        await client.open()
        await client.send(frame(BINARY, b"x"))
        opcode, payload = await client.read()
        assert (opcode, payload[:2]) == (CLOSE, (1003).to_bytes(2, "big"))
        await client.ended()


@pytest.mark.parametrize(
    "ending",
    [frame(CLOSE, b"\x03\xe8"), frame(0x3), frame(TEXT, b"\xff"), frame(TEXT, b"x" * 70_000)],
    ids=["a close", "a reserved opcode", "no UTF-8", "too much"],
)
async def test_a_client_that_never_ends_tcp_is_cut(monkeypatch: pytest.MonkeyPatch, ending: bytes) -> None:
    """Whoever began the close: a socket that is half closed is not held for ever."""
    monkeypatch.setattr(listener, "_CLOSE_TIMEOUT_S", 0.2)
    async with running_router(dev=True) as router, RawClient(router.addresses.ws_url) as client:
        await client.open()
        await client.send(ending)
        assert (await client.read())[0] == CLOSE
        await wait_until(lambda: not len(router.registry), "it is gone")


async def test_a_message_in_very_many_fragments_is_closed_with_1009(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty fragments add up to no bytes, but each is kept; others are served meanwhile."""
    monkeypatch.setattr(listener, "_CLOSE_TIMEOUT_S", 0.2)
    async with running_router(dev=True) as router, NativeClient(router.addresses.ws_url) as other:
        async with RawClient(router.addresses.ws_url) as client:
            await client.open()
            await client.send(frame(TEXT, b"", fin=False))
            for _ in range(20):
                await client.send(frame(CONTINUATION, b"", fin=False) * 1000)
            assert (await other.ask("ping"))["type"] == "pong"
            opcode, payload = await client.read()
            assert (opcode, payload[:2]) == (CLOSE, (1009).to_bytes(2, "big"))
        await wait_until(lambda: len(router.registry) == 1, "it is gone")


async def test_a_message_whose_fragments_drip_is_closed_with_1009_at_the_65th(router: Router) -> None:
    """However slowly they come: the rate is no bound for what is kept."""
    async with RawClient(router.addresses.ws_url) as client:
        await client.open()
        for _ in range(2):  # counted for each message by itself
            await client.send(frame(TEXT, PING_COMMAND, fin=False) + frame(CONTINUATION, b"", fin=False) * 63)
            await client.send(frame(CONTINUATION))
            await answered(client)
        await client.send(frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 64)
        assert await client.closed() == 1009


async def test_a_pong_that_never_comes_ends_the_connection() -> None:
    """A peer that is silent for the interval and the time-out is cut; one that answers stays."""
    async with (
        running_router(dev=True, heartbeat_s=0.2, pong_timeout_s=0.2) as router,
        RawClient(router.addresses.ws_url) as silent,
        NativeClient(router.addresses.ws_url) as alive,
    ):
        await silent.open()
        await silent.ended()
        assert (await alive.ask("ping"))["type"] == "pong"
