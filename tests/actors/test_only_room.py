"""Connection: a client that is here for one room, and asks for it by a message instead of a frame."""

from __future__ import annotations

import pytest

from actors import commands, replies
from actors.errors import CloseCode
from actors.future import LoopFuture
from actors.identity import Identity
from actors.messages import Authenticated, Exclude, Fail, Forget, Include, Included, Refused, Request

from .client import Client, Hall, fail_to_encode_once
from .fake_clock import settled

pytestmark = pytest.mark.usefixtures("nothing_left")

ROOM = "team:1"
ANN = Identity(user="ann", rooms=("team:*",))


async def reader(hall: Hall, identity: Identity = ANN) -> Client:
    """Open a connection for the room, for somebody whose token was looked at already."""
    client = hall.client()
    client.state.only_room = ROOM
    client.mailbox.tell(Authenticated(commands.Hello(), identity))
    client.mailbox.tell(Request(commands.Subscribe(id=1, room=ROOM)))
    await settled()
    return client


async def test_it_is_in_that_room_and_in_no_other(hall: Hall) -> None:
    """Nobody waits for the rooms that others join by themselves: there are none to answer."""
    client = await reader(hall)
    assert [message["type"] for message in client.wire.told] == ["welcome", "subscribed"]
    assert client.wire.told[0]["rooms"] == {}
    assert list(client.state.subscriptions) == [ROOM]
    await hall.house.publish(ROOM, "user:ann", "broadcast")
    await settled()
    assert client.offsets(ROOM) == [1]
    assert len(client.wire.of("event")) == 1


async def test_what_it_may_not_read_is_refused_to_it(hall: Hall) -> None:
    client = await reader(hall, Identity(user="ann"))
    assert [message["code"] for message in client.wire.of("error")] == ["forbidden"]
    assert hall.ports.meters.rejected == {}, "it is counted where the request is answered"


async def test_it_ends_with_the_room(hall: Hall) -> None:
    """Whatever it was that sent it out; the reason comes before the end."""
    client = await reader(hall)
    hall.house.directory.room(ROOM).tell(Forget(LoopFuture()))
    await settled()
    assert client.wire.told[-1]["type"] == "revoked"
    assert client.wire.closed is not None
    assert client.wire.closed[0] == CloseCode.NORMAL


async def test_an_operator_has_it_join_no_other_room(hall: Hall) -> None:
    """It counts as told: the right is there, and where it is for its own room that is worth something."""
    client = await reader(hall)
    for room in ("doc:2", ROOM):
        answer: LoopFuture[Included | Refused] = LoopFuture()
        client.mailbox.tell(Include(room, answer))
        assert isinstance(await answer, Included)
    await settled()
    assert list(client.state.subscriptions) == [ROOM]
    answer = LoopFuture()
    client.mailbox.tell(Exclude(ROOM, answer))
    assert isinstance(await answer, Included)
    assert client.wire.closed is not None


async def test_it_is_repaired_as_any_other(hall: Hall) -> None:
    client = await reader(hall)
    await hall.house.publish(ROOM)
    client.mailbox.tell(Fail("test"))
    await hall.house.publish(ROOM)
    await hall.house.publish(ROOM)
    await hall.clock.advance(1)
    assert client.offsets(ROOM) == [1, 2, 3]
    assert client.state.restarts == 1


async def test_a_failure_on_the_request_is_its_answer(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_encode_once(monkeypatch, replies.Subscribed)
    client = await reader(hall)
    await hall.clock.advance(1)
    assert [(message["id"], message["code"]) for message in client.wire.of("error")] == [(1, "internal")]
    assert ROOM not in client.state.subscriptions
