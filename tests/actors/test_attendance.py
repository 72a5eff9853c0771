"""Who asks is told who comes into a room and who leaves it."""

from __future__ import annotations

import pytest

from actors.attendance import Comings
from actors.connection import Connection
from actors.errors import ErrorCode
from actors.messages import Detach, Fail, Revoke, Subscribe
from actors.room import Room

from .client import Client, Hall
from .fake_clock import settled
from .house import Ear, House, fail_once

pytestmark = pytest.mark.usefixtures("nothing_left")

ROOM = "team:1"


def news(client: Client) -> list[tuple[str, str]]:
    """What a client was told of who came and went."""
    return [(each["type"], each["connection"]) for each in client.wire.told if each["type"] in ("joined", "left")]


async def two(hall: Hall) -> tuple[Client, Client]:
    """Open a connection that listens, and another one."""
    listening, other = await hall.welcomed(), await hall.welcomed()
    await listening.subscribe(ROOM, presence=True)
    return listening, other


async def test_who_asks_hears_who_comes_and_who_goes(hall: Hall) -> None:
    listening, other = await two(hall)
    await other.subscribe(ROOM)
    await other.ask("unsubscribe", room=ROOM)
    (came, went) = listening.wire.told[-2:]
    assert came == {"type": "joined", "room": ROOM, "user": "anonymous", "connection": "c2"}
    assert went == {"type": "left", "room": ROOM, "user": "anonymous", "connection": "c2"}
    assert news(other) == []


async def test_nobody_hears_of_itself(hall: Hall) -> None:
    listening, other = await two(hall)
    await other.subscribe(ROOM, presence=True)
    assert news(listening) == [("joined", "c2")]
    assert news(other) == []


async def test_two_who_come_in_one_turn_hear_of_each_other(hall: Hall) -> None:
    listening, other = await hall.welcomed(), await hall.welcomed()
    listening.say("subscribe", id=9, room=ROOM, presence=True)
    other.say("subscribe", id=9, room=ROOM, presence=True)
    await settled()
    assert (news(listening), news(other)) == ([("joined", "c2")], [("joined", "c1")])


async def test_a_socket_that_closes_has_left(hall: Hall) -> None:
    listening, other = await two(hall)
    await other.subscribe(ROOM)
    await other.hang_up()
    assert news(listening) == [("joined", "c2"), ("left", "c2")]


async def test_who_comes_and_goes_in_one_turn_is_not_told_of(hall: Hall) -> None:
    listening, other = await two(hall)
    other.say("subscribe", room=ROOM, id=1)
    other.say("unsubscribe", room=ROOM, id=2)
    await settled()
    assert news(listening) == []


async def test_who_has_unsubscribed_hears_no_more(hall: Hall) -> None:
    listening, other = await two(hall)
    await listening.ask("unsubscribe", room=ROOM)
    await other.subscribe(ROOM)
    assert news(listening) == []


@pytest.mark.parametrize("actor", [Room, Connection])
async def test_a_failure_is_no_coming_and_no_going(hall: Hall, actor: type[Room] | type[Connection]) -> None:
    """The next actor finds who is there; afterwards all is told as before."""
    listening, other = await two(hall)
    await other.subscribe(ROOM, presence=True)
    mailboxes = [hall.house.directory.room(ROOM)] if actor is Room else [listening.mailbox, other.mailbox]
    for mailbox in mailboxes:
        mailbox.tell(Fail("ops"))
    await hall.clock.advance(1.0)
    assert news(listening) == [("joined", "c2")]
    await other.ask("unsubscribe", room=ROOM)
    assert news(listening) == [("joined", "c2"), ("left", "c2")]


async def test_who_came_in_the_turn_in_which_the_room_failed_is_told_of(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening, other = await two(hall)
    fail_once(monkeypatch, Room, Detach)
    other.say("subscribe", room=ROOM, id=1)
    await settled()
    hall.house.directory.room(ROOM).tell(Detach("nobody"))
    await hall.clock.advance(1.0)
    assert news(listening) == [("joined", "c2")]


async def test_a_subscription_on_which_the_room_failed_leaves_no_trace(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had come in, and the answer says that it has not: both are told."""
    listening, other = await two(hall)
    fail_once(monkeypatch, Room, Subscribe, after=True)
    await other.ask("subscribe", room=ROOM)
    await hall.clock.advance(1.0)
    assert news(listening) == [("joined", "c2"), ("left", "c2")]


async def test_who_is_sent_away_has_left(hall: Hall) -> None:
    listening, other = await two(hall)
    await other.subscribe(ROOM)
    other.mailbox.tell(Revoke(ROOM, "an operator says so"))
    await settled()
    assert news(listening) == [("joined", "c2"), ("left", "c2")]


async def test_a_crowd_is_told_in_pieces_and_of_everyone_once(house: House) -> None:
    """However many come in one turn, one message holds a bounded number of them."""
    listening = Ear()
    house.subscribe(ROOM, listening, "first", presence=True)
    await settled()
    listening.heard.clear()
    for number in range(200):
        house.subscribe(ROOM, Ear(), f"c{number}")
    await settled()
    pieces = [len(comings) for comings in listening.of(Comings)]
    assert sum(pieces) == 200
    assert max(pieces) <= 64


async def test_events_and_comings_keep_their_order(hall: Hall) -> None:
    listening, other = await two(hall)
    await hall.house.publish(ROOM)
    await other.subscribe(ROOM)
    await hall.house.publish(ROOM)
    kinds = [each["type"] for each in listening.wire.told if each["type"] in ("event", "joined")]
    assert kinds == ["event", "joined", "event"]


# --- leaving before one has come in


async def test_unsubscribing_before_the_room_has_answered_takes_the_subscription_back(hall: Hall) -> None:
    """Both are answered, nothing of the room follows, and one may subscribe again at once."""
    client = await hall.welcomed()
    for id, type in enumerate(("subscribe", "unsubscribe", "subscribe")):
        client.say(type, id=10 + id, room=ROOM)
    await settled()
    answers = {each["id"]: each for each in client.wire.told if each.get("id") in (10, 11, 12)}
    assert answers[10]["code"] == ErrorCode.NOT_SUBSCRIBED
    assert answers[11]["type"] == "unsubscribed"
    assert answers[12]["type"] == "subscribed"
    await hall.house.publish(ROOM)
    assert client.offsets(ROOM) == [1]
    await client.ask("unsubscribe", room=ROOM)
    assert hall.house.ledger.subscribers(ROOM) == 0
