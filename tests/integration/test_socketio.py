"""Socket.IO at a live router, packet by packet: what is taken, what is answered, and what ends the connection."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.connection import Connection
from actors.errors import CloseCode
from actors.ledger import ConnectionState
from actors.messages import Close, Drain, Frame
from server.app import Router
from tests.server.test_socketio import MALFORMED

from ..conftest import running_router
from ..native_client import WAIT_S, NativeClient
from ..raw_client import BINARY, CLOSE, PING, PONG, TEXT, RawClient, frame
from .faults import fail_on_message
from .network import PING_FRAME
from .services import crash, in_chain, position, publish, wait_until

QUERY = "EIO=4&transport=websocket"
PATH = f"/socket.io/?{QUERY}"
ORIGIN = "https://app.example.com"


class Raw(RawClient):
    """A client of Socket.IO made of packets. Pings are answered on the way.

    Args:
        router: Where to.
        namespace: Which one.
    """

    def __init__(self, router: Router, namespace: str = "/", **options: Any) -> None:
        super().__init__(router.addresses.ws_url, **options)
        self._place = "" if namespace == "/" else f"{namespace},"
        self.opening: dict[str, Any] = {}
        self.welcome: dict[str, Any] = {}

    async def enter(self, *headers: str) -> Raw:
        """Open the Engine.IO connection."""
        assert (await self.upgrade(*headers, path=PATH))[0] == 101
        opening = await self.packet()
        assert opening[0] == "0"
        self.opening = json.loads(opening[1:])
        return self

    async def connect(self, **auth: Any) -> Raw:
        """Open it and connect to the namespace, which must succeed; keep the welcome."""
        await self.enter()
        await self.say(f"40{self._place}{json.dumps(auth)}")
        assert json.loads(await self.after("40")) == {"sid": self.opening["sid"]}
        name, self.welcome = json.loads(await self.after("42"))
        assert (name, self.welcome["connection"]) == ("welcome", self.opening["sid"])
        return self

    async def say(self, *packets: str) -> None:
        """Send packets, a frame each."""
        await self.send(b"".join(frame(TEXT, packet.encode()) for packet in packets))

    async def packet(self) -> str:
        """Return the next packet that is no ping."""
        while True:
            opcode, payload = await self.read()
            if opcode == PING:  # by which the router finds out how fast the client reads
                await self.send(frame(PONG, payload))
                continue
            assert opcode == TEXT, (opcode, payload)
            if payload != b"2":
                return payload.decode()
            await self.say("3")

    async def after(self, start: str) -> str:
        """Return what stands in the next packet behind its beginning, which must be this."""
        packet, start = await self.packet(), start + self._place
        assert packet.startswith(start), packet
        return packet[len(start) :]

    async def ask(self, name: str, *arguments: Any) -> Any:
        """Say an event and return the acknowledgement, which must be the next packet."""
        await self.say(f"42{self._place}7{json.dumps([name, *arguments])}")
        (answer,) = json.loads(await self.after_ack(7))
        return answer

    async def after_ack(self, id: int) -> str:
        text = await self.after("43")
        assert text.startswith(str(id)), text
        return text[len(str(id)) :]

    async def event(self, name: str | None = None) -> Any:
        """Return the single argument of the next packet, an event (of this name)."""
        said = json.loads(await self.after("42"))
        assert len(said) == 2, said
        assert name in (None, said[0]), said
        return said[1]

    async def last(self) -> tuple[list[str], int]:
        """Read up to the close frame; return the packets before it and its code."""
        packets = []
        while True:
            opcode, payload = await self.read()
            if opcode == CLOSE:
                await self.send(frame(CLOSE, payload))
                await self.ended()
                return packets, int.from_bytes(payload[:2], "big")
            if opcode == TEXT:
                packets.append(payload.decode())


@pytest.fixture
async def router() -> AsyncIterator[Router]:
    """A router with a second namespace, and pages of another origin."""
    async with running_router(dev=True, socketio_namespaces=("/admin",), origins=(ORIGIN,)) as router:
        yield router


def state_of(router: Router, client: Raw) -> ConnectionState:
    """Return what the router holds of a client's connection."""
    (state,) = [state for state in router.registry.states if state.id == client.opening["sid"]]
    return state


@asynccontextmanager
async def connected(router: Router, namespace: str = "/", **auth: Any) -> AsyncIterator[Raw]:
    async with Raw(router, namespace) as client:
        yield await client.connect(**auth)


# --- The handshake


@pytest.mark.parametrize("path", [PATH, f"/socket.io?{QUERY}", f"{PATH}&t=abc"])
async def test_a_websocket_is_opened_with_the_intervals_of_the_settings(router: Router, path: str) -> None:
    """The first packet names the session, what it can be upgraded to and when it has to be heard from."""
    async with RawClient(router.addresses.ws_url) as client:
        assert (await client.upgrade(path=path))[0] == 101
        _, opening = await client.read()
        assert opening.startswith(b'0{"sid":"')
        fields = json.loads(opening[1:])
        assert {**fields, "sid": ""} == {
            "sid": "",
            "upgrades": [],
            "pingInterval": 25_000,
            "pingTimeout": 10_000,
            "maxPayload": 65_536,
        }


async def test_polling_is_refused_with_an_error_that_says_what_to_do(router: Router) -> None:
    """The error is readable for a page of an origin that may connect."""
    async with RawClient(router.addresses.ws_url) as client:
        path = "/socket.io/?EIO=4&transport=polling&t=x"
        status, headers, body = await client.request(f"Origin: {ORIGIN}", path=path)
    assert status == 400
    assert headers["content-type"] == "application/json"
    assert headers["access-control-allow-origin"] == ORIGIN
    answer = json.loads(body)
    assert answer["code"] == 0
    assert 'transports: ["websocket"]' in answer["message"]


@pytest.mark.parametrize(
    ("query", "code"), [("EIO=3&transport=websocket", 5), ("EIO=4&transport=websocket&sid=x", 1), ("", 0)]
)
async def test_another_version_or_session_is_refused(router: Router, query: str, code: int) -> None:
    """With the codes of the reference server; without an origin nothing is said to pages."""
    async with RawClient(router.addresses.ws_url) as client:
        status, headers, body = await client.upgrade(path=f"/socket.io/?{query}")
    assert (status, json.loads(body)["code"]) == (400, code)
    assert "access-control-allow-origin" not in headers


async def test_compression_is_not_taken_up() -> None:
    """Whatever protocols may compress."""
    async with (
        running_router(dev=True, compression=("postroom.v1",)) as router,
        RawClient(router.addresses.ws_url) as client,
    ):
        status, headers, _ = await client.upgrade("Sec-WebSocket-Extensions: permessage-deflate", path=PATH)
    assert status == 101
    assert "sec-websocket-extensions" not in headers


async def test_a_token_in_the_url_is_refused(router: Router) -> None:
    """As at every door."""
    async with RawClient(router.addresses.ws_url) as client:
        assert (await client.upgrade(path=f"{PATH}&token=x"))[0] == 400


# --- Connecting


async def test_a_client_is_welcomed_and_may_ask_for_everything(router: Router) -> None:
    """Each command is an event, and its answer the acknowledgement with the native fields."""
    async with connected(router, client={"name": "raw", "version": "1"}) as client:
        assert client.welcome["user"] == "anonymous"
        joined = await client.ask("subscribe", "doc:all")
        assert (joined["recovery"], joined["offset"], joined["state"]["counts"]) == ("fresh", 0, {})
        await client.say('42["publish",{"room":"doc:all","kind":"a.b","data":{"x":1},"event_id":"e1"}]')
        event = await client.event("a.b")
        assert (event["room"], event["offset"], event["prev"], event["id"]) == ("doc:all", 1, 0, "e1")
        assert event["data"] == {"x": 1}
        again = await client.ask("publish", {"room": "doc:all", "kind": "a.b", "data": {}, "event_id": "e1"})
        assert again == {
            "room": "doc:all",
            "epoch": joined["epoch"],
            "offset": 1,
            "event_id": "e1",
            "duplicate": True,
        }
        assert (await client.ask("state", "doc:all"))["offset"] == 1
        assert (await client.ask("history", {"room": "doc:all", "limit": 1}))["events"] == [event]
        assert (await client.ask("presence", "doc:all"))["members"] == [{"user": "anonymous", "connections": 1}]
        assert "time" in await client.ask("ping")
        assert (await client.ask("unsubscribe", "doc:all")) == {"room": "doc:all"}
        assert (await client.ask("unsubscribe", "doc:all"))["error"]["code"] == "not_subscribed"


async def test_an_alert_is_acknowledged_for_everyone(router: Router) -> None:
    """`ack` names the alert; the room gets `alert.acknowledged`."""
    async with connected(router) as client:
        await publish(router, "doc:alert", "alert", {"severity": "critical", "title": "t"}, event_id="a1")
        joined = await client.ask("subscribe", {"room": "doc:alert", "history": 1})
        assert [alert["event_id"] for alert in joined["state"]["alerts"]] == ["a1"]
        assert (await client.event("alert"))["ack"] == "required"
        await client.say('42["ack",{"room":"doc:alert","event_id":"a1"}]')
        assert (await client.event("alert.acknowledged"))["data"]["event_id"] == "a1"


async def test_without_an_acknowledgement_answers_and_errors_are_events(router: Router) -> None:
    """What succeeds and has no news says nothing; an event nobody knows is an error, and the connection goes on."""
    async with connected(router) as client:
        await client.say('42["subscribe","doc:quiet"]')
        assert (await client.event("subscribed"))["room"] == "doc:quiet"
        await client.say('42["subscribe","doc:quiet"]', '42["cheer"]', '42["unsubscribe","doc:quiet"]', '42["ping"]')
        assert (await client.event("error"))["code"] == "already_subscribed"
        assert (await client.event("error"))["code"] == "unknown_type"
        assert "time" in await client.event("pong")


async def test_markers_and_orders_are_events_of_their_own_names(router: Router) -> None:
    """`skipped` for what was filtered out, `revoked` and `subscribed` for what an operator orders."""
    async with connected(router) as client:
        await client.ask("subscribe", {"room": "doc:some", "kinds": ["a.b"]})
        await publish(router, "doc:some", "a.c", {})
        await publish(router, "doc:some", "a.b", {})
        skipped = await client.event("skipped")
        assert skipped == {"room": "doc:some", "from": 1, "to": 1, "reason": "filtered"}
        assert (await client.event("a.b"))["prev"] == 1


async def test_a_namespace_is_the_same_router_under_another_name(router: Router) -> None:
    """Every packet of the connection names it, and both see the same room."""
    async with connected(router) as root, connected(router, "/admin") as admin:
        for client in (root, admin):
            await client.ask("subscribe", "doc:both")
        await publish(router, "doc:both", "a.b", {"n": 1})
        assert await root.event("a.b") == await admin.event("a.b")


async def test_an_unknown_namespace_is_refused_and_the_connection_goes_on(router: Router) -> None:
    """Before another one is connected to and after."""
    async with Raw(router) as client:
        await client.enter()
        await client.say("40/nope,")
        assert json.loads((await client.packet())[len("44/nope,") :])["message"] == "Invalid namespace"
        await client.say("40")
        assert (await client.packet()).startswith("40{")
        await client.event("welcome")
        await client.say("40/nope,{}")
        assert (await client.packet()).startswith('44/nope,{"message":"Invalid namespace"')
        assert "time" in await client.ask("ping")


async def test_a_second_namespace_on_one_connection_is_refused_with_what_to_do(router: Router) -> None:
    """At once after the first one, as official clients do, or later."""
    async with Raw(router) as client:
        await client.enter()
        await client.say("40", "40/admin,")
        answers = sorted([await client.packet() for _ in range(3)])
        assert [answer[:3] for answer in answers] == ["40{", "42[", "44/"]
        assert "forceNew: true" in answers[2]
        await client.say("40/admin,")
        assert "forceNew: true" in await client.packet()
        await client.say("40")
        assert (await client.packet()).startswith('44{"message":"hello was said already')
        assert "time" in await client.ask("ping")


async def test_a_token_that_is_none_is_a_connect_error_and_the_end() -> None:
    """With the error's code for programs; the client is told not to come back by itself."""
    async with running_router() as router, Raw(router) as client:
        await client.enter()
        await client.say('40{"token":"nonsense"}')
        packets, code = await client.last()
    assert code == CloseCode.UNAUTHENTICATED
    assert packets[1:] == ["41", "1"]
    error = json.loads(packets[0][2:])
    assert packets[0].startswith("44{")
    assert error["message"] == error["data"]["message"]
    assert (error["data"]["code"], error["data"]["temporary"]) == ("unauthenticated", False)


async def test_a_token_may_come_in_the_header(token: Callable[..., str]) -> None:
    """As services send it; the payload needs none then."""
    async with running_router() as router, Raw(router) as client:
        await client.enter(f"Authorization: Bearer {token('batch', 'service')}")
        await client.say("40")
        assert (await client.packet()).startswith("40{")
        assert (await client.event("welcome"))["user"] == "batch"


async def test_a_token_is_refreshed(token: Callable[..., str]) -> None:
    """By an event; another user's is refused."""
    async with running_router() as router, connected(router, token=token("ann", ttl_s=120)) as client:
        refreshed = await client.ask("refresh", {"token": token("ann")})
        assert refreshed["expires_in_s"] > 3000
        assert (await client.ask("refresh", token("bob")))["error"]["code"] == "forbidden"


async def test_who_does_not_connect_in_time_is_closed_and_may_come_back() -> None:
    """Nothing is said before the close."""
    async with running_router(dev=True, hello_timeout_s=0.05) as router, Raw(router) as client:
        await client.enter()
        assert await client.last() == ([], CloseCode.NO_HELLO)


async def test_a_position_in_the_payload_is_resumed(router: Router) -> None:
    """The welcome says how, and the events after it follow."""
    async with connected(router) as client:
        joined = await client.ask("subscribe", "doc:resume")
        for n in range(3):
            await publish(router, "doc:resume", "a.b", {"n": n})
        first = await client.event("a.b")
    async with connected(router, resume={"doc:resume": {**position(joined), "offset": first["offset"]}}) as client:
        assert client.welcome["rooms"]["doc:resume"]["recovery"] == "full"
        events = [await client.event("a.b"), await client.event("a.b")]
        assert in_chain(events, after=1) == 3


# --- Heartbeat


async def test_pings_are_packets_and_any_answer_keeps_the_connection() -> None:
    """A ping of the client's own is answered, too."""
    async with running_router(dev=True, heartbeat_s=0.2, pong_timeout_s=0.1) as router:
        async with Raw(router) as client:
            await client.connect()
            for _ in range(4):
                assert await client.read() == (TEXT, b"2")
                await client.say("3")
            await client.say("2probe")
            assert await client.packet() == "3probe"
            await client.say("6")
            assert "time" in await client.ask("ping")
        async with Raw(router) as silent:
            await silent.connect()
            assert await silent.read() == (TEXT, b"2")
            received = await silent.ended()
            assert PING_FRAME not in received
            assert b"\x88" not in received  # cut, without a word


# --- Ends


@pytest.mark.parametrize("packet", ["41", "1"])
async def test_a_client_that_takes_leave_is_closed_normally(router: Router, packet: str) -> None:
    """Nothing more is said."""
    async with connected(router) as client:
        await client.say(packet)
        assert await client.last() == ([], CloseCode.NORMAL)


async def test_an_operators_close_tells_the_client_to_stay_away(router: Router) -> None:
    """In its own namespace."""
    async with connected(router, "/admin") as client:
        state = state_of(router, client)
        assert state.protocol == "socketio"
        state.mailbox.tell(Close(CloseCode.OPERATOR, "operator"))
        assert await client.last() == (["41/admin,", "1"], CloseCode.OPERATOR)


async def test_a_drain_tells_when_to_come_back_and_closes_without_a_word(router: Router) -> None:
    """Official clients come back by themselves then."""
    async with connected(router) as client:
        state_of(router, client).mailbox.tell(Drain(reconnect_in_ms=5))
        assert await client.event("notice") == {"code": "draining", "reconnect_in_ms": 5}
        assert await client.last() == ([], CloseCode.DRAINING)


async def test_a_binary_event_is_answered_and_its_attachment_ends_the_connection(router: Router) -> None:
    """The error says that binary is refused, and comes before the end."""
    async with connected(router, "/admin") as client:
        event = frame(TEXT, b'451-/admin,3["publish",{"_placeholder":true,"num":0}]')
        await client.send(event + frame(BINARY, b"x") + frame(TEXT, b'42/admin,["ping"]'))
        packets, code = await client.last()
    assert code == CloseCode.BINARY_FRAME
    assert packets[1:] == ["41/admin,", "1"]
    assert packets[0].startswith("43/admin,3[")
    (answer,) = json.loads(packets[0][len("43/admin,3") :])
    assert "binary attachments are refused" in answer["error"]["message"]


async def test_a_malformed_packet_ends_its_connection_and_no_other(router: Router) -> None:
    """With an error that says what was wrong, before the end."""
    async with connected(router) as other:
        for packet in MALFORMED:
            async with connected(router) as client:
                await client.say(packet)
                packets, code = await client.last()
            assert (packets[1:], code) == (["41", "1"], CloseCode.BAD_MESSAGES), packet
            assert packets[0].startswith('42["error",{"code":"bad_message"'), packet
            assert "time" in await other.ask("ping")


async def test_who_says_something_before_connecting_is_closed(router: Router) -> None:
    """As the reference server does."""
    async with Raw(router) as client:
        await client.enter()
        await client.say('42["subscribe","doc:1"]')
        packets, code = await client.last()
    assert (packets[1:], code) == (["1"], CloseCode.BAD_MESSAGES)


async def test_ten_wrong_events_in_a_minute_end_the_connection(router: Router) -> None:
    """Each is answered before."""
    async with connected(router) as client:
        await client.say(*['42["cheer"]'] * 11)
        packets, code = await client.last()
    assert code == CloseCode.BAD_MESSAGES
    assert len(packets) == 10 + 2
    assert packets[-2:] == ["41", "1"]


async def test_mutated_packets_end_their_own_connections_only(router: Router, logged: list[dict[str, Any]]) -> None:
    """A bystander goes on, nothing in the router fails, nobody is left."""
    chance = random.Random(1)
    seeds = [*MALFORMED, '42["subscribe",{"room":"doc:fuzz","history":3}]', '427["state","doc:fuzz"]', "3", "2x"]
    seeds += ['42["publish",{"room":"doc:fuzz","kind":"a.b","data":{"x":[1,null]}}]', "41", "40/admin,{}", "43[]"]

    def mutated() -> bytes:
        text = bytearray(chance.choice(seeds).encode()[:2000])
        for _ in range(chance.randint(0, 3)):
            at = chance.randrange(min(len(text), 60) + 1)
            text[at : at + chance.randint(0, 3)] = chance.choice((b"", b'"', b"[" * 60, b"9", b"/", b",", b"\\u0000"))
        return frame(TEXT, bytes(text))

    async def strike() -> None:
        async with Raw(router) as client:
            await client.enter()
            await client.send(frame(TEXT, b"40") + b"".join(mutated() for _ in range(6)))
            client.half_close()
            await client.ended()

    async with connected(router) as bystander:
        await bystander.ask("subscribe", "doc:bystander")
        for n in range(40):
            await asyncio.gather(*(strike() for _ in range(5)))
            await publish(router, "doc:bystander", "a.b", {})
            assert (await bystander.event("a.b"))["offset"] == n + 1
        await wait_until(lambda: len(router.registry) == 1, "only the bystander is left")
    assert [line for line in logged if line["log_level"] in ("error", "critical")] == []


# --- Failures and slow readers


async def test_a_connection_that_fails_is_repaired_under_the_open_socket(router: Router) -> None:
    """The client gets the notice `resumed`, and every event once."""
    async with connected(router, "/admin") as client:
        await client.ask("subscribe", "doc:repair")
        await publish(router, "doc:repair", "a.b", {"n": 1})
        state = state_of(router, client)
        crash(state.mailbox)
        await publish(router, "doc:repair", "a.b", {"n": 2})
        said = [await client.packet() for _ in range(3)]
        events = [json.loads(packet[len("42/admin,") :]) for packet in said]
        assert sorted(name for name, _ in events) == ["a.b", "a.b", "notice"]
        assert in_chain([fields for name, fields in events if name == "a.b"]) == 2
        (notice,) = [fields for name, fields in events if name == "notice"]
        assert notice["code"] == "resumed"


async def test_the_event_on_which_a_connection_fails_is_acknowledged_with_an_error(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is not left waiting."""
    async with connected(router) as client:
        fail_on_message(monkeypatch, Connection, Frame)
        assert (await client.ask("state", "broadcast"))["error"]["code"] == "internal"
        assert (await client.event("notice"))["code"] == "resumed"
        assert "room" in await client.ask("state", "broadcast")


async def test_a_client_that_reads_too_slowly_is_closed_without_a_word() -> None:
    """So that it comes back by itself, with its position; the others have got everything meanwhile."""
    filling, count = "x" * 30_000, 400
    async with (
        running_router(dev=True, outbox_bytes=256 * 1024) as router,
        Raw(router, receive_bytes=16 * 1024) as slow,
        NativeClient(router.addresses.ws_url) as steady,
    ):
        await slow.connect()
        await slow.ask("subscribe", "doc:1")
        await steady.subscribe("doc:1")
        state = state_of(router, slow)
        slow.stop_reading()
        reading = asyncio.create_task(steady.events(count + 1))
        for n in range(count):
            await publish(router, "doc:1", "a.b", {"n": n, "filling": filling})
        await wait_until(lambda: state.wire.stuck, "it has had its chance")
        await publish(router, "doc:1", "a.b", {"n": count})
        assert in_chain(await reading) == count + 1
        await wait_until(lambda: state.wire.close_code == CloseCode.SLOW_CONSUMER, "it counts as slow")
        slow.resume_reading()
        async with asyncio.timeout(WAIT_S):
            packets, code = await slow.last()
    assert code == CloseCode.SLOW_CONSUMER
    assert packets[-1].startswith('42["a.b"')
