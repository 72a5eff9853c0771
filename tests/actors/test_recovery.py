"""Recovery: what a client that comes back gets, from one answer and what follows it; nobody misses an event."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from actors import commands, replies
from actors.commands import Position
from actors.errors import CloseCode
from actors.identity import Identity
from actors.log import MemoryLog
from actors.mailbox import Target
from actors.messages import Attached, Close, Joined, Query, Sweep
from actors.record import RoomRecord
from actors.replies import Missing
from actors.room import Room
from actors.rooms import RoomLimits

from .asking import ROOM, ask
from .client import Hall
from .fake_clock import settled
from .follower import Follower
from .house import Ear, House, fail_once
from .late_log import LateLog

pytestmark = pytest.mark.usefixtures("nothing_left")
ADMIN = Identity(user="ops", role="admin")


@pytest.fixture
async def open_house(nothing_left: None) -> AsyncIterator[Callable[..., House]]:
    houses: list[House] = []

    def make(log: Any = None, **limits: Any) -> House:
        houses.append(House(RoomLimits(**limits), log))
        return houses[-1]

    yield make
    for house in houses:
        await house.end()


async def epoch(house: House) -> str:
    answer = await ask(house, commands.State(room=ROOM), ADMIN)
    assert isinstance(answer, replies.State)
    return answer.epoch


async def sweep(house: House) -> None:
    await settled()  # else what was put is committed after it
    house.directory.room(ROOM).tell(Sweep())
    await settled()


def put(house: House, count: int, kind: str = "app.thing", **options: Any) -> None:
    for _ in range(count):
        house.put(ROOM, Ear(), kind, **options)


async def back(house: House, offset: int, **options: Any) -> Follower:
    """Come back to the room from an offset; return who did."""
    follower = Follower()
    house.subscribe(ROOM, follower, after=Position(await epoch(house), offset), **options)
    await settled()
    return follower


async def test_ten_thousand_progress_updates_behind_is_the_last_one_of_each_key(
    open_house: Callable[..., House],
) -> None:
    house = open_house(history_events=20_000)
    for _ in range(2500):
        for key in ("a", "b", "c", None):
            put(house, 1, "progress", key=key)
    await settled()
    follower = await back(house, 0)
    where = follower.only(Joined).where
    assert (where.recovery, where.replay, where.offset) == ("full", 4, 10_000)
    assert follower.chain.offsets == [9997, 9998, 9999, 10_000]
    assert follower.chain.skipped == [(1, 9996, "conflated")]


async def test_a_client_that_is_behind_by_progress_alone_is_never_too_far_behind(
    open_house: Callable[..., House],
) -> None:
    """What left the history had given way to a newer value, so that nothing is missing."""
    house = open_house(history_events=10)
    put(house, 1000, "progress")
    await sweep(house)
    follower = await back(house, 3)
    assert follower.only(Joined).where.recovery == "full"
    assert follower.chain.position == 1000
    assert {reason for _, _, reason in follower.chain.skipped} == {"conflated"}


async def test_session_events_and_alerts_come_in_order_with_what_was_between(
    open_house: Callable[..., House],
) -> None:
    house = open_house(history_events=20_000)
    for number, kind in enumerate(("session", "alert", "session", "alert")):
        put(house, 1, kind, event_id=f"{kind}{number}")
        put(house, 300, "progress")
    await settled()
    follower = await back(house, 0)
    assert follower.chain.offsets == [1, 302, 602, 603, 904, 1204]
    assert follower.only(Joined).where.replay == len(follower.chain.offsets)


@pytest.mark.parametrize("kinds", [None, frozenset({"alert", "progress"}), frozenset({"session"})])
@pytest.mark.parametrize("offset", [0, 1, 37, 700, 999, 1000])
async def test_replay_is_exactly_how_many_old_events_come(
    open_house: Callable[..., House], kinds: frozenset[str] | None, offset: int
) -> None:
    """With values that give way, events that were never stored, and kinds that are not wanted."""
    house = open_house(history_events=2000)
    made = ("app.thing", "progress", "alert", "session", "app.passing")
    for number in range(1000):
        kind = made[number * 7 % 5]
        options = {"delivery": "ephemeral"} if kind == "app.passing" else {}
        house.put(ROOM, Ear(), kind, key=f"k{number % 3}", event_id=f"n{number}", **options)
    await settled()
    follower = await back(house, offset, kinds=kinds)
    put(house, 3)
    await settled()
    where = follower.only(Joined).where
    assert where.offset == 1000
    assert len([each for each in follower.chain.offsets if each <= where.offset]) == where.replay
    if kinds is None:
        assert follower.chain.position == 1003


async def test_events_that_were_not_stored_are_told_as_skipped_at_once(open_house: Callable[..., House]) -> None:
    """At the end of what comes back too: the client's position is that of the answer."""
    house = open_house()
    put(house, 1)
    put(house, 2, delivery="ephemeral")
    await settled()
    follower = await back(house, 0)
    assert (follower.only(Joined).where.replay, follower.chain.offsets) == (1, [1])
    assert follower.chain.position == 3
    assert (await back(house, 1)).chain.position == 3


async def test_an_event_that_is_not_stored_comes_to_who_was_there_and_to_nobody_else(
    open_house: Callable[..., House],
) -> None:
    """Also when it is committed in the turn in which somebody comes back."""
    log = LateLog()
    house = open_house(log)
    await house.append(ROOM)
    there, late = Follower("there"), Follower("late")
    house.subscribe(ROOM, there, "there")
    position = Position(await epoch(house), 0)
    log.late = True
    put(house, 1, delivery="ephemeral")
    await settled()
    log.commit()
    house.subscribe(ROOM, late, "late", after=position)
    await settled()
    where = late.only(Joined).where
    assert there.chain.offsets == [2]
    assert (where.offset, where.replay, late.chain.offsets, late.chain.position) == (2, 1, [1], 2)


async def test_live_events_follow_a_replay_of_many_pages(open_house: Callable[..., House]) -> None:
    house = open_house(history_events=5000)
    put(house, 1000)
    await settled()
    follower = Follower()
    house.subscribe(ROOM, follower, after=Position(await epoch(house), 0))
    for _ in range(10):  # each in a turn of its own, between the pages
        await house.append(ROOM)
        await house.append(ROOM, "progress")
    assert follower.chain.offsets == list(range(1, 1021))
    assert follower.only(Joined).where.replay == 1000


async def test_before_the_first_event_there_is_a_position_too(open_house: Callable[..., House]) -> None:
    house = open_house()
    before = Follower()
    house.subscribe(ROOM, before)
    await settled()
    where = before.only(Joined).where
    assert (where.offset, where.recovery) == (0, "fresh")
    put(house, 3)
    await settled()
    again = Follower("c2")
    house.subscribe(ROOM, again, "c2", after=Position(where.epoch, 0))
    await settled()
    assert (again.only(Joined).where.recovery, again.chain.offsets) == ("full", [1, 2, 3])


async def test_what_is_missing_is_said_and_the_rest_follows(open_house: Callable[..., House]) -> None:
    house = open_house(history_events=10)
    put(house, 30)
    await sweep(house)
    follower = await back(house, 5)
    where = follower.only(Joined).where
    assert (where.recovery, where.missing, where.replay) == ("partial", Missing(from_=6, to=20), 10)
    assert follower.chain.offsets == list(range(21, 31))
    assert (await back(house, 20)).only(Joined).where.recovery == "full"


@pytest.mark.parametrize(("epoch_", "offset"), [(None, 31), ("another", 5), ("another", 0)])
async def test_a_position_of_another_history_gets_nothing_and_is_told_so(
    open_house: Callable[..., House], epoch_: str | None, offset: int
) -> None:
    house = open_house()
    put(house, 30)
    follower = Follower()
    house.subscribe(ROOM, follower, after=Position(epoch_ or await epoch(house), offset))
    put(house, 1)
    await settled()
    where = follower.only(Joined).where
    assert (where.recovery, where.replay) == ("none", 0)
    assert follower.chain.offsets == list(range(where.offset + 1, 32))


# --- what outlives the history


@pytest.mark.parametrize("retired", [False, True])
async def test_alerts_and_last_values_are_in_the_history_however_old_they_are(
    open_house: Callable[..., House], retired: bool
) -> None:
    house = open_house(history_events=10, escalate_after_s=0)
    await house.append(ROOM, "alert", event_id="a1")
    await house.append(ROOM, "progress", key="old")
    put(house, 300)
    await sweep(house)
    if retired:
        await house.clock.advance(200.0)
        assert len(house.directory) == 0
    answer = await ask(house, commands.History(room=ROOM, limit=300), ADMIN)
    assert isinstance(answer, replies.History)
    assert [event.offset for event in answer.events] == [1, 2, *range(293, 303)]
    assert not answer.more
    oldest = await ask(house, commands.History(room=ROOM, before=293, limit=1), ADMIN)
    assert isinstance(oldest, replies.History)
    assert ([event.offset for event in oldest.events], oldest.more) == ([2], True)
    newer = await ask(house, commands.History(room=ROOM, after=1, limit=2), ADMIN)
    assert isinstance(newer, replies.History)
    assert ([event.offset for event in newer.events], newer.more) == ([2, 293], True)


async def test_who_asks_for_more_history_than_there_is_gets_what_was_kept_with_markers(
    open_house: Callable[..., House],
) -> None:
    house = open_house(history_events=10, escalate_after_s=0)
    put(house, 5)
    await house.append(ROOM, "alert", event_id="a1")
    put(house, 30)
    await sweep(house)
    follower = Follower()
    house.subscribe(ROOM, follower, history=300)
    await settled()
    assert follower.only(Joined).where.replay == 11
    assert follower.chain.offsets == [6, *range(27, 37)]
    assert follower.chain.skipped == [(7, 26, "expired")]


async def test_who_wants_none_of_the_last_events_stands_at_the_offset_of_the_answer(
    open_house: Callable[..., House],
) -> None:
    """The first marker must not reach back behind it."""
    house = open_house()
    put(house, 5)
    await settled()
    follower = Follower()
    house.subscribe(ROOM, follower, history=3, kinds=frozenset({"alert"}))
    await settled()
    where = follower.only(Joined).where
    assert (where.offset, where.replay, follower.chain.position) == (5, 0, 5)
    put(house, 2)
    await house.append(ROOM, "alert")
    assert follower.chain.skipped == [(6, 7, "filtered")]
    assert follower.chain.offsets == [8]


# --- failures


async def test_who_stands_in_the_middle_of_a_replay_when_the_room_fails_gets_the_rest(
    open_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = open_house(history_events=5000)
    for _ in range(500):
        put(house, 1)
        put(house, 1, "progress")
    await settled()
    follower = Follower()
    house.subscribe(ROOM, follower, after=Position(await epoch(house), 0))
    fail_once(monkeypatch, Room, Query)
    house.directory.room(ROOM).tell(Query(commands.State(room=ROOM), ADMIN, Ear()))
    put(house, 2)
    await settled()
    assert len(follower.of(Attached)) > 1
    assert follower.chain.offsets == [*range(1, 1000, 2), 1000, 1001, 1002]


class ForgetfulLog(MemoryLog):
    """A log that loses its history when it is told to."""

    lost = False

    def open(self, room: str, ready: Callable[[RoomRecord | Any], None], to: Target | None = None) -> None:
        if self.lost and room in self._shelves:
            del self._shelves[room]
            self._id = "another"
        super().open(room, ready, to)


async def test_where_the_history_was_lost_the_subscribers_are_sent_away_to_be_told(
    open_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under another epoch their positions mean nothing: they come back with them and hear `none`."""
    log = ForgetfulLog()
    house = open_house(log)
    put(house, 5)
    before = await epoch(house)
    ears = {name: Ear() for name in ("c1", "c2")}
    for name, ear in ears.items():
        house.subscribe(ROOM, ear, name)
    await settled()
    log.lost = True
    fail_once(monkeypatch, Room, Query)
    house.directory.room(ROOM).tell(Query(commands.State(room=ROOM), ADMIN, Ear()))
    await settled()
    for ear in ears.values():
        assert ear.only(Close).code == CloseCode.GIVEN_UP
        assert ear.of(Attached) == []
    assert len(house.ledger) == 0
    follower = Follower()
    house.subscribe(ROOM, follower, after=Position(before, 3))
    await settled()
    assert follower.only(Joined).where.recovery == "none"


async def test_a_client_whose_room_has_lost_its_history_is_closed_and_comes_back(
    open_hall: Callable[..., Hall], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ForgetfulLog()
    hall = open_hall(house=House(RoomLimits(), log))
    client = await hall.welcomed()
    answer = await client.subscribe(ROOM)
    await hall.house.append(ROOM)
    log.lost = True
    fail_once(monkeypatch, Room, Query)
    await client.ask("state", room=ROOM)
    assert client.wire.closed is not None
    assert client.wire.closed[0] == CloseCode.GIVEN_UP
    log.lost = False
    back = await hall.welcomed(resume={ROOM: {"epoch": answer["epoch"], "offset": 1}})
    assert back.wire.of("welcome")[0]["rooms"][ROOM]["recovery"] == "none"


async def test_no_event_comes_before_the_welcome_though_a_room_fails_meanwhile(
    open_hall: Callable[..., Hall], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One room has answered and fails while another one is slow: the client does not know of either yet."""
    log = LateLog()
    hall = open_hall(house=House(RoomLimits(), log))
    for _ in range(600):
        hall.house.put(ROOM, Ear())
    await settled()
    client = hall.client()
    log.late = True
    client.say("hello", resume={ROOM: {"epoch": await epoch(hall.house), "offset": 0}})
    await settled()
    fail_once(monkeypatch, Room, Query)
    hall.house.directory.room(ROOM).tell(Query(commands.State(room=ROOM), ADMIN, Ear()))
    await settled()
    log.commit_last()
    await settled()
    assert client.wire.told == [], "told before the welcome"
    log.late = False
    log.commit()
    await settled()
    await hall.house.append(ROOM)
    assert client.wire.told[0]["type"] == "welcome"
    assert client.offsets(ROOM) == list(range(1, 602))
