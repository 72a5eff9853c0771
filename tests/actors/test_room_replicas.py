"""Room: one of several on the same log. Others are given events, are ahead of it, and have it forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from actors import commands, replies
from actors.commands import Position
from actors.errors import ErrorCode, LogUnavailable
from actors.identity import ANONYMOUS, Identity
from actors.log import MemoryLog
from actors.mailbox import Target
from actors.messages import (
    Acknowledge,
    Append,
    Arrived,
    Committed,
    Detach,
    Duplicated,
    Forget,
    Joined,
    Published,
    Refused,
    Renewed,
    Revoke,
    Sweep,
)
from actors.record import RoomRecord
from actors.rooms import RoomLimits

from .asking import ROOM, ask, joined, offsets, receipt
from .fake_clock import settled
from .house import Ear, House
from .making import an_event

pytestmark = pytest.mark.usefixtures("nothing_left")
ANN = Identity(user="ann", role="admin")


class SharedLog(MemoryLog):
    """A log to which others append, too: what they do the test does."""

    def __init__(self) -> None:
        super().__init__()
        self.to: Target | None = None
        self.catching_up: list[Callable[[LogUnavailable | None], None]] = []
        self.first = 0
        """Offset of the first of three events that rooms hold from the start; 0: there is none."""
        self.duplicate_of: int | None = None
        """Offset of the event that others had before, under the id of whatever is appended; None: nothing is."""

    def open(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None], to: Target | None = None) -> None:
        if room == ROOM:
            self.to = to

        def hand_out(record: RoomRecord | LogUnavailable) -> None:
            assert isinstance(record, RoomRecord)
            ready(msgspec.structs.replace(record, first=self.first, top=self.first and self.first + 2))

        super().open(room, hand_out, to)

    def append(self, room: str, append: Append, to: Target) -> None:
        if self.duplicate_of is None:
            super().append(room, append, to)
        else:
            to.tell(Duplicated(self.duplicate_of, append))

    def catch_up(self, room: str, then: Callable[[LogUnavailable | None], None]) -> None:
        self.catching_up.append(then)

    def known(self, room: str) -> bool:
        return bool(self._shelves[room].top) if room in self._shelves else True

    def arrive(
        self, offset: int, kind: str = "app.thing", data: dict[str, object] | None = None, prev: int = 0
    ) -> None:
        """Let another router be given an event."""
        assert self.to is not None
        self.to.tell(Arrived(an_event(offset, kind, data, prev=prev or offset - 1), named=True))


@pytest.fixture
def log() -> SharedLog:
    return SharedLog()


@pytest.fixture
async def house(log: SharedLog) -> AsyncIterator[House]:
    house = House(log=log)
    yield house
    await house.end()


async def test_events_of_other_routers_reach_the_subscribers_and_the_state(house: House, log: SharedLog) -> None:
    ear = Ear()
    await joined(house, ear)
    log.arrive(7, "session", {"status": "started"}, prev=0)
    log.arrive(20, prev=7)
    await settled()
    assert offsets(ear) == [7, 20]
    state = await ask(house, commands.State(room=ROOM), ANONYMOUS)
    assert isinstance(state, replies.State)
    assert (state.offset, state.state["status"]) == (20, "started")


async def test_an_event_of_another_router_that_was_read_from_the_log_is_not_taken_in_twice(
    house: House, log: SharedLog
) -> None:
    ear = Ear()
    await joined(house, ear)
    log.arrive(3, prev=0)
    log.arrive(3, prev=0)
    await settled()
    assert offsets(ear) == [3]


async def test_an_id_that_another_router_was_given_is_a_duplicate_here(house: House, log: SharedLog) -> None:
    await joined(house, Ear())
    log.arrive(7, prev=0)
    await settled()
    assert await receipt(house, event_id="e7") == (ROOM, await epoch(house), 7, "e7", True)


async def test_an_event_that_another_router_stored_first_is_a_duplicate(house: House, log: SharedLog) -> None:
    await joined(house, Ear())
    log.duplicate_of = 9
    answers = Ear()
    for _ in range(2):  # the second waits for what becomes of the first
        house.put(ROOM, answers, event_id="e")
    await settled()
    assert {(each.receipt.offset, each.receipt.duplicate) for each in answers.of(Published)} == {(9, True)}
    log.duplicate_of = None
    assert not (await receipt(house, event_id="another")).duplicate


async def test_of_two_who_acknowledge_an_alert_through_two_routers_one_is_told_who_was_first(
    house: House, log: SharedLog
) -> None:
    """Both may not believe that they have it."""
    await joined(house, Ear())
    assert log.to is not None
    log.to.tell(Arrived(an_event(6, "alert", ack="required", event_id="a", prev=0), named=True))
    await settled()

    def other_was_first(room: str, append: Append, to: Target) -> None:
        acknowledgement = an_event(7, "app.thing", {}, prev=6)
        draft = msgspec.structs.replace(
            append.draft, data=msgspec.Raw(msgspec.json.encode({"event_id": "a", "user": "bob"}))
        )
        to.tell(Arrived(msgspec.structs.replace(acknowledgement, draft=draft), named=True))
        to.tell(Duplicated(7, append))

    log.append = other_was_first  # type: ignore[method-assign]
    answer = Ear()
    house.directory.room(ROOM).tell(Acknowledge("a", ANN, answer, "tag"))
    await settled()
    refused = answer.only(Refused)
    assert (refused.refusal.code, "bob" in refused.refusal.message) == (ErrorCode.NOT_FOUND, True)


# --- who knows more than this router


async def epoch(house: House) -> str:
    return (await joined(house, Ear(), "asking")).where.epoch


async def test_a_client_that_has_seen_more_is_let_in_when_the_room_knows_it_too(house: House, log: SharedLog) -> None:
    """It was at another router, and this one has not heard of its last events yet."""
    await receipt(house)
    known = await epoch(house)
    ear = Ear()
    house.subscribe(ROOM, ear, after=Position(known, 3))
    await settled()
    assert not ear.heard
    log.arrive(2)
    log.arrive(3)
    log.arrive(4)
    log.catching_up.pop()(None)
    await settled()
    where = ear.only(Joined).where
    assert (where.recovery, where.offset, where.replay) == ("full", 4, 1)


async def test_a_position_that_the_log_does_not_know_either_is_none(house: House, log: SharedLog) -> None:
    await receipt(house)
    known = await epoch(house)
    ear = Ear()
    house.subscribe(ROOM, ear, after=Position(known, 3))
    await settled()
    log.catching_up.pop()(None)
    await settled()
    assert ear.only(Joined).where.recovery == "none"


async def test_where_the_log_cannot_tell_the_client_is_to_come_back(house: House, log: SharedLog) -> None:
    await receipt(house)
    known = await epoch(house)
    ear = Ear()
    house.subscribe(ROOM, ear, after=Position(known, 3))
    await settled()
    log.catching_up.pop()(LogUnavailable("NATS is away"))
    await settled()
    refusal = ear.only(Refused).refusal
    assert (refusal.code, refusal.code.temporary) == (ErrorCode.JOURNAL_UNAVAILABLE, True)


async def test_who_goes_while_the_room_catches_up_is_not_let_in(house: House, log: SharedLog) -> None:
    await receipt(house)
    known = await epoch(house)
    ear = Ear()
    house.subscribe(ROOM, ear, after=Position(known, 3))
    house.directory.room(ROOM).tell(Detach("c1"))
    await settled()
    log.catching_up.pop()(None)
    await settled()
    assert not ear.heard
    assert house.ledger.subscribers(ROOM) == 1  # who asked for the epoch


async def test_a_room_does_not_retire_while_somebody_waits_to_be_let_in(house: House, log: SharedLog) -> None:
    await receipt(house)
    known = await epoch(house)
    house.directory.room(ROOM).tell(Detach("asking"))
    ear = Ear()
    house.subscribe(ROOM, ear, after=Position(known, 3))
    await settled()
    await house.clock.advance(RoomLimits().idle_s * 2)
    house.directory.room(ROOM).tell(Sweep())
    await settled()
    log.catching_up.pop()(None)
    await settled()
    assert ear.only(Joined).where.recovery == "none"


async def test_who_was_before_the_first_event_may_have_missed_some_but_for_the_very_beginning(
    house: House, log: SharedLog
) -> None:
    """The log may have forgotten what was before; whoever was there before the first event has missed nothing."""
    log.first = 5
    known = await epoch(house)
    recoveries = [
        (await joined(house, Ear(), f"c{offset}", after=Position(known, offset))).where.recovery
        for offset in (0, 3, 4, 5)
    ]
    assert recoveries == ["full", "partial", "full", "full"]


async def test_the_first_event_of_a_room_is_where_its_history_begins(house: House, log: SharedLog) -> None:
    await joined(house, Ear())
    log.arrive(40, prev=0)
    await settled()
    known = await epoch(house)
    recoveries = [
        (await joined(house, Ear(), f"c{offset}", after=Position(known, offset))).where.recovery
        for offset in (0, 30, 39, 40)
    ]
    assert recoveries == ["full", "partial", "full", "full"]


# --- forgotten rooms, and those that never were


async def test_a_room_that_another_router_had_forgotten_sends_everybody_away(house: House, log: SharedLog) -> None:
    await receipt(house)
    ear = Ear()
    await joined(house, ear)
    assert log.to is not None
    log.to.tell(Renewed(RoomRecord("another", 0, (), 0, 0, None, 0, ())))
    log.arrive(9, prev=0)
    await settled()
    assert ear.only(Revoke).room == ROOM
    assert offsets(ear) == []
    after = await joined(house, Ear())
    assert (after.where.epoch, after.where.offset) == ("another", 9)


async def test_an_event_under_way_outlives_that_another_router_has_the_room_forgotten(
    house: House, log: SharedLog
) -> None:
    """The log has it behind what is forgotten."""
    await receipt(house)
    assert log.to is not None
    answer = Ear()
    under_way: list[tuple[Append, Target]] = []
    log.append = lambda room, append, to: under_way.append((append, to))  # type: ignore[method-assign]
    house.put(ROOM, answer, event_id="e")
    await settled()
    log.to.tell(Renewed(RoomRecord("another", 0, (), 0, 0, None, 0, ())))
    await settled()
    ((append, to),) = under_way
    to.tell(Committed(an_event(5, event_id="e", prev=0), append))
    await settled()
    assert answer.only(Published).receipt[:3] == (ROOM, "another", 5)


async def test_a_room_that_the_log_did_not_know_of_after_all_was_never_used(house: House) -> None:
    for question in (commands.State(room=ROOM), commands.History(room=ROOM), commands.Presence(room=ROOM)):
        refused = await ask(house, question, ANONYMOUS)
        assert isinstance(refused, Refused)
        assert refused.refusal.code is ErrorCode.NOT_FOUND
    answer = Ear()
    house.directory.room(ROOM).tell(Forget(answer))
    await settled()
    assert answer.only(Refused).refusal.code is ErrorCode.NOT_FOUND
