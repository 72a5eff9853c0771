"""Room: what it holds is bounded, and an idle room goes and comes back as it was."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable

import pykka
import pytest

from actors import commands, replies
from actors.commands import Position
from actors.errors import ErrorCode
from actors.identity import Identity
from actors.log import MemoryLog
from actors.messages import Acknowledge, Detach, Joined, Published, Query, Refused, Sweep
from actors.replies import Missing
from actors.room import Room
from actors.rooms import RoomLimits

from .fake_clock import settled
from .follower import Follower
from .house import Ear, House

pytestmark = pytest.mark.usefixtures("nothing_left")
ROOM = "session:1"
IDLE_S = 60.0


@pytest.fixture
async def open_house(nothing_left: None) -> AsyncIterator[Callable[[RoomLimits], House]]:
    houses: list[House] = []

    def make(limits: RoomLimits) -> House:
        houses.append(House(limits))
        return houses[-1]

    yield make
    for house in houses:
        await house.end()


@pytest.fixture
async def house(open_house: Callable[[RoomLimits], House]) -> House:
    return open_house(RoomLimits(idle_s=IDLE_S))


def rooms_alive() -> int:
    return len(pykka.ActorRegistry.get_by_class(Room))


async def joined(house: House, **options: object) -> Joined:
    ear = Ear()
    house.subscribe(ROOM, ear, "looker", **options)  # type: ignore[arg-type]
    await settled()
    house.directory.room(ROOM).tell(Detach("looker"))
    await settled()
    return ear.only(Joined)


async def held(house: House) -> list[int]:
    ear = Ear()
    query = Query(commands.History(room=ROOM, limit=300), Identity(user="ops", role="admin"), ear)
    house.directory.room(ROOM).tell(query)
    await settled()
    (answer,) = ear.heard
    assert isinstance(answer, replies.History)
    return [event.offset for event in answer.events]


async def acknowledge(house: House, event_id: str) -> Published | Refused:
    ear = Ear()
    house.directory.room(ROOM).tell(Acknowledge(event_id, Identity(user="ops", role="admin"), ear, None))
    await settled()
    (answer,) = ear.heard
    assert isinstance(answer, Published | Refused)
    return answer


async def fill(house: House, count: int) -> None:
    for _ in range(count):
        house.put(ROOM, Ear())
    await settled()


# --- bounds


async def test_a_sweep_leaves_no_more_events_than_the_bound(open_house: Callable[[RoomLimits], House]) -> None:
    house = open_house(RoomLimits(history_events=10))
    await fill(house, 30)
    house.directory.room(ROOM).tell(Sweep())
    await settled()
    assert await held(house) == list(range(21, 31))


async def test_a_busy_room_trims_without_being_swept(open_house: Callable[[RoomLimits], House]) -> None:
    """Once in 256 events: it costs a pass over what is dropped."""
    house = open_house(RoomLimits(history_events=10))
    lengths = []
    for _ in range(80):
        await fill(house, 10)
        lengths.append(len(await held(house)))
    assert max(lengths) <= 10 + 256 + 10
    assert sum(after < before for before, after in itertools.pairwise(lengths)) == 800 // 256


async def test_events_grow_too_old(open_house: Callable[[RoomLimits], House]) -> None:
    house = open_house(RoomLimits(history_s=20.0))
    follower = Follower()
    house.subscribe(ROOM, follower)
    await fill(house, 1)
    await house.clock.advance(15.0)
    await fill(house, 1)
    await house.clock.advance(16.0)
    assert await held(house) == [2]


async def test_what_was_trimmed_from_the_room_was_trimmed_from_the_log(
    open_house: Callable[[RoomLimits], House],
) -> None:
    house = open_house(RoomLimits(history_events=10))
    await fill(house, 30)
    house.directory.room(ROOM).tell(Sweep())
    await settled()
    records: list[object] = []
    house.log.open(ROOM, records.append)
    assert [event.offset for event in records[0].events] == list(range(21, 31))  # type: ignore[attr-defined]


async def test_whoever_comes_back_after_a_trim_is_told_what_is_missing(
    open_house: Callable[[RoomLimits], House],
) -> None:
    house = open_house(RoomLimits(history_events=10))
    await fill(house, 30)
    house.directory.room(ROOM).tell(Sweep())
    await settled()
    epoch = (await joined(house)).where.epoch
    late = await joined(house, after=Position(epoch, 5))
    assert (late.where.recovery, late.where.missing, late.where.replay) == ("partial", Missing(from_=6, to=20), 10)
    assert (await joined(house, after=Position(epoch, 20))).where.recovery == "full"


async def test_state_and_alerts_outlive_the_events_they_came_from(open_house: Callable[[RoomLimits], House]) -> None:
    house = open_house(RoomLimits(history_events=10))
    await house.append(ROOM, "alert", event_id="a1")
    await fill(house, 30)
    house.directory.room(ROOM).tell(Sweep())
    await settled()
    state = (await joined(house)).where.state
    assert [alert["event_id"] for alert in state["alerts"]] == ["a1"]  # type: ignore[index]
    assert state["counts"] == {"alert": 1, "app.thing": 30}  # type: ignore[index]


@pytest.mark.parametrize("retired", [False, True])
async def test_an_event_id_is_remembered_for_its_time_however_soon_the_event_leaves(
    open_house: Callable[[RoomLimits], House], retired: bool
) -> None:
    """A retry gets the first receipt, also from a room that was retired and came back; later it is a new event."""
    house = open_house(RoomLimits(history_events=10, dedupe_s=600.0, idle_s=IDLE_S))
    first = await house.append(ROOM, event_id="once")
    assert isinstance(first, Published)
    await fill(house, 30)
    house.directory.room(ROOM).tell(Sweep())
    await settled()
    assert await held(house) == list(range(22, 32))
    if retired:
        await house.clock.advance(4 * IDLE_S)
        assert len(house.directory) == 0
    await house.clock.advance(600.0 - house.clock.monotonic())
    again = await house.append(ROOM, event_id="once")
    assert isinstance(again, Published)
    assert again.receipt == first.receipt._replace(duplicate=True)
    await house.clock.advance(1.0)
    late = await house.append(ROOM, event_id="once")
    assert isinstance(late, Published)
    assert (late.receipt.offset, late.receipt.duplicate) == (32, False)


async def test_an_alert_that_comes_again_under_its_id_is_acknowledged_again(
    open_house: Callable[[RoomLimits], House],
) -> None:
    """Its first acknowledgement is still in the history when the alert itself is forgotten."""
    house = open_house(RoomLimits(history_events=4, dedupe_s=60.0))
    await house.append(ROOM, "alert", event_id="disk")
    await fill(house, 2)
    await acknowledge(house, "disk")
    await fill(house, 1)
    house.directory.room(ROOM).tell(Sweep())
    await settled()
    assert await held(house) == [2, 3, 4, 5]
    await house.clock.advance(61.0)
    again = await house.append(ROOM, "alert", event_id="disk")
    assert isinstance(again, Published)
    assert not again.receipt.duplicate
    answer = await acknowledge(house, "disk")
    assert isinstance(answer, Published)
    assert (answer.receipt.offset, answer.receipt.duplicate) == (7, False)
    assert (await joined(house)).where.state["alerts"] == []  # type: ignore[index]


async def test_an_id_cannot_be_taken_from_an_acknowledgement_beforehand(house: House) -> None:
    """Whoever publishes before the operator acknowledges."""
    await house.append(ROOM, "alert", event_id="disk")
    for event_id in ("disk.acknowledged", "disk@1.acknowledged"):
        ear = await house.publish(ROOM, event_id=event_id)
        assert ear.only(Refused).refusal.code is ErrorCode.INVALID_EVENT
    assert isinstance(await acknowledge(house, "disk"), Published)
    assert (await joined(house)).where.state["alerts"] == []  # type: ignore[index]


async def test_a_subscriber_that_was_overtaken_by_the_trim_is_told_so(
    open_house: Callable[[RoomLimits], House],
) -> None:
    """It reads an old page so slowly that the next one has left the history."""
    house = open_house(RoomLimits(history_events=300))
    await fill(house, 300)
    follower = Follower()
    house.subscribe(ROOM, follower, history=300)
    house.directory.room(ROOM).tell(Sweep())
    await fill(house, 700)
    assert follower.chain.position == 1000
    for first, last, reason in follower.chain.skipped:
        assert reason == "expired"
        assert not set(range(first, last + 1)) & set(follower.chain.offsets)


# --- idle


async def test_an_idle_room_retires_and_nothing_of_it_is_left_running(house: House) -> None:
    await fill(house, 3)
    assert rooms_alive() == 1
    await house.clock.advance(2 * IDLE_S)
    assert len(house.directory) == 0
    assert rooms_alive() == 0
    assert house.rooms_start.children == {}


async def test_when_every_room_has_retired_no_timer_is_left(house: House) -> None:
    await fill(house, 1)
    await house.clock.advance(3 * IDLE_S)
    assert house.clock.due == []


async def test_a_retired_room_comes_back_with_epoch_history_and_state(house: House) -> None:
    await house.append(ROOM, "session", {"status": "started", "owner": "ann"})
    await fill(house, 3)
    before = await joined(house)
    await house.clock.advance(2 * IDLE_S)
    assert house.directory.known(ROOM)
    after = await joined(house, after=Position(before.where.epoch, 1))
    assert after.where.recovery == "full"
    assert (after.where.epoch, after.where.offset, after.where.state) == (
        before.where.epoch,
        before.where.offset,
        before.where.state,
    )
    assert after.page is not None
    assert [event.offset for event in after.page.events] == [2, 3, 4]


async def test_a_retired_room_goes_on_with_the_next_offset(house: House) -> None:
    await fill(house, 3)
    await house.clock.advance(2 * IDLE_S)
    answer = await house.append(ROOM)
    assert isinstance(answer, Published)
    assert answer.receipt.offset == 4


async def test_a_room_with_a_subscriber_does_not_retire(house: House) -> None:
    follower = Follower()
    house.subscribe(ROOM, follower)
    await house.clock.advance(10 * IDLE_S)
    await fill(house, 1)
    assert follower.chain.offsets == [1]


async def test_a_room_that_is_published_to_does_not_retire(house: House) -> None:
    await fill(house, 1)
    room = house.directory.room(ROOM)
    for _ in range(10):
        await house.clock.advance(IDLE_S / 2)
        await fill(house, 1)
    assert house.directory.room(ROOM) is room


async def test_a_room_where_nothing_ever_happened_retires_at_once(house: House) -> None:
    """And is forgotten: whoever may open rooms cannot push out those that hold something."""
    house.subscribe(ROOM, Ear(), "c1")
    await settled()
    house.directory.room(ROOM).tell(Detach("c1"))
    await house.clock.advance(IDLE_S / 2)
    assert len(house.directory) == 0
    assert not house.directory.known(ROOM)


async def test_empty_rooms_that_come_and_go_leave_those_alone_that_hold_something(nothing_left: None) -> None:
    """However many there are, a room that was used is remembered with its epoch and state."""
    house = House(RoomLimits(idle_s=IDLE_S), MemoryLog(retired_rooms=2))
    await house.append(ROOM, "session", {"status": "started", "owner": "ann"})
    before = await joined(house)
    await house.clock.advance(2 * IDLE_S)
    for number in range(10):
        house.subscribe(f"junk:{number}", Ear(), "c1", state=False)
        await settled()
        house.directory.room(f"junk:{number}").tell(Detach("c1"))
    await house.clock.advance(IDLE_S / 2)
    assert (len(house.directory), rooms_alive()) == (0, 0)
    after = await joined(house)
    assert (after.where.epoch, after.where.state) == (before.where.epoch, before.where.state)
    await house.end()


async def test_an_empty_room_that_somebody_is_in_stays(house: House) -> None:
    follower = Follower()
    house.subscribe(ROOM, follower)
    await house.clock.advance(IDLE_S)
    assert len(house.directory) == 1
    await house.append(ROOM)
    assert follower.chain.offsets == [1]


async def test_the_wait_begins_when_the_last_one_leaves(house: House) -> None:
    await fill(house, 1)
    house.subscribe(ROOM, Ear(), "c1")
    await house.clock.advance(2 * IDLE_S)
    house.directory.room(ROOM).tell(Detach("c1"))
    await house.clock.advance(IDLE_S / 2)
    assert len(house.directory) == 1
    await house.clock.advance(2 * IDLE_S)
    assert len(house.directory) == 0


async def test_a_subscriber_that_comes_with_the_sweep_is_not_lost(house: House) -> None:
    """Both in one turn of an idle room: it must not retire with somebody in it."""
    await fill(house, 1)
    house.clock.stand_still_for(2 * IDLE_S)  # it is overdue, and no sweep has come yet
    follower = Follower()
    house.directory.room(ROOM).tell(Sweep())
    house.subscribe(ROOM, follower)
    await settled()
    await house.append(ROOM)
    assert follower.chain.offsets == [2]


async def test_an_event_that_comes_with_the_sweep_gets_its_receipt(house: House) -> None:
    await fill(house, 1)
    house.clock.stand_still_for(2 * IDLE_S)
    ear = Ear()
    house.directory.room(ROOM).tell(Sweep())
    house.put(ROOM, ear)
    await settled()
    assert ear.only(Published).receipt.offset == 2
    assert await held(house) == [1, 2]


async def test_mail_for_a_room_that_is_about_to_retire_keeps_it(house: House) -> None:
    await fill(house, 1)
    room = house.directory.room(ROOM)
    room.tell(Sweep())
    assert not house.directory.retire(ROOM, room)
    await settled()


async def test_only_the_room_that_is_listed_can_retire(house: House) -> None:
    await fill(house, 1)
    room = house.directory.room(ROOM)
    await house.clock.advance(2 * IDLE_S)
    await fill(house, 1)
    assert not house.directory.retire(ROOM, room)
    assert len(house.directory) == 1
