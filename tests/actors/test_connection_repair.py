"""Connection: after a failure its client goes on without gap or repeat, and every command is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from actors.batch import Batch
from actors.connection import Connection
from actors.errors import CloseCode
from actors.greeting import Greeting
from actors.identity import Identity
from actors.messages import (
    Acknowledge,
    Attached,
    Authenticated,
    Close,
    Committed,
    Drain,
    Frame,
    Joined,
    Publish,
    Published,
    Refused,
    Subscribe,
    WireClosed,
    Writable,
)
from actors.replies import State, Subscribed
from actors.room import Room

from .client import Client, Hall, fail_to_encode_once
from .fake_clock import settled
from .house import Ear, House, fail_once

pytestmark = pytest.mark.usefixtures("nothing_left")
ROOM = "team:1"
EVENT = Publish(rooms=(ROOM,), kind="app.thing", data={})


@pytest.fixture
async def hall(nothing_left: None) -> AsyncIterator[Hall]:
    hall = Hall()
    yield hall
    await hall.end()


async def in_the_room(hall: Hall, **fields: Any) -> Client:
    client = await hall.welcomed()
    await client.subscribe(ROOM, **fields)
    return client


def events(house: House, count: int) -> None:
    """Publish events, without waiting."""
    for _ in range(count):
        house.source.tell(EVENT)


def resumed(client: Client) -> list[list[str]]:
    return [sorted(notice["rooms"]) for notice in client.wire.of("notice") if notice["code"] == "resumed"]


@pytest.mark.parametrize("kinds", [None, ["app.thing"], ["app.other"]])
@pytest.mark.parametrize("after", [False, True])
async def test_a_failure_on_an_event_is_a_notice_and_no_gap(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, kinds: list[str] | None, after: bool
) -> None:
    client = await in_the_room(hall, kinds=kinds)
    for _ in range(3):
        events(hall.house, 2)
        await settled()
    client.by_mail(ROOM)
    fail_once(monkeypatch, Connection, Batch, after=after)
    for _ in range(3):
        events(hall.house, 2)
        await settled()
    wanted = [] if kinds == ["app.other"] else list(range(1, 13))
    assert client.offsets(ROOM) == wanted
    assert client.wire.closed is None
    assert resumed(client) == [sorted(client.state.subscriptions)]


@pytest.mark.parametrize("error", [RuntimeError("broken"), asyncio.CancelledError(), SystemExit(3)])
async def test_a_line_that_fails_is_its_connections_failure_and_not_the_rooms(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]], error: BaseException
) -> None:
    client, other = await in_the_room(hall), await in_the_room(hall)
    events(hall.house, 3)
    await settled()
    assert client.wire.open

    def failing(frames: bytes) -> None:
        monkeypatch.undo()
        raise error

    monkeypatch.setattr(client.wire, "out", SimpleNamespace(write=failing))
    events(hall.house, 3)
    await settled()
    assert client.offsets(ROOM) == other.offsets(ROOM) == [1, 2, 3, 4, 5, 6]
    assert resumed(client) == [sorted(client.state.subscriptions)]
    assert resumed(other) == []
    (failed,) = [line for line in logged if line["event"] == "actor_failed"]
    assert failed["actor_class"] == "Connection"


async def test_others_notice_nothing(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await in_the_room(hall), await in_the_room(hall)
    fail_once(monkeypatch, Connection, Frame)
    first.say("ping")
    events(hall.house, 3)
    await settled()
    assert second.offsets(ROOM) == first.offsets(ROOM) == [1, 2, 3]
    assert resumed(second) == []


@pytest.mark.parametrize(
    ("message", "command"),
    [
        (Frame, ("ping", {})),
        (Frame, ("subscribe", {"room": "team:2"})),
        (Frame, ("publish", {"room": ROOM, "kind": "app.thing", "data": {}})),
        (Published, ("publish", {"room": ROOM, "kind": "app.thing", "data": {}})),
        (Refused, ("publish", {"room": ROOM, "kind": "nonsense", "data": {}})),
        (Joined, ("subscribe", {"room": "team:2"})),
        (State, ("state", {"room": ROOM})),
    ],
)
async def test_the_command_that_failed_is_answered_once_and_can_be_tried_again(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, message: type, command: tuple[str, dict[str, Any]]
) -> None:
    client = await in_the_room(hall)
    fail_once(monkeypatch, Connection, message)
    type, fields = command
    assert (await client.ask(type, **fields))["code"] == "internal"
    failed_id = client._ids
    again = await client.ask(type, **fields)
    assert again.get("code") in (None, "invalid_event")
    assert len([told for told in client.wire.told if told.get("id") == failed_id]) == 1


@pytest.mark.parametrize(
    ("message", "command", "answer"),
    [
        (Frame, ("ping", {}), "pong"),
        (Frame, ("subscribe", {"room": "team:2"}), "subscribed"),
        (Frame, ("state", {"room": ROOM}), "state"),
        (Frame, ("publish", {"room": ROOM, "kind": "app.thing", "data": {}}), "published"),
        (Joined, ("subscribe", {"room": "team:2"}), "subscribed"),
        (State, ("state", {"room": ROOM}), "state"),
        (Published, ("publish", {"room": ROOM, "kind": "app.thing", "data": {}}), "published"),
    ],
)
async def test_a_command_that_was_answered_or_passed_on_is_not_answered_again(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, message: type, command: tuple[str, dict[str, Any]], answer: str
) -> None:
    """What fails after a command was dealt with is not the command's failure."""
    client = await in_the_room(hall)
    fail_once(monkeypatch, Connection, message, after=True)
    type, fields = command
    await client.ask(type, **fields)
    assert [told["type"] for told in client.wire.told if told.get("id") == client._ids] == [answer]
    assert client.wire.under_way == 0


async def test_a_write_that_fails_repeats_no_answer(hall: Hall) -> None:
    """An answer that waits to be written when a write fails is written by the successor, once."""
    client = await in_the_room(hall)
    fail_on_the_next_write(client)
    assert (await client.ask("ping"))["type"] == "pong"
    assert [told["type"] for told in client.wire.told if told.get("id") == client._ids] == ["pong"]


def fail_on_the_next_write(client: Client) -> None:
    client.state.outbox.limit = 10  # so that an answer is written at once
    write = client.wire.write

    def fail(frames: bytes) -> None:
        client.wire.write = write  # type: ignore[method-assign]
        raise OSError("made to fail")

    client.wire.write = fail  # type: ignore[method-assign]


async def test_a_welcome_on_whose_write_it_failed_is_said_once(hall: Hall) -> None:
    """A client that was greeted is not greeted again, and hears of the rooms that it may not go on in."""
    hall.authenticator.tokens["ann"] = Identity(user="ann")
    client = hall.client()
    fail_on_the_next_write(client)
    await client.ask("hello", token="ann", resume={"team:2": {"epoch": "x", "offset": 1}})
    assert len(client.wire.of("welcome")) == 1
    assert [revoked["room"] for revoked in client.wire.of("revoked")] == ["team:2"]


async def test_commands_behind_the_one_that_failed_are_obeyed_by_the_successor(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await in_the_room(hall)
    fail_once(monkeypatch, Connection, Frame)
    for number in range(100, 110):
        client.say("ping", id=number)
    await settled()
    answers = [message for message in client.wire.told if message.get("id", 0) >= 100]
    assert [(answer["id"], answer["type"]) for answer in answers] == [
        (100, "error"),
        *((number, "pong") for number in range(101, 110)),
    ]


async def test_what_failed_counts_as_dealt_with(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the socket would be read no more after some failures."""
    client = await in_the_room(hall)
    before = client.wire.under_way
    frames = Connection._obey

    def failing(self: Connection, command: object) -> None:
        monkeypatch.setattr(Connection, "_obey", frames)
        raise RuntimeError("made to fail")

    monkeypatch.setattr(Connection, "_obey", failing)
    await client.ask("ping")
    assert client.wire.under_way == before


async def test_a_failure_on_the_answer_of_a_room_leaves_no_half_subscription(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await in_the_room(hall)
    fail_once(monkeypatch, Connection, Joined)
    assert (await client.ask("subscribe", room="team:2"))["code"] == "internal"
    assert "team:2" not in client.state.subscriptions
    assert resumed(client)
    await client.subscribe("team:2")
    await hall.house.publish("team:2")
    assert client.offsets("team:2") == [1]


async def test_a_failure_on_an_answer_that_nobody_waits_for_any_more_takes_nobody_out_of_the_room(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has unsubscribed and subscribed again meanwhile: the place in the room is that of the second one."""
    client = await hall.welcomed()
    fail_once(monkeypatch, Connection, Joined)
    client.say("subscribe", id="first", room=ROOM)
    client.say("unsubscribe", id="no", room=ROOM)
    client.say("subscribe", id="second", room=ROOM)
    await settled()
    answers = {message["id"]: message["type"] for message in client.wire.told if "id" in message}
    assert (answers["first"], answers["no"], answers["second"]) == ("error", "unsubscribed", "subscribed")
    await hall.house.publish(ROOM)
    assert client.offsets(ROOM) == [1]


async def test_who_subscribed_without_an_id_hears_of_a_failure_on_its_answer(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would get the events of a room at a position that it was never told."""
    client = await hall.welcomed()
    fail_to_encode_once(monkeypatch, Subscribed)
    client.say("subscribe", room=ROOM)
    await settled()
    assert [error["code"] for error in client.wire.of("error")] == ["internal"]
    assert len(hall.house.ledger.page(ROOM)) == 0


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
async def test_a_failure_while_hello_is_answered_ends_in_one_welcome(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """The rooms are asked anew; what they said to the actor that failed must not count twice."""
    joined = Connection._handlers[Joined]
    count = [0]

    def failing(self: Connection, message: Joined) -> None:
        count[0] += 1
        if count[0] == nth:
            raise RuntimeError("made to fail")
        joined(self, message)

    monkeypatch.setitem(Connection._handlers, Joined, failing)
    await hall.house.publish("broadcast")
    client = hall.client()
    client.say("hello", id=1)
    for _ in range(3):
        hall.house.put("broadcast", Ear())
        hall.house.put("role:admin", Ear())
    await settled()
    await hall.house.publish("broadcast")
    await hall.house.publish("role:admin")
    assert len(client.wire.of("welcome")) == 1
    assert client.wire.chains["broadcast"].position == 5
    assert client.wire.chains["role:admin"].position == 4


async def test_a_failing_resume_ends_in_one_welcome_without_repeats(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    (receipt,) = await hall.house.source.ask(EVENT)
    for _ in range(4):
        await hall.house.publish(ROOM)
    joined = Connection._handlers[Joined]
    count = [0]

    def failing(self: Connection, message: Joined) -> None:
        count[0] += 1
        if count[0] == 2:
            raise RuntimeError("made to fail")
        joined(self, message)

    monkeypatch.setitem(Connection._handlers, Joined, failing)
    client = hall.client()
    await client.ask("hello", resume={ROOM: {"epoch": receipt.epoch, "offset": 1}})
    await hall.house.publish(ROOM)
    assert client.offsets(ROOM) == [2, 3, 4, 5, 6]


async def test_a_welcome_that_could_not_be_written_is_written_by_the_successor(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    welcome, left = Greeting.welcome, [1]

    def failing(self: Greeting, *args: Any) -> Any:
        if left.pop() if left else False:
            raise RuntimeError("made to fail")
        return welcome(self, *args)

    monkeypatch.setattr(Greeting, "welcome", failing)
    client = hall.client()
    assert (await client.ask("hello"))["type"] == "welcome"


async def test_a_failing_hello_can_be_said_again(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    hall.authenticator.tokens["ann"] = Identity(user="ann")
    fail_once(monkeypatch, Connection, Authenticated)
    client = hall.client()
    assert (await client.ask("hello", token="ann"))["code"] == "internal"
    assert (await client.ask("hello", token="ann"))["type"] == "welcome"


async def test_a_failure_in_the_middle_of_a_long_history_loses_and_repeats_nothing(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    events(hall.house, 700)
    await settled()
    client = await hall.welcomed()
    fail_once(monkeypatch, Connection, Attached)
    await client.subscribe(ROOM, history=700)
    events(hall.house, 1)
    await settled()
    assert client.offsets(ROOM) == list(range(1, 702))


async def test_leaving_the_last_room_that_is_repaired_ends_the_repair(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await in_the_room(hall)
    fail_once(monkeypatch, Connection, Frame)
    client.say("ping")
    client.say("unsubscribe", room=ROOM)
    await settled()
    assert len(resumed(client)) == 1


async def test_a_connection_that_fails_while_it_drains_is_closed_all_the_same(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    client.mailbox.tell(Drain(reconnect_in_ms=5))
    await settled()
    fail_once(monkeypatch, Connection, Writable)
    client.wire.go_on()
    client.wire.go_on()
    await settled()
    assert client.wire.closed is not None
    assert client.wire.closed[0] == CloseCode.DRAINING


@pytest.mark.parametrize(
    ("message", "code"), [(Close(4009, "by an operator"), 4009), (Drain(100), 1001), (WireClosed(), None)]
)
async def test_what_a_connection_was_told_when_it_failed_is_done(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, message: Any, code: int | None
) -> None:
    """It is told once to close, to drain, or that its client is gone."""
    client = await in_the_room(hall)
    fail_once(monkeypatch, Connection, type(message))
    client.mailbox.tell(message)
    await settled()
    assert client.wire.closed is None if code is None else client.wire.closed[0] == code
    assert client.mailbox.closed == (code is None)
    assert len(hall.house.ledger) == 0


async def test_a_room_that_refuses_a_hello_which_is_said_anew_is_not_joined(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that a room gave to an actor that failed counts no more when it says no to its successor."""
    fail_once(monkeypatch, Connection, Joined, after=True)
    subscribe, asked = Room._handlers[Subscribe], []

    def refuse_the_second(self: Room, message: Subscribe) -> None:
        asked.append(message)
        if self._name == "broadcast" and len([each for each in asked if each.tag.room == "broadcast"]) == 2:
            raise RuntimeError("made to fail")
        subscribe(self, message)

    monkeypatch.setitem(Room._handlers, Subscribe, refuse_the_second)
    client = await hall.welcomed()
    assert "broadcast" not in client.wire.of("welcome")[0]["rooms"]
    assert "broadcast" not in client.state.subscriptions
    assert [revoked["room"] for revoked in client.wire.of("revoked")] == ["broadcast"]


async def test_a_token_is_still_watched_after_a_failure(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    hall.authenticator.tokens["ann"] = Identity(user="ann", expires_at=hall.clock.time() + 100.0)
    client = await hall.welcomed("ann")
    fail_once(monkeypatch, Connection, Frame)
    client.say("ping")
    await hall.clock.advance(130.0)
    assert client.wire.closed == (CloseCode.TOKEN_EXPIRED, "token_expired")
    assert len([notice for notice in client.wire.of("notice") if notice["code"] == "token_expiring"]) == 1


async def test_a_connection_that_cannot_be_repaired_is_closed_and_leaves_its_rooms(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, client = await in_the_room(hall), await in_the_room(hall)
    fail_once(monkeypatch, Connection, Frame, times=4)
    for _ in range(4):
        client.say("ping")
        await hall.clock.advance(0.5)
    assert client.wire.closed == (CloseCode.GIVEN_UP, "given up")
    assert [each.connection for each in hall.house.ledger.page(ROOM).values()] == [other.state.id]
    events(hall.house, 2)
    await settled()
    assert other.offsets(ROOM) == [1, 2]


async def test_a_repair_is_one_log_line_with_the_offsets_of_each_room(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]]
) -> None:
    client = await in_the_room(hall)
    events(hall.house, 3)
    await settled()
    client.by_mail(ROOM)
    fail_once(monkeypatch, Connection, Batch)
    events(hall.house, 2)
    await settled()
    (line,) = [line for line in logged if line["event"] == "connection_repaired"]
    assert line["connection"] == client.state.id
    assert line["rooms"][ROOM] == {"from": 3, "to": 5}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("message", [Acknowledge, Committed])
async def test_an_acknowledgement_on_which_the_room_failed_is_answered_once(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, message: type, after: bool
) -> None:
    """By what the room did or by what it says after the repair, and nothing of it stays under way."""
    await hall.house.publish(ROOM, kind="alert", data={"severity": "critical", "title": "disk full"}, event_id="a1")
    client = await hall.welcomed()
    before = client.wire.under_way
    fail_once(monkeypatch, Room, message, after=after)
    await client.ask("ack", room=ROOM, event_id="a1")
    assert len([told for told in client.wire.told if told.get("id") == client._ids]) == 1
    assert not client.state.publishing
    assert client.wire.under_way == before
