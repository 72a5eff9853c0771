"""Every close code that a client can meet: what leads to it, what comes before it, and that it hurts nobody else."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest

from server.app import Router

from ..conftest import SECRET, RouterProcess, running_router
from ..native_client import Message, NativeClient
from ..raw_client import BINARY, CLOSE, TEXT, RawClient, frame
from .services import crash, publish, state_of, wait_until
from .streams import Stream

LIMIT = 65_536


@asynccontextmanager
async def bystander(router: Router, token: str | None = None) -> AsyncIterator[NativeClient]:
    """Yield a client in doc:1; at the end it must have had every event of 20 before and 20 after, and nothing else."""
    async with NativeClient(router.addresses.ws_url, token) as client:
        await client.subscribe("doc:1")
        for n in range(20):
            await publish(router, "doc:1", "app.step", {"n": n})
        yield client
        for n in range(20, 40):
            await publish(router, "doc:1", "app.step", {"n": n})
        stream = await (await Stream(client, "doc:1").until(40)).rest()
        assert stream.values == list(range(40))
        assert stream.others == []


def publish_of_size(size: int) -> str:
    """Return a publish to doc:2 of exactly `size` bytes."""
    head = '{"type": "publish", "id": 7, "room": "doc:2", "kind": "app.step", "data": {"x": "'
    return head + "x" * (size - len(head) - 3) + '"}}'


async def test_a_binary_frame_is_closed_with_1003(router: Router) -> None:
    """Also when it holds a command that would be fine as text."""
    async with bystander(router), NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1")
        await client.socket.send(b'{"type": "ping", "id": 1}')
        code, reason = await client.closed()
        assert code == 1003
        assert reason


async def test_bad_utf8_is_closed_with_1007(router: Router) -> None:
    """In one frame, and where a character is cut off at the end of the message."""
    for payload in (b'{"type": "\xff"}', b'{"type": "ping"}\xc3', b"\xed\xa0\x80"):
        async with bystander_of_another_room(router), RawClient(router.addresses.ws_url) as client:
            await client.open()
            await client.send(frame(TEXT, payload))
            assert await client.closed() == 1007


@asynccontextmanager
async def bystander_of_another_room(router: Router) -> AsyncIterator[NativeClient]:
    """Yield a client that is welcome before and answered after."""
    async with NativeClient(router.addresses.ws_url) as client:
        yield client
        assert (await client.ask("ping"))["type"] == "pong"


async def test_a_message_of_64_kib_is_taken(router: Router) -> None:
    """The limit itself is within it, and the event of it reaches the subscribers."""
    async with bystander(router), NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:2")
        text = publish_of_size(LIMIT)
        assert len(text) == LIMIT
        await client.socket.send(text)
        answers = {message["type"]: message for message in [await client.next(), await client.next()]}
        assert answers.keys() == {"published", "event"}
        assert len(answers["event"]["data"]["x"]) > LIMIT - 100


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT + 1024])
@pytest.mark.parametrize("fragments", [1, 16])
async def test_a_message_over_64_kib_is_closed_with_1009(router: Router, size: int, fragments: int) -> None:
    """However it is cut into frames; nothing of it is published."""
    async with bystander(router), RawClient(router.addresses.ws_url) as client:
        await client.open()
        payload = publish_of_size(size).encode()
        step = -(-size // fragments)
        parts = [payload[at : at + step] for at in range(0, size, step)]
        for number, part in enumerate(parts):
            await client.send(frame(TEXT if number == 0 else 0, part, fin=number == len(parts) - 1))
        assert await client.closed() == 1009
        assert not router.directory.known("doc:2")


async def test_a_frame_that_only_announces_too_much_is_closed_at_once(router: Router) -> None:
    """Nobody waits for 2 GiB to come."""
    async with bystander(router), RawClient(router.addresses.ws_url) as client:
        await client.open()
        await client.send(b"\x81\xff" + (2**31).to_bytes(8, "big") + b"abcd" + b"x" * 100)
        assert await client.closed() == 1009


async def test_a_connection_that_fails_too_often_is_closed_with_1011_and_its_position_stays_good(
    router: Router, logged: list[dict[str, Any]]
) -> None:
    """The fourth failure within five seconds; the client comes back with its position and misses nothing."""
    async with bystander(router), NativeClient(router.addresses.ws_url) as client:
        answer = await client.subscribe("doc:1", history=5)
        stream = await Stream(client, "doc:1", 15).until(20)
        state = state_of(router, client)
        for _ in range(4):
            await wait_until(lambda: state.mailbox.occupied and not len(state.mailbox), "the actor lives")
            crash(state.mailbox)
            await wait_until(lambda: not len(state.mailbox), "it fails")
        assert (await client.closed())[0] == 1011
        given_up = [line for line in logged if line["event"] == "actor_given_up"]
        assert [(line["actor"], line["escalates"]) for line in given_up] == [(state.mailbox.name, False)]
        resume = {"doc:1": {"epoch": answer["epoch"], "offset": stream.position}}
        async with NativeClient(router.addresses.ws_url, resume=resume) as again:
            assert again.welcome["rooms"]["doc:1"]["recovery"] == "full"
    assert not [line for line in logged if line["event"] == "actor_failed" and line["actor"] == "connections"]


async def test_a_client_that_reads_too_slowly_is_closed_with_4002() -> None:
    """It has more waiting than the bound allows, reads on, and finds the reason at the end of what it was sent."""
    async with (
        running_router(dev=True, outbox_bytes=200_000, stall_s=20.0) as router,
        bystander(router),
        RawClient(router.addresses.ws_url) as client,
    ):
        await client.open()
        await client.command("subscribe", id=1, room="doc:2")
        assert (await client.message())["type"] == "subscribed"
        client.stop_reading()
        state = next(state for state in router.registry.states if "doc:2" in state.subscriptions)
        while not state.closed:
            await publish(router, "doc:2", "app.step", {"x": "x" * 50_000})
        client.resume_reading()
        assert await client.closed() == 4002


async def test_too_many_bad_messages_are_closed_with_4400(router: Router) -> None:
    """Nine are answered and forgiven, the tenth is answered and ends it; commands between them do not count."""
    async with bystander(router), NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1")
        for number in range(9):
            await client.socket.send(["{", '{"type": "dance"}', '{"type": "subscribe"}'][number % 3])
            assert (await client.next("error"))["code"] in ("bad_message", "unknown_type")
            assert (await client.ask("ping"))["type"] == "pong"
        assert (await client.ask("subscribe", room="doc:1"))["code"] == "already_subscribed"  # a refusal, not a mistake
        assert (await client.ask("publish", room="doc:1", kind="x", data={}))["code"] == "invalid_event"
        await client.socket.send("{")
        assert (await client.next("error"))["code"] == "bad_message"
        assert (await client.closed())[0] == 4400


async def test_what_follows_the_last_bad_message_is_not_obeyed(router: Router) -> None:
    """Commands behind it in the same packet do nothing."""
    async with bystander(router), RawClient(router.addresses.ws_url) as client:
        await client.open()
        event = {"type": "publish", "room": "doc:1", "kind": "app.step", "data": {"n": "evil"}}
        await client.send(frame(TEXT, b"{") * 10 + frame(TEXT, json.dumps(event).encode()) * 5)
        assert await client.closed() == 4400


def forged(**claims: Any) -> str:
    """Make a token that another secret signed."""
    return jwt.encode(
        {"sub": "ann", "exp": 4_000_000_000, **claims}, "another-secret-of-forty-characters------", "HS256"
    )


def unsigned() -> str:
    """Make a token with algorithm `none`."""
    return jwt.encode({"sub": "ann", "role": "admin", "exp": 4_000_000_000}, None, "none")


@pytest.mark.parametrize("bad", [None, "", "nonsense", "a.b.c", forged(role="admin"), unsigned(), "é", "x" * 20_000])
async def test_a_hello_without_a_good_token_is_closed_with_4401(
    guarded_router: Router, token: Callable[..., str], bad: str | None
) -> None:
    """The error comes first; what was said behind it is refused too."""
    async with (
        bystander(guarded_router, token("ann", rooms=("doc:*",))),
        NativeClient(guarded_router.addresses.ws_url, hello=False) as client,
    ):
        fields = {} if bad is None else {"token": bad}
        await client.send("hello", id=1, **fields)
        await client.send("subscribe", id=2, room="user:ann")
        assert await client.closed() == (4401, "unauthenticated")
        answers = [await client.next()]
        while answers[-1]["id"] != 1:
            answers.append(await client.next())
        assert {(answer["type"], answer["code"]) for answer in answers} == {("error", "unauthenticated")}


async def test_a_token_without_an_end_is_closed_with_4401(guarded_router: Router) -> None:
    """A token without `exp` would never end."""
    endless = jwt.encode({"sub": "ann", "role": "admin"}, SECRET, "HS256")
    async with NativeClient(guarded_router.addresses.ws_url, hello=False) as client:
        assert (await client.ask("hello", token=endless))["code"] == "unauthenticated"
        assert (await client.closed())[0] == 4401


async def test_a_bad_token_is_closed_under_dev_too(router: Router) -> None:
    """Only the absence of a token makes a client anonymous."""
    async with NativeClient(router.addresses.ws_url, hello=False) as client:
        assert (await client.ask("hello", token="nonsense"))["code"] == "unauthenticated"
        assert (await client.closed())[0] == 4401


async def test_a_client_that_says_nothing_is_closed_with_4408() -> None:
    """Also one that asks for things, but never says who it is."""
    async with (
        running_router(dev=True, hello_timeout_s=0.3) as router,
        bystander(router),
        NativeClient(router.addresses.ws_url, hello=False) as silent,
        NativeClient(router.addresses.ws_url, hello=False) as impolite,
    ):
        assert (await impolite.ask("ping"))["code"] == "unauthenticated"
        for client in (silent, impolite):
            code, reason = await client.closed()
            assert code == 4408
            assert "hello" in (reason or "")


async def test_a_hello_in_time_is_not_closed_later() -> None:
    """The time for `hello` ends with it."""
    async with running_router(dev=True, hello_timeout_s=0.2) as router, bystander(router) as client:
        state = state_of(router, client)
        await asyncio.sleep(0.3)
        assert state.welcomed


async def test_an_expired_token_is_closed_with_4410(guarded_router: Router, token: Callable[..., str]) -> None:
    """At hello at once; `token_expired` comes first."""
    async with (
        bystander(guarded_router, token("ann", rooms=("doc:*",))),
        NativeClient(guarded_router.addresses.ws_url, hello=False) as client,
    ):
        error = await client.ask("hello", token=token("ann", ttl_s=-1))
        assert (error["type"], error["code"]) == ("error", "token_expired")
        assert await client.closed() == (4410, "token_expired")


async def test_a_user_with_too_many_connections_is_closed_with_4429(token: Callable[..., str]) -> None:
    """The cap holds for one user; when one of his connections is gone the next may come."""
    async with running_router(max_connections_per_user=2) as router, bystander(router, token("zoe", rooms=("doc:*",))):
        url, ann = router.addresses.ws_url, token("ann")
        async with NativeClient(url, ann), NativeClient(url, ann):
            async with NativeClient(url, hello=False) as third:
                await third.send("hello", token=ann)
                code, reason = await third.closed()
                assert code == 4429
                assert "ann" in (reason or "")
            async with NativeClient(url, token("bob")):
                pass
        await wait_until(lambda: len(router.registry) == 1, "they are gone")
        async with NativeClient(url, ann) as again:
            assert again.welcome["user"] == "ann"


async def test_a_connection_over_the_total_cap_is_closed_with_4429() -> None:
    """Before it says hello; when one is gone the next may come."""
    async with running_router(dev=True, max_connections=2) as router, bystander(router):
        async with NativeClient(router.addresses.ws_url), NativeClient(router.addresses.ws_url, hello=False) as third:
            assert (await third.closed())[0] == 4429
        await wait_until(lambda: len(router.registry) == 1, "it is gone")
        async with NativeClient(router.addresses.ws_url):
            pass


async def test_connections_of_one_address_over_the_cap_are_closed_with_4429(token: Callable[..., str]) -> None:
    """Whoever they are."""
    async with (
        running_router(max_connections_per_address=2) as router,
        bystander(router, token("ann", rooms=("doc:*",))),
        NativeClient(router.addresses.ws_url, token("bob")),
        NativeClient(router.addresses.ws_url, token("zoe"), hello=False) as third,
    ):
        assert (await third.closed())[0] == 4429


async def test_a_second_hello_is_an_error_and_no_end(guarded_router: Router, token: Callable[..., str]) -> None:
    """Also while the first is being answered; the client stays who it was."""
    ann, bob = token("ann", rooms=("doc:*",)), token("bob")
    async with bystander(guarded_router, ann), RawClient(guarded_router.addresses.ws_url) as client:
        await client.open(hello=False)
        hello = [json.dumps({"type": "hello", "id": id, "token": each}).encode() for id, each in ((1, ann), (2, bob))]
        await client.send(frame(TEXT, hello[0]) + frame(TEXT, hello[1]))
        answers = {message["id"]: message for message in [await client.message(), await client.message()]}
        assert (answers[1]["type"], answers[1]["user"]) == ("welcome", "ann")
        assert answers[2]["code"] == "bad_message"
        await client.command("presence", id=3, room="user:ann")
        assert (await client.message())["type"] == "presence"


async def test_a_client_that_closes_is_answered_with_its_code(router: Router) -> None:
    """1000 and an application's own; its rooms are left."""
    for code in (1000, 3000, 4999):
        async with bystander_of_another_room(router), NativeClient(router.addresses.ws_url) as client:
            await client.subscribe("doc:2")
            await client.socket.close(code)
            assert client.socket.close_code == code
        await wait_until(lambda: not len(router.ledger.page("doc:2")), "the room is left")


async def test_sigterm_drains_and_exits_with_0(start_router: Callable[..., RouterProcess]) -> None:
    """What was acknowledged arrives, then the notice with each client's own slot, then 1001; nobody new gets in."""
    process = start_router("--dev")
    clients = [NativeClient(process.ws_url) for _ in range(20)]
    try:
        for client in clients:
            await client.__aenter__()
            await client.subscribe("doc:1")
        publisher = clients[0]
        for n in range(500):
            await publisher.send("publish", id=f"p{n}", room="doc:1", kind="app.step", data={"n": n})
        streams = [Stream(client, "doc:1") for client in clients]
        while len(streams[0].others) < 500:
            streams[0].take(await publisher.next())
        assert {message["type"] for message in streams[0].others} == {"published"}
        process.signal(signal.SIGTERM)

        async def drained(stream: Stream) -> int:
            (notice,) = await stream.notices(1, "draining")
            assert notice.keys() == {"type", "code", "reconnect_in_ms"}
            assert stream.values == list(range(500))
            code, _reason = await stream.client.closed()
            assert code == 1001
            return notice["reconnect_in_ms"]

        # All at once: one that had to wait for its turn to read would be taken for stalled on a busy machine.
        slots = await asyncio.gather(*map(drained, streams))
        assert len(set(slots)) > 10
        assert all(0 <= slot <= 10_000 for slot in slots)
        assert process.wait(10) == 0
        with pytest.raises(OSError):
            await NativeClient(process.ws_url).__aenter__()
    finally:
        for client in clients:
            await client.socket.close()
    log = [json.loads(line) for line in process.log.splitlines() if line.startswith("{")]
    assert not [line for line in log if line["level"] in ("error", "critical")], process.log
    closed: list[Message] = [line for line in log if line["event"] == "connection_closed"]
    assert [(line["code"], line["by"]) for line in closed] == [(1001, "router")] * 20


async def test_a_mass_disconnect_is_one_line_and_details_at_debug_level(
    start_router: Callable[..., RouterProcess],
) -> None:
    """Those that were cut are counted, and those that a drain closes; whoever looks at debug level finds each."""
    process = start_router("--dev", environment={"POSTROOM_LOG_LEVEL": "debug"})

    async def crowd() -> list[NativeClient]:
        return list(await asyncio.gather(*(NativeClient(process.ws_url).__aenter__() for _ in range(60))))

    def lines(event: str, level: str) -> list[Message]:
        log = [json.loads(line) for line in process.log.splitlines() if line.startswith("{")]
        return [line for line in log if line["event"] == event and line["level"] == level]

    for client in await crowd():
        client.cut()
    await wait_until(lambda: lines("connections_closed", "info"), "the summary")
    drained = await crowd()
    process.signal(signal.SIGTERM)
    assert {code for code, _ in await asyncio.gather(*(client.closed() for client in drained))} == {1001}
    assert await asyncio.to_thread(process.wait, 10) == 0
    singly = lines("connection_closed", "info")
    together = lines("connections_closed", "info")
    each = lines("connection_closed", "debug")
    assert sum(line["count"] for line in together) + len(singly) == 120
    assert sum(line["count"] for line in together) == len(each)
    assert len({line["connection"] for line in (*singly, *each)}) == 120
    assert all(sum(line["codes"].values()) == line["count"] for line in together)
    assert process.log.index('"router_stopped"') > process.log.rindex('"connections_closed"')


async def test_sigterm_does_not_wait_for_a_client_that_does_not_answer(
    start_router: Callable[..., RouterProcess],
) -> None:
    """A client that reads nothing, and one in the middle of its handshake, are cut when the time to drain is over."""
    process = start_router("--dev", environment={"POSTROOM_DRAIN_S": "0.5"})
    async with (
        RawClient(process.ws_url) as deaf,
        RawClient(process.ws_url) as unfinished,
        NativeClient(process.ws_url) as polite,
    ):
        await deaf.open()
        await unfinished.send(b"GET /v1/ws HTTP/1.1\r\nHost: ")
        deaf.stop_reading()
        process.signal(signal.SIGTERM)
        assert (await polite.closed())[0] == 1001
        assert await asyncio.to_thread(process.wait, 10) == 0


async def test_the_log_says_who_ended_each_connection(logged: list[dict[str, Any]]) -> None:
    """The router: by a code of its own, by one that the protocol asks for, by a cut; or the client."""

    async def ended(data: bytes | None) -> dict[str, Any]:
        before = len(logged)
        async with RawClient(router.addresses.ws_url) as client:
            await client.open()
            if data is None:
                client.cut()
            elif data:
                await client.send(data)
                await client.closed()
            else:
                await client.ended()  # it answers no ping
        await wait_until(lambda: any(line["event"] == "connection_closed" for line in logged[before:]), "it is gone")
        (line,) = [line for line in logged[before:] if line["event"] == "connection_closed"]
        return line

    async with running_router(dev=True, heartbeat_s=0.2, pong_timeout_s=0.2) as router:
        for data, by, code in (
            (frame(TEXT, b"{") * 10, "router", 4400),
            (frame(BINARY, b"x"), "router", 1003),
            (frame(TEXT, b"\xff"), "router", 1007),
            (frame(TEXT, b"x" * 70_000), "router", 1009),
            (frame(TEXT, b"x", reserved=1), "router", 1002),
            (b"", "router", 1006),
            (frame(CLOSE, b"\x03\xe8"), "client", 1000),
            (frame(CLOSE, b"\x0b\xb8"), "client", 3000),
            (None, "client", 1006),
        ):
            line = await ended(data)
            assert (line["by"], line["code"]) == (by, code)
