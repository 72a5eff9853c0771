"""A connection actor fails, or its client goes, while it says hello or subscribes: no half of it is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from actors import replies
from actors.connection import Connection
from actors.messages import Attached, Authenticated, Frame, Joined, WireClosed
from actors.streams import Streams
from server.app import Router
from server.protocols.native import NativeCodec

from ..native_client import Message, NativeClient
from .faults import countdown, fail_on_message, fail_once
from .services import crash, publish, state_of, wait_until
from .streams import Stream, fill


@pytest.mark.parametrize("fault", ["command", "page", "welcome"])
async def test_commands_behind_hello_are_answered_whatever_fails(
    router: Router, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """They wait for the welcome; the router fails on one of them, on old events after it, or on the welcome itself."""
    await fill(router, "doc:1", 1, 5)
    epoch = (await publish(router, "doc:1", "app.step", {"n": 6})).epoch
    if fault == "command":
        fail_once(monkeypatch, NativeCodec, "encode", when=lambda reply: reply.id == 5)
    elif fault == "page":
        fail_once(monkeypatch, Streams, "begin")
    else:
        fail_once(monkeypatch, NativeCodec, "encode", when=lambda reply: isinstance(reply, replies.Welcome))
    async with NativeClient(router.addresses.ws_url, hello=False) as client:
        (state,) = router.registry.states
        frames = [{"type": "hello", "id": 1, "resume": {"doc:1": {"epoch": epoch, "offset": 0}}}]
        frames += [{"type": "ping", "id": id} for id in range(2, 9)]
        frames += [{"type": "subscribe", "id": 9, "room": "doc:2"}]
        for each in frames:  # in one turn
            state.wire.begin()
            state.mailbox.tell(Frame(json.dumps(each)))
        stream = Stream(client, "doc:1")
        answers: dict[int, Message] = {}
        while len(answers) < 9:
            message = await client.next()
            if isinstance(message.get("id"), int):
                answers[message["id"]] = message
            else:
                stream.take(message)
        assert answers.pop(1)["type"] == "welcome"
        assert answers.pop(9)["type"] == "subscribed"
        if fault == "command":
            assert answers.pop(5)["code"] == "internal"
        assert {answer["type"] for answer in answers.values()} == {"pong"}
        await stream.until(6)
        for n in range(1100):  # nothing counts as under way that is not
            await client.send("ping", id=str(n))
        while (await client.next("pong"))["id"] != "1099":
            pass


@pytest.mark.parametrize(
    "fault",
    [
        ("message", Frame, "before"),
        ("message", Authenticated, "before"),
        ("message", Joined, "before"),
        ("message", Joined, "after"),
        ("method", "_greet", "before"),
        ("method", "_greet", "after"),
        ("method", "_welcome", "before"),
        ("method", "_welcome", "after"),
        ("reply", replies.Welcome, "before"),
        ("begin", None, "before"),
        ("begin", None, "after"),
        ("end", None, "before"),
    ],
    ids=str,
)
async def test_a_crash_during_hello_ends_in_one_welcome(
    guarded_router: Router,
    token: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    fault: tuple[str, Any, str],
) -> None:
    """At any step: the client is welcomed once, or told `internal` and may say hello again; its stream is whole."""
    router = guarded_router
    what, which, moment = fault
    after = moment == "after"
    await fill(router, "doc:1", 1, 400)
    epoch = (await publish(router, "doc:1", "app.step", {"n": 401})).epoch
    async with NativeClient(router.addresses.ws_url, hello=False) as client:
        if what == "message":
            planted = fail_on_message(monkeypatch, Connection, which, after=after)
        elif what == "method":
            planted = fail_once(monkeypatch, Connection, which, after=after)
        elif what == "reply":
            planted = fail_once(monkeypatch, NativeCodec, "encode", when=lambda reply: isinstance(reply, which))
        elif what == "begin":
            planted = fail_once(monkeypatch, Streams, "begin", after=after)
        else:
            planted = fail_once(monkeypatch, Connection, "on_batch_end")
        hello = {"token": token("ann", rooms=("doc:*",)), "resume": {"doc:1": {"epoch": epoch, "offset": 1}}}
        answer = await client.ask("hello", **hello)
        if answer["type"] == "error":
            assert answer["code"] == "internal"
            answer = await client.ask("hello", **hello)
        assert planted.struck == 1
        assert answer["type"] == "welcome", answer
        assert answer["rooms"]["doc:1"]["recovery"] == "full"
        assert set(answer["rooms"]) == {"doc:1", "user:ann", "role:user", "broadcast", "system"}
        stream = Stream(client, "doc:1", 1)
        await fill(router, "doc:1", 402, 450)
        await stream.until(450)
        await stream.rest()
        await fill(router, "doc:1", 451, 460)
        await stream.until(460)
        assert stream.values == list(range(2, 461))
        assert {message["type"] for message in stream.others} <= {"notice"}
        await publish(router, "broadcast", "app.step", {"n": 1})
        assert (await client.next("event"))["room"] == "broadcast"


@pytest.mark.parametrize("moment", range(6))
async def test_a_crash_while_rooms_answer_hello_repeats_nothing(
    router: Router, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Answers to the dead actor's questions are in the mailbox when its successor asks again."""
    await fill(router, "doc:1", 1, 20)
    epoch = (await publish(router, "doc:1", "app.step", {"n": 21})).epoch
    resume = {"doc:1": {"epoch": epoch, "offset": 5}}
    async with NativeClient(router.addresses.ws_url, hello=False) as client:
        (state,) = router.registry.states
        if moment < 5:
            fail_on_message(monkeypatch, Connection, Joined, when=countdown(moment))
        else:
            state.mailbox.tell(Frame(json.dumps({"type": "hello", "id": 1, "resume": resume})))
            state.wire.begin()
            crash(state.mailbox)
        answer = await client.ask("hello", resume=resume) if moment < 5 else await client.next("welcome")
        assert answer["type"] == "welcome"
        stream = await Stream(client, "doc:1", 5).until(21)
        for n in range(22, 30):
            await publish(router, "doc:1", "app.step", {"n": n})
            await stream.until(n)
        await stream.rest()
        assert stream.values == list(range(6, 30))
        assert (await client.ask("presence", room="doc:1"))["count"] == 1


@pytest.mark.parametrize(
    "fault",
    [
        ("message", Frame, "before"),
        ("message", Joined, "before"),
        ("message", Joined, "after"),
        ("reply", replies.Subscribed, "before"),
        ("begin", None, "before"),
        ("begin", None, "after"),
        ("attached", None, "before"),
        ("attached", None, "after"),
    ],
    ids=str,
)
async def test_a_crash_during_subscribe_leaves_no_half_subscription(
    router: Router, monkeypatch: pytest.MonkeyPatch, fault: tuple[str, Any, str]
) -> None:
    """The answer is `subscribed` and every event follows, or `internal` and the room can be subscribed to."""
    what, which, moment = fault
    after = moment == "after"
    await fill(router, "doc:1", 1, 600)
    epoch = (await publish(router, "doc:1", "app.step", {"n": 601})).epoch
    async with NativeClient(router.addresses.ws_url) as client:
        if what == "message":
            fail_on_message(monkeypatch, Connection, which, after=after)
        elif what == "reply":
            fail_once(monkeypatch, NativeCodec, "encode", when=lambda reply: isinstance(reply, which))
        elif what == "begin":
            fail_once(monkeypatch, Streams, "begin", after=after)
        else:
            fail_on_message(monkeypatch, Connection, Attached, after=after)
        position = {"epoch": epoch, "offset": 0}
        answer = await client.ask("subscribe", room="doc:1", after=position)
        stream = Stream(client, "doc:1")
        if answer["type"] == "error":
            assert answer["code"] == "internal"
            for message in await client.nothing_more():
                assert message["type"] == "notice", message  # nothing of the room came
            assert (await client.ask("presence", room="doc:1"))["count"] == 0
            answer = await client.subscribe("doc:1", after=position)
        assert answer["recovery"] == "full"
        await stream.until(601)
        await fill(router, "doc:1", 602, 620)
        await stream.until(620)
        await stream.rest()
        assert stream.values == list(range(1, 621))
        assert {message["type"] for message in stream.others} <= {"notice"}, "answered twice"
        assert (await client.ask("presence", room="doc:1"))["count"] == 1
        assert (await client.ask("unsubscribe", room="doc:1"))["type"] == "unsubscribed"
        assert (await client.ask("presence", room="doc:1"))["count"] == 0


@pytest.mark.parametrize("rooms", [0, 1, 5])
async def test_a_client_that_is_cut_off_while_it_joins_leaves_nothing(router: Router, rooms: int) -> None:
    """Hello and subscribes are on their way to the rooms when the socket goes."""
    for _ in range(20):
        async with NativeClient(router.addresses.ws_url, hello=False) as client:
            await client.send("hello")
            for number in range(rooms):
                await client.send("subscribe", room=f"doc:{number}")
            client.cut()
    await wait_until(lambda: not len(router.registry), "the connections are gone")
    await wait_until(lambda: not len(router.ledger), "their subscriptions are gone")


async def test_a_client_that_is_cut_off_in_the_turn_of_its_subscribe_leaves_nothing(router: Router) -> None:
    """The room has not answered yet when the actor learns that the socket is gone."""
    async with NativeClient(router.addresses.ws_url) as client:
        state = state_of(router, client)
        state.wire.begin()
        state.mailbox.tell(Frame('{"type": "subscribe", "room": "doc:1"}'))
        state.mailbox.tell(WireClosed())
        await wait_until(lambda: state.mailbox.closed, "the actor ends")
        await wait_until(lambda: not len(router.ledger), "its subscriptions are gone")
