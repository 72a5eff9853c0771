"""A room that other routers have too: who is there counts, and who comes and goes is told both ways.

The other routers are a fake of the port that rooms see; tests/cluster has the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from actors.commands import Presence
from actors.elsewhere import News
from actors.identity import ANONYMOUS
from actors.mailbox import Target
from actors.messages import Fail, Heard, Query
from actors.replies import MemberJoined, MemberLeft
from actors.replies import Presence as PresenceReply
from actors.roll import Roll
from actors.rooms import RoomLimits

from .client import Client, Hall
from .fake_clock import settled
from .house import Ear, House
from .making import a_roll

pytestmark = pytest.mark.usefixtures("nothing_left")

ROOM = "team:1"


class Others:
    """The other routers; answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Callable[[Roll], None]] = []
        self.told: list[list[tuple[str, str]]] = []
        self.listening: list[Target] = []

    def call_roll(self, room: str, then: Callable[[Roll], None]) -> None:
        assert room == ROOM
        self.asked.append(then)

    def tell(self, room: str, news: Sequence[News]) -> None:
        if room == ROOM:
            self.told.append([(type(each).__name__, each.connection) for each in news])

    def hear(self, room: str, to: Target) -> Listening:
        assert room == ROOM
        self.listening.append(to)
        return Listening(self, to)


class Listening:
    def __init__(self, others: Others, to: Target) -> None:
        self._others = others
        self._to = to

    def stop(self) -> None:
        self._others.listening.remove(self._to)


def news(client: Client) -> list[tuple[str, str]]:
    return [(each["type"], each["connection"]) for each in client.wire.told if each["type"] in ("joined", "left")]


def hall_with(others: Others, limits: RoomLimits | None = None) -> Hall:
    return Hall(house=House(limits, elsewhere=others))


async def ask(house: House) -> Ear:
    ear = Ear()
    house.directory.room(ROOM).tell(Query(Presence(room=ROOM), ANONYMOUS, ear))
    await settled()
    return ear


async def test_who_is_there_is_who_is_here_and_on_other_routers() -> None:
    """The answer waits for theirs; two who ask at once have one roll, so that it is written once."""
    others = Others()
    hall = hall_with(others)
    await (await hall.welcomed()).subscribe(ROOM)
    ears = [await ask(hall.house), await ask(hall.house)]
    assert [ear.heard for ear in ears] == [[], []]
    roll = a_roll(x1="ann", x2="ann", x3="anonymous")
    for then in others.asked:
        then(roll)
    rolls = [ear.only(PresenceReply).roll for ear in ears]
    assert rolls[0].users == {"anonymous": 2, "ann": 2}
    await hall.end()


async def test_the_answer_comes_when_the_room_has_failed_meanwhile() -> None:
    others = Others()
    hall = hall_with(others)
    await (await hall.welcomed()).subscribe(ROOM)
    ear = await ask(hall.house)
    hall.house.directory.room(ROOM).tell(Fail("ops"))
    await hall.clock.advance(1.0)
    others.asked.pop()(a_roll(x1="ann"))
    assert ear.only(PresenceReply).roll.users == {"anonymous": 1, "ann": 1}
    await hall.end()


async def test_who_comes_and_goes_here_is_told_to_the_others_a_turn_at_a_time() -> None:
    """But for who comes and goes within one turn."""
    others = Others()
    hall = hall_with(others)
    one, two = await hall.welcomed(), await hall.welcomed()
    for client in (one, two):
        client.say("subscribe", id=9, room=ROOM)
    await settled()
    one.say("unsubscribe", id=10, room=ROOM)
    await settled()
    assert others.told == [[("MemberJoined", "c1"), ("MemberJoined", "c2")], [("MemberLeft", "c1")]]
    await hall.end()


async def test_what_others_tell_is_heard_while_somebody_wants_to_hear_it() -> None:
    """By the next actor of the room too, once; and is not told back."""
    others = Others()
    hall = hall_with(others)
    listening, other = await hall.welcomed(), await hall.welcomed()
    await other.subscribe(ROOM)
    assert others.listening == []
    await listening.subscribe(ROOM, presence=True)
    assert others.listening == [hall.house.directory.room(ROOM)]
    others.listening[0].tell(Heard([MemberJoined(room=ROOM, user="ann", connection="x1")]))
    await settled()
    hall.house.directory.room(ROOM).tell(Fail("ops"))
    await hall.clock.advance(1.0)
    (room,) = others.listening
    room.tell(Heard([MemberLeft(room=ROOM, user="ann", connection="x1")]))
    await settled()
    assert news(listening) == [("joined", "x1"), ("left", "x1")]
    assert others.told == [[("MemberJoined", "c2")], [("MemberJoined", "c1")]]
    await listening.ask("unsubscribe", room=ROOM)
    assert others.listening == []
    await hall.end()


async def test_a_room_that_ends_listens_no_more() -> None:
    others = Others()
    hall = hall_with(others)
    listening = await hall.welcomed()
    await listening.subscribe(ROOM, presence=True)
    assert len(others.listening) == 1
    await hall.end()
    assert others.listening == []
