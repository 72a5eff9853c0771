"""Who is in a room is found out and written once for all who ask in a turn."""

from __future__ import annotations

from typing import Any

import pytest

from actors import commands, replies
from actors.identity import Identity
from actors.messages import Detach, Query
from actors.roll import Roll

from .client import Hall
from .fake_clock import settled
from .house import Ear

pytestmark = pytest.mark.usefixtures("nothing_left")

ROOM = "team:1"
OPS = Identity(user="ops", role="admin")


def question(ear: Ear, **fields: Any) -> Query:
    return Query(commands.Presence(room=ROOM, **fields), OPS, ear)  # type: ignore[arg-type]  # it is only told


def rolls(ear: Ear) -> list[Roll]:
    """The rolls of the answers, in order."""
    return [answer.roll for answer in ear.of(replies.Presence)]


def there(roll: Roll) -> list[str]:
    return [each.connection for each in roll.present]


async def test_all_who_ask_in_a_turn_share_a_roll(hall: Hall) -> None:
    """Those who ask in the next one get another: nothing that was written of it stays in memory."""
    await (await hall.welcomed()).subscribe(ROOM)
    room, ear = hall.house.directory.room(ROOM), Ear()
    for connections in (True, False, True):
        room.tell(question(ear, connections=connections))
    await settled()
    room.tell(question(ear))
    await settled()
    first, second, third, later = rolls(ear)
    assert first is second is third is not later
    assert there(first) == there(later) == ["c1"]


async def test_who_comes_or_goes_between_two_questions_of_a_turn_is_told_of(hall: Hall) -> None:
    client, other = await hall.welcomed(), await hall.welcomed()
    await client.subscribe(ROOM)
    room, ear = hall.house.directory.room(ROOM), Ear()
    room.tell(question(ear))
    other.say("subscribe", room=ROOM)
    await settled()
    room.tell(question(ear))
    room.tell(Detach("c2"))
    room.tell(question(ear))
    await settled()
    assert [there(roll) for roll in rolls(ear)] == [["c1"], ["c1", "c2"], ["c1"]]


def test_what_is_made_of_a_roll_is_made_once() -> None:
    """By each function that makes something of it."""
    made: list[str] = []

    def one(roll: Roll) -> bytes:
        made.append("one")
        return b"1"

    def other(roll: Roll) -> bytes:
        made.append("other")
        return b"2"

    roll = Roll(())
    assert [bytes(roll.written(write)) for write in (one, other, one, other)] == [b"1", b"2", b"1", b"2"]
    assert made == ["one", "other"]
