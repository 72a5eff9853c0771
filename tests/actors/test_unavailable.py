"""A room whose record cannot be read: nobody waits in vain, and whoever is in it goes on when it can be read again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from actors import commands
from actors.errors import ErrorCode, LogUnavailable
from actors.identity import Identity
from actors.log import MemoryLog
from actors.mailbox import Target
from actors.messages import Acknowledge, Append, Detach, Joined, Published, Query, Recheck, Refused, Revoke, Subscribe
from actors.record import RoomRecord
from actors.room import Room
from actors.rooms import RoomLimits

from .client import Hall
from .fake_clock import settled
from .follower import Follower
from .house import Ear, House, fail_once

pytestmark = pytest.mark.usefixtures("nothing_left")
ROOM = "session:1"
ADMIN = Identity(user="ops", role="admin")


class ClosedLog(MemoryLog):
    """A log that cannot be read while `closed`."""

    closed = True
    tries = 0

    def open(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None], to: Target | None = None) -> None:
        self.tries += 1
        if self.closed:
            ready(LogUnavailable("the journal is locked"))
        else:
            super().open(room, ready, to)


@pytest.fixture
def log() -> ClosedLog:
    return ClosedLog()


@pytest.fixture
async def house(nothing_left: None, log: ClosedLog) -> AsyncIterator[House]:
    house = House(RoomLimits(), log)
    yield house
    await house.end()


async def with_a_follower(house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch) -> Follower:
    """Let somebody into the room, and let the room fail when the log is closed."""
    log.closed = False
    await house.append(ROOM)
    follower = Follower()
    house.subscribe(ROOM, follower)
    await settled()
    log.closed = True
    fail_once(monkeypatch, Room, Query)
    house.directory.room(ROOM).tell(Query(commands.State(room=ROOM), ADMIN, Ear()))
    await settled()
    return follower


async def test_everyone_who_waits_for_the_room_hears_that_it_cannot_be_read(house: House) -> None:
    ear, room = Ear(), house.directory.room(ROOM)
    house.put(ROOM, ear)
    house.subscribe(ROOM, ear)
    room.tell(Acknowledge("a1", ADMIN, ear, "tag"))
    room.tell(Query(commands.State(id=7, room=ROOM), ADMIN, ear))
    await settled()
    refused = ear.of(Refused)
    assert [each.tag for each in refused] == [None, "c1", "tag", commands.State(id=7, room=ROOM)]
    assert {each.refusal.code for each in refused} == {ErrorCode.JOURNAL_UNAVAILABLE}
    assert {each.refusal.retry_after_ms for each in refused} == {1000}
    assert "the journal is locked" in str(refused[0].refusal)


async def test_a_room_that_nobody_is_in_is_left_alone_until_it_is_used_again(house: House, log: ClosedLog) -> None:
    await house.append(ROOM)
    assert (len(house.directory), house.rooms_start.children) == (0, {})
    await house.clock.advance(60.0)
    assert log.tries == 1
    log.closed = False
    answer = await house.append(ROOM)
    assert isinstance(answer, Published)
    assert answer.receipt.offset == 1


async def test_a_room_that_cannot_be_read_is_no_failure_of_its_actor(
    house: House, logged: list[dict[str, Any]]
) -> None:
    """However often it is tried: a supervisor that gave up would take all rooms with it."""
    for _ in range(20):
        assert isinstance(await house.append(ROOM), Refused)
    assert {line["event"] for line in logged} == {"room_unavailable"}
    assert (logged[0]["room"], logged[0]["reason"]) == (ROOM, "the journal is locked")


async def test_who_is_in_the_room_goes_on_when_it_can_be_read_again(
    house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = await with_a_follower(house, log, monkeypatch)
    await house.clock.advance(5.0)
    assert follower.chain.offsets == []
    log.closed = False
    await house.clock.advance(1.0)
    await house.append(ROOM)
    assert follower.chain.offsets == [2]


async def test_what_is_published_until_then_is_refused_a_second_later_at_most(
    house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = await with_a_follower(house, log, monkeypatch)
    ear = Ear()
    house.put(ROOM, ear, event_id="once")
    await house.clock.advance(1.0)
    assert ear.only(Refused).refusal.code is ErrorCode.JOURNAL_UNAVAILABLE
    log.closed = False
    house.put(ROOM, ear, event_id="once")
    await house.clock.advance(1.0)
    assert ear.only(Published).receipt.offset == 2
    assert follower.chain.offsets == [2]


async def test_when_the_last_one_has_left_it_is_tried_no_more(
    house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_a_follower(house, log, monkeypatch)
    house.directory.room(ROOM).tell(Detach("c1"))
    await house.clock.advance(1.0)
    assert (len(house.ledger), len(house.directory)) == (0, 0)
    tries = log.tries
    await house.clock.advance(60.0)
    assert log.tries == tries


async def test_a_try_that_comes_too_late_does_not_keep_the_next_one_out(
    house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor that follows another one tries at once: what was to be tried later may be about a room of before."""
    await with_a_follower(house, log, monkeypatch)
    before = house.directory.room(ROOM)
    before.tell(Detach("c1"))
    house.directory._start(ROOM, before)
    log.closed = False
    late: list[Callable[[], None]] = []
    monkeypatch.setattr(log, "open", lambda room, ready, to: late.append(partial(ClosedLog.open, log, room, ready)))
    ear = Ear()
    house.put(ROOM, ear)
    await house.clock.advance(2.0)
    for answer in late:
        answer()
    await settled()
    assert ear.only(Published).receipt.offset == 2


async def test_one_on_whose_leaving_the_room_failed_has_left(
    house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.closed = False
    house.subscribe(ROOM, Follower())
    await settled()
    log.closed = True
    fail_once(monkeypatch, Room, Detach)
    house.directory.room(ROOM).tell(Detach("c1"))
    await settled()
    assert len(house.ledger) == 0


async def test_one_who_is_refused_after_the_room_failed_amid_letting_him_in_is_not_in_it(
    house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.closed = False
    await house.append(ROOM)
    log.closed = True
    fail_once(monkeypatch, Room, Subscribe, after=True)
    ear = Ear()
    house.subscribe(ROOM, ear)
    await settled()
    assert ear.only(Refused).refusal.code is ErrorCode.JOURNAL_UNAVAILABLE
    assert len(house.ledger) == 0


async def test_rights_that_ended_meanwhile_are_looked_at_when_the_room_can_be_read_again(
    house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = await with_a_follower(house, log, monkeypatch)
    house.directory.room(ROOM).tell(Recheck("c1", Identity(user="ann")))
    await house.clock.advance(2.0)
    log.closed = False
    await house.clock.advance(1.0)
    assert follower.only(Revoke).room == ROOM
    assert len(house.ledger) == 0


async def test_one_who_comes_and_goes_meanwhile_is_not_in_the_room(
    house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_a_follower(house, log, monkeypatch)
    ear = Ear()
    house.subscribe(ROOM, ear, "c2")
    await house.clock.advance(1.0)
    assert ear.only(Refused).refusal.code is ErrorCode.JOURNAL_UNAVAILABLE
    log.closed = False
    await house.clock.advance(1.0)
    assert list(house.ledger.page(ROOM)) == ["c1"]
    assert ear.of(Joined) == []


async def test_a_client_can_subscribe_again_when_the_room_can_be_read(
    open_hall: Callable[..., Hall], log: ClosedLog
) -> None:
    hall = open_hall(house=House(RoomLimits(), log))
    log.closed = False
    client = await hall.welcomed()
    log.closed = True
    answer = await client.ask("subscribe", room=ROOM)
    assert (answer["code"], answer["temporary"], answer["retry_after_ms"]) == ("journal_unavailable", True, 1000)
    log.closed = False
    await client.subscribe(ROOM)
    assert len(hall.house.ledger.page(ROOM)) == 1


async def test_a_room_of_the_hello_that_cannot_be_read_does_not_keep_the_client_out(
    open_hall: Callable[..., Hall], log: ClosedLog, logged: list[dict[str, Any]]
) -> None:
    hall = open_hall(house=House(RoomLimits(), log))
    client = await hall.welcomed(resume={ROOM: {"epoch": "e", "offset": 1}})
    assert client.wire.of("welcome")[0]["rooms"] == {}
    revoked = {(message["room"], message["reason"]) for message in client.wire.of("revoked")}
    assert (ROOM, "journal_unavailable") in revoked
    assert [line["resumed"] for line in logged if line["event"] == "connection_opened"] == [0]


async def test_an_event_that_was_committed_as_the_room_failed_gets_its_receipt_when_the_log_can_be_read(
    house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody is in the room: the publisher waits."""
    log.closed = False
    await house.append(ROOM)
    fail_once(monkeypatch, Room, Query)
    ear = Ear()
    house.put(ROOM, ear, event_id="x")
    house.directory.room(ROOM).tell(Query(commands.State(room=ROOM), ADMIN, Ear()))
    log.closed = True
    await house.clock.advance(10.0)
    assert ear.heard == []
    log.closed = False
    await house.clock.advance(1.0)
    assert ear.only(Published).receipt.offset == 2


async def test_the_event_on_which_the_room_failed_is_answered_when_the_log_can_be_read(
    house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.closed = False
    await house.append(ROOM)
    fail_once(monkeypatch, Room, Append, after=True)
    ear = Ear()
    log.closed = True
    house.put(ROOM, ear, event_id="x")
    await house.clock.advance(10.0)
    assert ear.heard == []
    log.closed = False
    await house.clock.advance(1.0)
    assert ear.of(Published)[0].receipt.offset == 2
    await house.clock.advance(100.0)
    assert len(house.directory) == 0


async def test_an_event_that_was_to_be_tried_once_more_is_refused_while_the_log_cannot_be_read(
    house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has come of it, so its publisher need not wait to hear that."""
    log.closed = False
    await house.append(ROOM)
    fail_once(monkeypatch, Room, Append)
    log.closed = True
    answer = await house.append(ROOM)
    assert isinstance(answer, Refused)
    assert answer.refusal.code is ErrorCode.JOURNAL_UNAVAILABLE


async def test_a_room_whose_alert_waits_for_its_time_is_tried_again_though_nobody_is_in_it(
    house: House, log: ClosedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.closed = False
    monkeypatch.setattr(log, "watched", lambda: {ROOM})
    await house.append(ROOM, "alert", {"severity": "critical", "title": "disk full", "escalate_after_s": 40})
    with monkeypatch.context() as patched:
        fail_once(patched, Room, Query)
        log.closed = True
        house.directory.room(ROOM).tell(Query(commands.State(room=ROOM), ADMIN, Ear()))
        await house.clock.advance(5.0)
    log.closed = False
    await house.clock.advance(60.0)
    assert house.directory.known("role:admin")
