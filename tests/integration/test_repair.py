"""A connection actor fails, at any moment and in any way: its client notices no more than a `resumed` notice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from pykka import ActorRegistry

from actors.batch import Batch
from actors.connection import Connection
from actors.messages import Drain, Frame, Published
from actors.supervisor import Supervisor
from server.app import Router
from server.protocols.native import NativeCodec

from ..conftest import running_router
from ..native_client import Message, NativeClient
from .faults import countdown, fail_on_message, fail_once
from .services import crash, publish, state_of, wait_until
from .streams import Stream, fill

Log = list[dict[str, Any]]


def lines(logged: Log, event: str) -> Log:
    """Return the log lines of one event."""
    return [line for line in logged if line["event"] == event]


async def test_a_crash_between_events_is_invisible_but_for_the_notice(router: Router, logged: Log) -> None:
    """Every event once and in order on the same socket; one notice, and one log line for each step of the repair."""
    async with NativeClient(router.addresses.ws_url) as client, NativeClient(router.addresses.ws_url) as other:
        await client.subscribe("doc:1")
        await other.subscribe("doc:1")
        await fill(router, "doc:1", 1, 20)
        crash(state_of(router, client).mailbox)
        await fill(router, "doc:1", 21, 40)
        stream = await Stream(client, "doc:1").until(40)
        (notice,) = await stream.notices(1)
        assert notice == {"type": "notice", "code": "resumed", "rooms": notice["rooms"]}
        assert set(notice["rooms"]) == {*client.welcome["rooms"], "doc:1"}
        await stream.rest()
        assert stream.values == list(range(1, 41))
        assert stream.others == [notice]
        elsewhere = await (await Stream(other, "doc:1").until(40)).rest()
        assert elsewhere.others == []
        id = client.welcome["connection"]
    (failed,) = lines(logged, "actor_failed")
    assert failed["actor"] == f"connection:{id}"
    assert failed["actor_class"] == "Connection"
    assert failed["message_type"] == "ProxyCall"
    assert failed["exception_type"] == "AttributeError"
    assert len(failed["traceback_hash"]) == 12
    (restarted,) = lines(logged, "actor_restarted")
    assert (restarted["actor"], restarted["restart"], restarted["of"]) == (failed["actor"], 1, 3)
    assert restarted["backoff_ms"] == 0.0
    (repaired,) = lines(logged, "connection_repaired")
    assert (repaired["connection"], repaired["rooms"].keys()) == (id, set(notice["rooms"]))


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt()])
async def test_no_kind_of_exception_reaches_beyond_its_actor(
    router: Router, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """`CancelledError`, `SystemExit` and `KeyboardInterrupt` are this one actor's failure too."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1")
        state_of(router, client).subscriptions["doc:1"].direct = False
        fail_on_message(monkeypatch, Connection, Batch, error=error)
        await fill(router, "doc:1", 1, 10)
        stream = await Stream(client, "doc:1").until(10)
        await stream.notices(1)
        assert (await stream.rest()).values == list(range(1, 11))


@pytest.mark.parametrize("n", [1, 5, 10])
@pytest.mark.parametrize("kinds", [None, ["app.step"]])
async def test_a_crash_while_a_batch_is_delivered_neither_loses_nor_repeats_an_event(
    router: Router, monkeypatch: pytest.MonkeyPatch, n: int, kinds: list[str] | None
) -> None:
    """The codec fails once on the first, a middle or the last event of a batch; others of the room get it at once."""
    async with NativeClient(router.addresses.ws_url) as client, NativeClient(router.addresses.ws_url) as other:
        await client.subscribe("doc:1", kinds=kinds)
        await other.subscribe("doc:1")
        fault = fail_once(
            monkeypatch,
            NativeCodec,
            "encode_event",
            when=lambda room, event: room == "doc:1" and json.loads(bytes(event.draft.data)) == {"n": n},
        )
        await fill(router, "doc:1", 1, 10)
        await fill(router, "doc:1", 11, 20)
        streams = [await Stream(each, "doc:1").until(20) for each in (client, other)]
        assert fault.struck == 1
        await streams[0 if kinds is None else 1].notices(1)  # who filters gets its events by mail, after the others
        for stream in streams:
            assert (await stream.rest()).values == list(range(1, 21))
        assert sum(len(stream.noticed("resumed")) for stream in streams) == 1


async def test_a_hundred_crashes_in_one_stream_lose_nothing(router: Router, logged: Log) -> None:
    """Forty clients, each crashed two or three times while 2,000 events pass: everything once, a notice for each."""
    clients = [NativeClient(router.addresses.ws_url) for _ in range(40)]
    try:
        for client in clients:
            await client.__aenter__()
            await client.subscribe("doc:1")
        streams = [Stream(client, "doc:1") for client in clients]
        readers = [asyncio.create_task(stream.until(2000)) for stream in streams]
        crashes = [0] * len(clients)
        for number in range(100):
            await fill(router, "doc:1", number * 20 + 1, number * 20 + 20)
            crash(state_of(router, clients[number % 40]).mailbox)
            crashes[number % 40] += 1
        await asyncio.gather(*readers)
        for stream, expected in zip(streams, crashes, strict=True):
            await stream.notices(expected)
            await stream.rest()
            assert stream.values == list(range(1, 2001))
            assert stream.skipped == []
            assert len(stream.others) == expected
    finally:
        for client in clients:
            await client.__aexit__(None, None, None)
    for event in ("actor_failed", "actor_restarted", "connection_repaired"):
        assert len(lines(logged, event)) == 100


async def test_crashes_keep_a_filtered_chain_whole(router: Router) -> None:
    """Whether the last thing before a crash was a wanted event, a marker or neither."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1", kinds=["app.wanted"])
        stream = Stream(client, "doc:1")
        for n in range(1, 601):
            await publish(router, "doc:1", "app.wanted" if n % 7 == 0 or n == 600 else "app.other", {"n": n})
            if n in (98, 300, 301):
                crash(state_of(router, client).mailbox)
        await stream.until(600)
        assert stream.values == [n for n in range(1, 601) if n % 7 == 0 or n == 600]


async def test_a_crash_while_a_client_does_not_read_loses_nothing() -> None:
    """What waits for it in the outbox, and what comes while its socket is full, is there when it reads on."""
    async with (
        running_router(dev=True, outbox_bytes=64 * 1024 * 1024, stall_s=60.0) as router,
        NativeClient(router.addresses.ws_url) as client,
    ):
        await client.subscribe("doc:1")
        state = state_of(router, client)
        client.socket.transport.pause_reading()
        n = 0
        for part in range(3):
            while not state.wire.paused or n < (part + 1) * 100:
                n += 1
                await publish(router, "doc:1", "app.step", {"n": n, "x": "x" * 60_000})
            crash(state.mailbox)
        client.socket.transport.resume_reading()
        stream = await Stream(client, "doc:1").until(n)
        await stream.notices(1)
        assert stream.values == list(range(1, n + 1))


@pytest.mark.parametrize("name", ["connections", "rooms"])
async def test_a_supervisor_that_fails_is_replaced_and_its_children_live_on(
    router: Router, logged: Log, name: str
) -> None:
    """Nobody below it notices; what fails afterwards is repaired by the new one, and new children are started."""
    (supervisor,) = [ref.actor_inbox for ref in ActorRegistry.get_by_class(Supervisor) if ref.actor_inbox.name == name]
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1")
        crash(supervisor)
        await fill(router, "doc:1", 1, 10)
        stream = await Stream(client, "doc:1").until(10)
        assert (await stream.rest()).others == []
        crash(state_of(router, client).mailbox)
        crash(router.directory.room("doc:1"))
        await fill(router, "doc:1", 11, 20)
        await stream.until(20)
        await stream.notices(1)
        assert stream.values == list(range(1, 21))
        async with NativeClient(router.addresses.ws_url) as fresh:
            await fresh.subscribe("doc:2")
            await publish(router, "doc:2", "app.step", {"n": 1})
            assert (await Stream(fresh, "doc:2").until(1)).values == [1]
    assert lines(logged, "actor_failed")[0]["actor"] == name


async def test_commands_behind_the_failing_one_are_answered(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failing one gets `internal`, those before and after it their answers, all in the order of sending."""
    async with NativeClient(router.addresses.ws_url) as client:
        fail_on_message(monkeypatch, Connection, Frame, when=lambda frame: '"poison"' in frame.text)
        for id in ["a", "b", "poison", "c", "d"]:
            await client.send("ping", id=id)
        for number in range(50):
            await client.send("publish", id=number, room="doc:1", kind="app.step", data={"n": number})
        answers = [await client.next() for _ in range(56)]
        by_id = {answer["id"]: answer for answer in answers if "id" in answer}
        assert len(by_id) == 55
        assert {by_id[id]["type"] for id in "abcd"} == {"pong"}
        assert by_id["poison"]["code"] == "internal"
        assert by_id["poison"]["temporary"] is True
        assert [by_id[number]["offset"] for number in range(50)] == list(range(1, 51))
        assert [answer["code"] for answer in answers if "id" not in answer] == ["resumed"]


@pytest.mark.parametrize("command", ["state", "history", "presence", "publish", "ack", "refresh", "unsubscribe"])
@pytest.mark.parametrize("where", ["frame", "answer"])
async def test_every_command_on_which_an_actor_fails_is_answered(
    guarded_router: Router, token: Callable[..., str], monkeypatch: pytest.MonkeyPatch, command: str, where: str
) -> None:
    """Whether it fails on the way in or on the answer, the client waits for nothing."""
    fields: dict[str, Message] = {
        "publish": {"room": "doc:1", "kind": "app.step", "data": {}, "event_id": "e1"},
        "ack": {"room": "doc:1", "event_id": "a1"},
        "refresh": {"token": token("ann", "admin")},
    }
    async with NativeClient(guarded_router.addresses.ws_url, token("ann", "admin", publish=("*",))) as client:
        await client.subscribe("doc:1")
        alert = {"severity": "critical", "title": "t"}
        await client.ask("publish", room="doc:1", kind="alert", data=alert, event_id="a1")
        await client.next("event")
        if where == "frame":
            fail_on_message(monkeypatch, Connection, Frame)
        else:
            fail_once(
                monkeypatch,
                NativeCodec,
                "encode",
                when=lambda reply: type(reply).__name__ not in ("Error", "Notice", "Pong"),
            )
        answer = await client.ask(command, **fields.get(command, {"room": "doc:1"}))
        assert (answer["type"], answer["code"]) == ("error", "internal"), answer
        assert (await client.next("notice"))["code"] == "resumed"
        again = await client.ask(command, **fields.get(command, {"room": "doc:1"}))
        assert again["type"] != "error" or again["code"] in ("not_found", "not_subscribed"), again
        counts = (await client.ask("state", room="doc:1"))["state"]["counts"]
        assert counts.get("app.step", 0) == (1 if command == "publish" else 0)


async def test_reading_goes_on_after_crashes_with_publishes_under_way(
    guarded_router: Router, token: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the dead actor had under way is counted off: thousands of commands later the socket is still read."""
    fail_on_message(monkeypatch, Connection, Published, when=countdown(40))
    fail_on_message(monkeypatch, Connection, Frame, when=countdown(60))
    async with NativeClient(guarded_router.addresses.ws_url, token("svc", "service")) as client:
        for number in range(3000):
            await client.send("publish", id=number, room="doc:1", kind="app.step", data={})
        answered: set[int] = set()
        while len(answered) < 3000:
            message = await client.next()
            if "id" in message:
                answered.add(message["id"])
        assert (await client.ask("ping"))["type"] == "pong"


async def test_a_client_that_leaves_while_its_actor_is_dead_leaves_nothing(router: Router) -> None:
    """The successor finds the closed socket in its mailbox; the fixture checks that nothing is left."""
    client = NativeClient(router.addresses.ws_url)
    async with client:
        await client.subscribe("doc:1")
        state = state_of(router, client)
        for _ in range(3):  # the back-off of the second and third restart gives time to leave
            crash(state.mailbox)
        client.cut()
    await wait_until(lambda: state.mailbox.closed, "the actor ends")
    await wait_until(lambda: not len(router.ledger), "its subscriptions are gone")


async def test_a_crash_while_draining_still_lets_the_client_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is closed with 1001 by the successor, long before the time for draining is over."""
    fail_on_message(monkeypatch, Connection, Drain, after=True)
    async with running_router(dev=True, drain_s=20.0) as router, NativeClient(router.addresses.ws_url) as client:
        stopping = asyncio.create_task(router.stop())
        assert (await client.next("notice"))["code"] == "draining"
        assert (await client.closed())[0] == 1001
        await stopping
