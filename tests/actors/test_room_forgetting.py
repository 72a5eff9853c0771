"""A room that an operator removes: nothing is left of it, and what comes in meanwhile belongs to the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from actors.commands import Position
from actors.errors import ErrorCode
from actors.messages import (
    AlertDue,
    Append,
    Emptied,
    Forget,
    Forgotten,
    Joined,
    Published,
    Refused,
    Revoke,
    Sweep,
)
from actors.room import Room

from .fake_clock import settled
from .house import Ear, House, fail_once
from .late_log import LateLog
from .making import a_draft


@pytest.fixture
async def log() -> LateLog:
    """A log that commits at once until told otherwise."""
    return LateLog()


@pytest.fixture
async def house(log: LateLog) -> AsyncIterator[House]:
    """Rooms on that log."""
    house = House(log=log)
    yield house
    log.commit()
    await settled()
    log.late = False
    await house.end()


def order(house: House, room: str = "team:1") -> Ear:
    """Have a room forgotten; return who hears the answer."""
    ear = Ear()
    house.directory.room(room).tell(Forget(ear))
    return ear


async def test_a_removed_room_is_unknown_and_begins_anew_at_its_next_use(house: House) -> None:
    """Its subscribers are sent away, its history, state and ids are gone, and its name means another history."""
    first = await house.append("team:1", event_id="once")
    assert isinstance(first, Published)
    member = Ear()
    house.subscribe("team:1", member)
    await settled()
    answer = order(house)
    await settled()
    assert answer.heard == [Forgotten(1)]
    assert member.only(Revoke).room == "team:1"
    assert not house.directory.known("team:1")
    again = await house.append("team:1", event_id="once")
    assert isinstance(again, Published)
    assert (again.receipt.offset, again.receipt.duplicate) == (1, False)
    assert again.receipt.epoch != first.receipt.epoch
    back = Ear()
    house.subscribe("team:1", back, after=Position(first.receipt.epoch, 1))
    await settled()
    assert back.only(Joined).where.recovery == "none"


async def test_events_before_the_order_are_forgotten_and_those_after_it_are_kept(house: House, log: LateLog) -> None:
    """Each has a true receipt, under the epoch that its offset belongs to; and they stay in their order."""
    old = await house.append("team:1")
    assert isinstance(old, Published)
    log.late = True
    before, after = Ear(), Ear()
    house.put("team:1", before, event_id="before")
    answer = order(house)
    for name in ("x", "y"):
        house.put("team:1", after, event_id=name)
    await settled()
    house.put("team:1", after, event_id="z")
    await settled()
    assert (answer.heard, after.heard) == ([], [])
    log.commit()
    house.put("team:1", after, event_id="last")
    await settled()
    log.commit()
    await settled()
    assert answer.heard == [Forgotten(0)]
    assert before.only(Published).receipt[1:4] == (old.receipt.epoch, 2, "before")
    receipts = [message.receipt for message in after.of(Published)]
    assert [(each.event_id, each.offset) for each in receipts] == [("x", 1), ("y", 2), ("z", 3), ("last", 4)]
    assert {each.epoch for each in receipts} == {receipts[0].epoch} != {old.receipt.epoch}


async def test_who_is_in_the_room_sees_what_came_before_the_order_and_then_the_end(house: House, log: LateLog) -> None:
    await house.append("team:1")
    member = Ear()
    house.subscribe("team:1", member)
    await settled()
    log.late = True
    house.put("team:1", Ear(), event_id="last")
    order(house)
    await settled()
    log.commit()
    await settled()
    assert [type(message).__name__ for message in member.heard] == ["Joined", "Batch", "Revoke"]


async def test_a_room_that_cannot_be_forgotten_goes_on_as_it_was(house: House, log: LateLog) -> None:
    """What waited for the answer is dealt with."""
    first = await house.append("team:1")
    assert isinstance(first, Published)
    member, later = Ear(), Ear()
    house.subscribe("team:1", member)
    await settled()
    log.late = True
    answer = order(house)
    house.put("team:1", later)
    await settled()
    log.fail()
    await settled()
    log.commit()
    await settled()
    assert answer.only(Refused).refusal.code is ErrorCode.JOURNAL_UNAVAILABLE
    assert later.only(Published).receipt[1:3] == (first.receipt.epoch, 2)
    assert member.of(Revoke) == []


async def test_a_sweep_and_a_timer_do_no_harm_meanwhile(house: House, log: LateLog) -> None:
    await house.append("team:1", "alert", {"severity": "critical", "title": "t"}, ack="required")
    log.late = True
    answer = order(house)
    house.directory.room("team:1").tell(Sweep())
    await settled()
    house.directory.room("team:1").tell(AlertDue())
    house.directory.room("team:1").tell(Sweep())
    await settled()
    log.commit()
    await settled()
    assert answer.heard == [Forgotten(0)]
    assert house.ledger.note("team:1").alerts == 0
    assert "team:1" not in log.watched()


@pytest.mark.parametrize("fails_on", [Append, Emptied, Sweep])
async def test_a_room_that_fails_meanwhile_is_forgotten_by_its_successor(
    house: House, log: LateLog, monkeypatch: pytest.MonkeyPatch, fails_on: type
) -> None:
    """The order is not lost, and no event is both refused and kept, or told under an epoch that is not its own."""
    old = await house.append("team:1")
    assert isinstance(old, Published)
    log.late = True
    before, after = Ear(), Ear()
    house.put("team:1", before, event_id="before")
    answer = order(house)
    house.put("team:1", after, event_id="a")
    await settled()
    fail_once(monkeypatch, Room, fails_on)
    house.directory.room("team:1").tell(
        Sweep() if fails_on is not Append else Append(a_draft(event_id="bad"), True, Ear(), None)
    )
    house.put("team:1", after, event_id="b")
    await settled()
    for _ in range(5):
        log.commit()
        await settled()
        await house.clock.advance(1.0)
    log.late = False
    assert len(answer.heard) == 1, answer.heard
    assert len(before.heard) == 1, before.heard
    receipts = [message.receipt for message in after.of(Published)]
    assert [each.event_id for each in receipts] == ["a", "b"]
    last = await house.append("team:1")
    assert isinstance(last, Published)
    assert {each.epoch for each in receipts} == {last.receipt.epoch}
    assert last.receipt.epoch != old.receipt.epoch
