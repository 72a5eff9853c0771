"""Room: after a failure it goes on with epoch, offsets, history, state and subscribers, and nobody waits in vain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from actors import commands
from actors.errors import CloseCode, ErrorCode, Refusal
from actors.identity import Identity
from actors.log import MemoryLog
from actors.messages import (
    Acknowledge,
    Append,
    AppendFailed,
    Attach,
    Close,
    Committed,
    Detach,
    Joined,
    Published,
    Query,
    Refused,
    Subscribe,
    Sweep,
)
from actors.room import Room

from .fake_clock import settled
from .follower import Follower
from .house import Ear, House, fail_once
from .late_log import LateLog
from .making import a_draft

pytestmark = pytest.mark.usefixtures("nothing_left")
ROOM = "session:1"
ADMIN = Identity(user="ops", role="admin")


def poke(house: House, message: type, ear: Ear) -> None:
    """Make the room get a message of this type."""
    room = house.directory.room(ROOM)
    pokes: dict[type, Callable[[], object]] = {
        Append: lambda: house.put(ROOM, ear),
        Committed: lambda: house.put(ROOM, ear),
        Subscribe: lambda: house.subscribe(ROOM, ear, "c9"),
        Attach: lambda: room.tell(Attach("c1", 0)),
        Detach: lambda: room.tell(Detach("c2")),
        Query: lambda: room.tell(Query(commands.State(room=ROOM), ADMIN, ear)),
        Acknowledge: lambda: room.tell(Acknowledge("a1", ADMIN, ear, None)),
        Sweep: lambda: room.tell(Sweep()),
    }
    pokes[message]()


async def with_subscribers(house: House, *names: str) -> list[Follower]:
    """Open the room with an alert in it and these subscribers."""
    await house.append(ROOM, "alert", event_id="a1")
    followers = [Follower(name) for name in names]
    for follower in followers:
        house.subscribe(ROOM, follower, follower.state.id)
    await settled()
    return followers


ALL = [Append, Committed, Subscribe, Attach, Detach, Query, Acknowledge, Sweep]


@pytest.mark.parametrize("message", ALL)
async def test_a_failure_on_any_message_is_invisible_to_the_subscribers(
    house: House, monkeypatch: pytest.MonkeyPatch, message: type
) -> None:
    (follower, _) = await with_subscribers(house, "c1", "c2")
    room, epoch = house.directory.room(ROOM), follower.only(Joined).where.epoch
    publisher = Ear()
    for _ in range(3):
        house.put(ROOM, publisher)
    fail_once(monkeypatch, Room, message)
    poke(house, message, Ear())
    for _ in range(3):
        house.put(ROOM, publisher)
    await settled()
    receipts = [answer.receipt for answer in publisher.of(Published)]
    refused = publisher.of(Refused)
    assert len(receipts) + len(refused) == 6, "a publisher got no answer"
    assert {receipt.epoch for receipt in receipts} == {epoch}
    assert follower.chain.offsets == list(range(2, follower.chain.position + 1))
    assert {receipt.offset for receipt in receipts} <= set(follower.chain.offsets)
    assert house.directory.room(ROOM) is room


@pytest.mark.parametrize("message", [Subscribe, Query, Acknowledge])
async def test_who_asked_what_the_room_failed_on_hears_that_it_failed(
    house: House, monkeypatch: pytest.MonkeyPatch, message: type
) -> None:
    await with_subscribers(house, "c1")
    fail_once(monkeypatch, Room, message)
    ear = Ear()
    poke(house, message, ear)
    await settled()
    refusal = ear.only(Refused).refusal
    assert refusal.code is ErrorCode.INTERNAL
    assert refusal.code.temporary


async def test_a_publisher_gets_its_receipt_though_the_room_failed_on_the_commit(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(monkeypatch, Room, Committed)
    ear = Ear()
    house.put(ROOM, ear, event_id="once")
    house.put(ROOM, ear, event_id="once")
    await settled()
    assert [(each.receipt.offset, each.receipt.duplicate) for each in ear.of(Published)] == [(1, False), (1, True)]


async def test_events_that_were_committed_and_not_handed_on_yet_are_handed_on_after_the_failure(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (follower,) = await with_subscribers(house, "c1")
    fail_once(monkeypatch, Room, Committed, after=True)
    for _ in range(5):
        house.put(ROOM, Ear())
    await settled()
    assert follower.chain.offsets == [2, 3, 4, 5, 6]


async def test_a_failing_fan_out_loses_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    (follower,) = await with_subscribers(house, "c1")
    fan_out, left = Room._fan_out, [1]

    def failing(self: Room) -> None:
        if left.pop() if left else False:
            raise RuntimeError("made to fail")
        fan_out(self)

    monkeypatch.setattr(Room, "_fan_out", failing)
    for _ in range(3):
        await house.append(ROOM)
    assert follower.chain.offsets == [2, 3, 4]


async def test_state_and_session_rule_survive_a_failure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.append(ROOM, "session", {"status": "completed", "owner": "ann"})
    fail_once(monkeypatch, Room, Query)
    poke(house, Query, Ear())
    ear = Ear()
    house.subscribe(ROOM, ear, identity=Identity(user="ann"))
    await settled()
    assert ear.only(Joined).where.state["status"] == "completed"  # type: ignore[index]
    answer = await house.append(ROOM, "progress")
    assert isinstance(answer, Refused)
    assert answer.refusal.code is ErrorCode.SESSION_ENDED


async def test_an_event_id_is_remembered_over_a_failure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.append(ROOM, event_id="once")
    fail_once(monkeypatch, Room, Query)
    poke(house, Query, Ear())
    answer = await house.append(ROOM, event_id="once")
    assert isinstance(answer, Published)
    assert answer.receipt.duplicate


async def test_progress_goes_on_with_its_rate_after_a_failure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower()
    await house.append(ROOM, "progress", {"current": 0})
    fail_once(monkeypatch, Room, Query)
    poke(house, Query, Ear())
    house.subscribe(ROOM, follower)
    await house.clock.advance(1.0)
    await house.append(ROOM, "progress", {"current": 3})
    ear = Ear()
    poke(house, Query, ear)
    await settled()
    assert ear.heard[0].state["progress"]["default"]["rate"] == 3.0


async def test_who_leaves_while_the_room_fails_has_left(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_subscribers(house, "c2")
    fail_once(monkeypatch, Room, Detach)
    poke(house, Detach, Ear())
    await settled()
    assert len(house.ledger) == 0


async def test_who_is_told_that_joining_failed_is_not_in_the_room(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(monkeypatch, Room, Subscribe, after=True)
    ear = Ear()
    house.subscribe(ROOM, ear)
    await settled()
    assert ear.of(Refused)
    assert len(house.ledger) == 0


async def test_subscribers_in_the_middle_of_a_long_history_get_the_rest(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(600):
        house.put(ROOM, Ear())
    await settled()
    fail_once(monkeypatch, Room, Attach)
    follower = Follower()
    house.subscribe(ROOM, follower, history=600)
    await house.append(ROOM)
    assert follower.chain.offsets == list(range(1, 602))


async def test_a_room_that_fails_now_and_then_goes_on_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    (follower,) = await with_subscribers(house, "c1")
    for _ in range(10):
        fail_once(monkeypatch, Room, Committed)
        house.put(ROOM, Ear())
        await house.clock.advance(3.0)
    assert follower.chain.offsets == list(range(2, 12))


# --- a room that fails too often


async def fail_on_queries(house: House, monkeypatch: pytest.MonkeyPatch, times: int = 4) -> None:
    """Let the room fail so often: four times are once more than it may."""
    fail_once(monkeypatch, Room, Query, times=times)
    for _ in range(times):
        poke(house, Query, Ear())
    await house.clock.advance(0.9)


async def test_a_room_that_fails_too_often_is_given_up_alone(
    house: House, monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]]
) -> None:
    """Its subscribers are sent away, and no other room or supervisor notices."""
    followers = await with_subscribers(house, "c1", "c2")
    other = Follower()
    house.subscribe("session:2", other)
    await fail_on_queries(house, monkeypatch)
    assert [follower.only(Close).code for follower in followers] == [CloseCode.GIVEN_UP] * 2
    assert other.of(Close) == []
    assert house.rooms.occupied
    assert len(house.ledger) == 1
    assert isinstance(await house.append("session:2"), Published)
    (line,) = [line for line in logged if line["event"] == "room_given_up"]
    assert (line["room"], line["subscribers"], line["waiting"]) == (ROOM, 2, 0)
    (line,) = [line for line in logged if line["event"] == "actor_given_up"]
    assert (line["actor"], line["escalates"]) == (f"room:{ROOM}", False)


async def test_a_room_that_was_given_up_is_opened_anew_with_everything_that_it_had(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (follower,) = await with_subscribers(house, "c1")
    where = follower.only(Joined).where
    await fail_on_queries(house, monkeypatch)
    again, ear = Follower(), Ear()
    house.subscribe(ROOM, again, after=commands.Position(where.epoch, where.offset))
    house.put(ROOM, ear)
    await house.clock.advance(2.0)
    assert again.only(Joined).where.recovery == "full"
    assert (ear.only(Published).receipt.epoch, ear.only(Published).receipt.offset) == (where.epoch, where.offset + 1)


async def test_what_waits_for_a_room_that_is_given_up_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.append(ROOM)
    publisher, asker = Ear(), Ear()
    fail_once(monkeypatch, Room, Query, times=4)
    for _ in range(4):
        poke(house, Query, asker)
    for _ in range(3):
        house.put(ROOM, publisher)
    poke(house, Subscribe, asker)
    await house.clock.advance(0.9)
    refusals = [refused.refusal for refused in publisher.of(Refused)]
    assert [(refusal.code, refusal.retry_after_ms) for refusal in refusals] == [(ErrorCode.BUSY, 1000)] * 3
    await house.clock.advance(2.0)
    codes = [refused.refusal.code for refused in asker.of(Refused)]
    assert sorted(codes) == [ErrorCode.BUSY, *[ErrorCode.INTERNAL] * 4]
    assert isinstance(await house.append(ROOM), Published)


async def test_who_waits_for_the_log_gets_a_receipt_though_the_room_is_given_up(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether an event is safe is not known before the log says it, and then its publisher hears it."""
    house = House(log=LateLog())
    await fail_on_queries(house, monkeypatch, 3)
    house.log.late = True  # type: ignore[attr-defined]
    ear = Ear()
    house.put(ROOM, ear)
    await fail_on_queries(house, monkeypatch, 1)
    assert not house.directory.room(ROOM).occupied
    await house.clock.advance(2.0)
    assert ear.heard == []
    house.log.commit()  # type: ignore[attr-defined]
    await settled()
    assert ear.only(Published).receipt.offset == 1
    house.log.late = False  # type: ignore[attr-defined]
    await house.end()


async def test_a_broken_room_that_nobody_wants_is_left_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried for ever. Whoever needs it is answered, and it takes nobody with it."""
    await with_subscribers(house, "c1")

    def broken(_room: Room) -> None:
        raise RuntimeError("made to fail")

    monkeypatch.setattr(Room, "on_start", broken)
    await fail_on_queries(house, monkeypatch, 1)
    await house.clock.advance(60.0)
    assert (len(house.directory), len(house.ledger), house.rooms.occupied) == (0, 0, True)
    ear = Ear()
    house.put(ROOM, ear)
    await house.clock.advance(2.0)
    assert ear.only(Refused).refusal.code is ErrorCode.BUSY


# --- a log in trouble


class FullLog(MemoryLog):
    """A log that has no room for events while `full`."""

    full = True

    def append(self, room: str, append: Append, to: Any) -> None:
        if self.full:
            to.tell(AppendFailed(append, Refusal(ErrorCode.JOURNAL_UNAVAILABLE, "the disk is full")))
        else:
            super().append(room, append, to)


@pytest.fixture
async def full_house(nothing_left: None) -> AsyncIterator[House]:
    house = House(log=FullLog())
    yield house
    await house.end()


async def test_what_the_log_cannot_keep_is_refused_and_heard_by_nobody(full_house: House) -> None:
    follower = Follower()
    full_house.subscribe(ROOM, follower)
    answer = await full_house.append(ROOM)
    assert isinstance(answer, Refused)
    assert answer.refusal.code is ErrorCode.JOURNAL_UNAVAILABLE
    assert follower.chain.offsets == []


async def test_the_same_event_can_be_sent_again_when_the_log_is_well(full_house: House) -> None:
    await full_house.append(ROOM, event_id="once")
    full_house.log.full = False  # type: ignore[attr-defined]
    answer = await full_house.append(ROOM, event_id="once")
    assert isinstance(answer, Published)
    assert (answer.receipt.offset, answer.receipt.duplicate) == (1, False)


async def test_retries_that_wait_for_a_commit_hear_that_it_failed(full_house: House) -> None:
    ear = Ear()
    for _ in range(2):
        full_house.put(ROOM, ear, event_id="once")
    await settled()
    assert len(ear.of(Refused)) == 2


async def test_a_refusal_of_what_a_room_before_handed_in_concerns_no_retry_of_it(nothing_left: None) -> None:
    """The log's answer to an actor that failed does not let a retry be taken twice that its successor handed in."""
    house = House(log=LateLog())
    await house.append(ROOM)
    house.log.late = True  # type: ignore[attr-defined]
    lost, retry, further = Ear(), Ear(), Ear()
    house.put(ROOM, retry, event_id="once")
    before = Append(a_draft(event_id="once"), True, lost, None)
    refusal = Refusal(ErrorCode.JOURNAL_UNAVAILABLE, "the disk is full")
    house.directory.room(ROOM).tell(AppendFailed(before, refusal))
    house.put(ROOM, further, event_id="once")
    await settled()
    house.log.commit()  # type: ignore[attr-defined]
    await settled()
    assert lost.only(Refused).refusal is refusal
    assert [ear.only(Published).receipt.duplicate for ear in (retry, further)] == [False, True]
    await house.end()


async def test_a_session_whose_end_could_not_be_kept_has_not_ended(full_house: House) -> None:
    await full_house.append(ROOM, "session", {"status": "completed"})
    full_house.log.full = False  # type: ignore[attr-defined]
    assert isinstance(await full_house.append(ROOM, "progress"), Published)


async def test_a_failure_on_the_logs_refusal_leaves_no_publisher_waiting(
    full_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(monkeypatch, Room, AppendFailed)
    answer = await full_house.append(ROOM)
    assert isinstance(answer, Refused)
