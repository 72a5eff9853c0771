"""RoomDirectory: a name in, a mailbox out that takes mail at once, whenever the room itself comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial

import pykka
import pytest

from actors.errors import LogUnavailable
from actors.log import MemoryLog
from actors.mailbox import Target
from actors.messages import Published, Shutdown
from actors.record import RoomRecord
from actors.room import Room
from actors.rooms import RoomLimits

from .fake_clock import settled
from .house import Ear, House

pytestmark = pytest.mark.usefixtures("nothing_left")
Ready = Callable[[RoomRecord | LogUnavailable], None]


class SlowLog(MemoryLog):
    """A log whose records come when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Callable[[], None]] = []

    def open(self, room: str, ready: Ready, to: Target | None = None) -> None:
        self.asked.append(partial(super().open, room, ready))


@pytest.fixture
async def slow_house(nothing_left: None) -> AsyncIterator[House]:
    house = House(log=SlowLog())
    yield house
    await house.end()


def asked(house: House) -> list[Callable[[], None]]:
    assert isinstance(house.log, SlowLog)
    return house.log.asked


def rooms_alive() -> int:
    return len(pykka.ActorRegistry.get_by_class(Room))


async def test_a_name_stands_for_one_mailbox(house: House) -> None:
    first = house.directory.room("team:1")
    assert house.directory.room("team:1") is first
    assert house.directory.room("team:2") is not first
    assert len(house.directory) == 2


async def test_a_room_opens_on_first_use(house: House) -> None:
    assert rooms_alive() == 0
    house.directory.room("team:1")
    await settled()
    assert rooms_alive() == 1


async def test_a_room_is_named_for_operators(house: House) -> None:
    assert house.directory.room("team:1").name == "room:team:1"


async def test_a_room_is_known_from_its_first_use_on(house: House) -> None:
    assert not house.directory.known("team:1")
    house.directory.room("team:1")
    assert house.directory.known("team:1")


async def test_only_the_newest_record_opens_a_room(slow_house: House) -> None:
    """A record that was read before another one was asked for may be older than what the room has done since."""
    directory, mailbox = slow_house.directory, slow_house.directory.room("team:1")
    await settled()
    directory._start("team:1", mailbox)  # as a supervisor does that followed one which failed
    first, second = asked(slow_house)
    first()
    assert rooms_alive() == 0
    second()
    assert rooms_alive() == 1


async def test_a_room_that_retired_is_still_known(house: House) -> None:
    await house.append("team:1")
    await house.clock.advance(300.0)
    assert len(house.directory) == 0
    assert house.directory.known("team:1")


async def test_a_room_that_fails_as_it_retires_is_not_brought_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could reach it any more, and nobody would let it retire again."""
    await house.append("team:1")
    release, failures = house.log.release, [1]

    def failing(room: str) -> None:
        if failures:
            failures.pop()
            raise RuntimeError("made to fail")
        release(room)

    monkeypatch.setattr(house.log, "release", failing)
    await house.clock.advance(300.0)
    assert (len(house.directory), rooms_alive(), house.rooms_start.children) == (0, 0, {})
    answer = await house.append("team:1")
    assert isinstance(answer, Published)
    assert answer.receipt.offset == 2


async def test_mail_waits_until_the_log_has_handed_out_the_record(slow_house: House) -> None:
    ear = Ear()
    slow_house.put("team:1", ear)
    await settled()
    assert ear.heard == []
    asked(slow_house)[0]()
    await settled()
    assert ear.only(Published).receipt.offset == 1


async def test_a_record_that_comes_after_the_end_wakes_nobody(slow_house: House) -> None:
    slow_house.directory.room("team:1")
    await settled()
    slow_house.rooms.tell(Shutdown())
    await settled()
    asked(slow_house)[0]()
    await settled()
    assert rooms_alive() == 0


async def test_two_records_for_one_room_make_one_room(slow_house: House) -> None:
    """A supervisor that follows another one opens what is not there yet, and the first answer is still to come."""
    house = slow_house
    room = house.directory.room("team:1")
    await settled()
    house.rooms_start.children[room].spec.start(room)
    first, second = asked(house)
    first()
    second()
    await settled()
    assert rooms_alive() == 1
    assert room.occupied


async def test_a_room_opened_while_all_stop_does_not_hold_up_the_end(house: House) -> None:
    await house.append("team:1")
    house.rooms.tell(Shutdown())
    house.directory.room("team:2")
    await settled()
    assert not house.rooms.occupied
    assert rooms_alive() == 0


@pytest.mark.parametrize(
    ("idle_s", "history_s", "every_s"), [(60.0, 600.0, 30.0), (600.0, 20.0, 10.0), (0.0, 9.0, 0.05)]
)
async def test_rooms_are_swept_twice_in_the_shorter_of_their_times(
    idle_s: float, history_s: float, every_s: float
) -> None:
    house = House(RoomLimits(idle_s=idle_s, history_s=history_s))
    house.directory.room("team:1")
    assert house.clock.due == [every_s]
    await house.end()


async def test_one_timer_serves_all_rooms(house: House) -> None:
    for number in range(20):
        house.directory.room(f"team:{number}")
    await house.clock.advance(40.0)
    assert len(house.clock.due) == 1
