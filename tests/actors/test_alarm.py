"""Alarm: an alert that nobody acknowledges in time goes to the admins, once, whatever fails meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors import commands, replies
from actors.batch import Batch
from actors.errors import ErrorCode, Refusal
from actors.events import Event, decode_data
from actors.identity import Identity
from actors.mailbox import Target
from actors.messages import Acknowledge, AlertDue, Append, AppendFailed, Committed, Published, Query, Refused, Sweep
from actors.room import Room
from actors.rooms import RoomLimits

from .fake_clock import settled
from .house import Ear, House, fail_once
from .late_log import LateLog

pytestmark = pytest.mark.usefixtures("nothing_left")
ROOM = "session:1"
ADMINS = "role:admin"
ADMIN = Identity(user="ops", role="admin")
AFTER_S = 300.0
CRITICAL = {"severity": "critical", "title": "disk full", "host": "db1"}


class PickyLog(LateLog):
    """A log that takes no events of one room, or of one kind, while it is told so."""

    refused: str | None = None
    """The room or the kind."""

    def append(self, room: str, append: Append, to: Target) -> None:
        if self.refused is not None and self.refused in (room, append.draft.kind):
            to.tell(AppendFailed(append, Refusal(ErrorCode.JOURNAL_UNAVAILABLE, "the disk is full")))
        else:
            super().append(room, append, to)


@pytest.fixture
async def log() -> PickyLog:
    return PickyLog()


@pytest.fixture
async def house(nothing_left: None, log: PickyLog) -> AsyncIterator[House]:
    house = House(RoomLimits(escalate_after_s=AFTER_S, history_events=10), log)
    yield house
    await house.end()


def of(log: LateLog, room: str, kind: str) -> list[Event]:
    """The events of this kind that were committed to a room."""
    return [event for event in log.committed.get(room, {}).values() if event.draft.kind == kind]


def origins(log: LateLog) -> list[str]:
    """Return which alerts went to the admins, in order."""
    return [decode_data(event.draft.data)["escalated_from"]["event_id"] for event in of(log, ADMINS, "alert")]


async def alert(house: House, room: str = ROOM, event_id: str = "a1", **data: Any) -> None:
    assert isinstance(await house.append(room, "alert", {**CRITICAL, **data}, event_id=event_id), Published)


async def acknowledge(house: House, event_id: str = "a1", user: str = "ops") -> Published | Refused:
    ear = Ear()
    house.directory.room(ROOM).tell(Acknowledge(event_id, Identity(user=user, role="admin"), ear, None))
    await settled()
    (answer,) = ear.heard
    assert isinstance(answer, Published | Refused)
    return answer


async def alerts(house: House, room: str = ROOM) -> list[dict[str, Any]]:
    ear = Ear()
    house.directory.room(room).tell(Query(commands.State(room=room), ADMIN, ear))
    await settled()
    listed: list[dict[str, Any]] = ear.only(replies.State).state["alerts"]
    return listed


# --- the time


async def test_an_alert_goes_to_the_admins_when_its_time_is_over(house: House, log: PickyLog) -> None:
    admins, room = Ear(), Ear()
    house.subscribe(ADMINS, admins)
    house.subscribe(ROOM, room)
    await alert(house)
    await house.clock.advance(AFTER_S - 0.5)
    assert of(log, ADMINS, "alert") == []
    await house.clock.advance(0.5)
    (sent,) = [event for batch in admins.of(Batch) for event in batch.events]
    time = (await alerts(house))[0]["time"]
    origin = {"room": ROOM, "event_id": "a1", "offset": 1, "time": time}
    assert decode_data(sent.draft.data) == {**CRITICAL, "escalated_from": origin}
    assert (sent.draft.kind, sent.draft.ack, sent.draft.delivery) == ("alert", False, "keep")
    note = room.of(Batch)[-1].events[0]
    assert note.draft.kind == "alert.escalated"
    assert decode_data(note.draft.data) == {"event_id": "a1", "to": ADMINS}


async def test_an_escalated_alert_waits_in_its_room_and_nowhere_else(house: House) -> None:
    await alert(house)
    await house.clock.advance(AFTER_S)
    (waiting,) = await alerts(house)
    assert (waiting["event_id"], "escalated_at" in waiting) == ("a1", True)
    assert await alerts(house, ADMINS) == []
    assert isinstance(await acknowledge(house), Published)
    assert await alerts(house) == []


async def test_it_goes_once(house: House, log: PickyLog) -> None:
    await alert(house)
    for _ in range(10):
        await house.clock.advance(AFTER_S)
        house.directory.room(ROOM).tell(AlertDue())
        await alert(house, event_id=f"other{house.clock.monotonic()}", escalate_after_s=0)
    assert len(of(log, ADMINS, "alert")) == len(of(log, ROOM, "alert.escalated")) == 1


async def test_an_alert_may_say_its_own_time(house: House, log: PickyLog) -> None:
    await alert(house, event_id="slow")
    await alert(house, event_id="quick", escalate_after_s=2.5)
    await house.clock.advance(2.4)
    assert of(log, ADMINS, "alert") == []
    await house.clock.advance(0.1)
    assert [decode_data(each.draft.data)["escalated_from"]["event_id"] for each in of(log, ADMINS, "alert")] == [
        "quick"
    ]
    await house.clock.advance(AFTER_S)
    assert len(of(log, ADMINS, "alert")) == 2


async def test_an_alert_may_say_never(house: House, log: PickyLog) -> None:
    await alert(house, escalate_after_s=0)
    await house.clock.advance(10 * AFTER_S)
    assert of(log, ADMINS, "alert") == []


async def test_the_setting_may_say_never_and_an_alert_otherwise(nothing_left: None) -> None:
    log = LateLog()
    house = House(RoomLimits(escalate_after_s=0), log)
    await alert(house, event_id="a1")
    await alert(house, event_id="a2", escalate_after_s=1)
    await house.clock.advance(AFTER_S)
    assert origins(log) == ["a2"]
    await house.end()


async def test_an_alert_that_was_acknowledged_in_time_goes_nowhere(house: House, log: PickyLog) -> None:
    await alert(house)
    await house.clock.advance(AFTER_S - 1.0)
    await acknowledge(house)
    await house.clock.advance(10 * AFTER_S)
    assert of(log, ADMINS, "alert") == []


async def test_an_alert_that_needs_no_acknowledgement_goes_nowhere(house: House, log: PickyLog) -> None:
    await house.append(ROOM, "alert", {"severity": "low", "title": "t", "escalate_after_s": 1})
    await house.clock.advance(AFTER_S)
    assert of(log, ADMINS, "alert") == []


async def test_the_admins_own_alerts_go_nowhere(house: House, log: PickyLog) -> None:
    await alert(house, ADMINS)
    await house.clock.advance(10 * AFTER_S)
    assert len(of(log, ADMINS, "alert")) == 1
    assert len(house.directory) == 0, "and do not keep the room from retiring"


async def test_an_alert_that_left_the_history_goes_in_time(house: House, log: PickyLog) -> None:
    await alert(house)
    for _ in range(50):
        await house.append(ROOM)
    house.directory.room(ROOM).tell(Sweep())
    await house.clock.advance(AFTER_S)
    assert len(of(log, ADMINS, "alert")) == 1


# --- failures


async def test_when_the_log_refuses_it_is_tried_again(house: House, log: PickyLog) -> None:
    await alert(house)
    log.refused = ADMINS
    await house.clock.advance(AFTER_S + 12.0)
    assert of(log, ADMINS, "alert") == of(log, ROOM, "alert.escalated") == []
    log.refused = None
    await house.clock.advance(5.0)
    assert len(of(log, ADMINS, "alert")) == len(of(log, ROOM, "alert.escalated")) == 1


async def test_when_the_log_refuses_the_rooms_own_note_it_is_tried_again(house: House, log: PickyLog) -> None:
    """The admins have the alert by then, and do not get it twice."""
    await alert(house)
    log.refused = "alert.escalated"
    await house.clock.advance(AFTER_S + 12.0)
    assert "escalated_at" not in (await alerts(house))[0]
    log.refused = None
    await house.clock.advance(5.0)
    assert "escalated_at" in (await alerts(house))[0]
    assert len(of(log, ADMINS, "alert")) == len(of(log, ROOM, "alert.escalated")) == 1


async def test_a_refused_alert_does_not_keep_another_one_from_its_time(house: House, log: PickyLog) -> None:
    await alert(house, event_id="a1")
    await house.clock.advance(1.0)
    await alert(house, event_id="a2")
    log.refused = ADMINS
    await house.clock.advance(AFTER_S - 1.0)
    log.refused = None
    await house.clock.advance(1.0)
    assert origins(log) == ["a2"]
    await house.clock.advance(4.0)
    assert len(of(log, ADMINS, "alert")) == 2


async def test_what_was_acknowledged_while_it_was_on_its_way_gets_no_note(house: House, log: PickyLog) -> None:
    await alert(house)
    log.refused = ADMINS
    await house.clock.advance(AFTER_S)
    log.refused = None
    await acknowledge(house)
    await house.clock.advance(AFTER_S)
    assert of(log, ADMINS, "alert") == of(log, ROOM, "alert.escalated") == []


async def test_what_is_acknowledged_before_the_admins_have_it_gets_no_note(house: House, log: PickyLog) -> None:
    await alert(house)
    log.late = True
    await house.clock.advance(AFTER_S)
    assert log.waiting == 1, "the opening of the admins' room"
    house.directory.room(ROOM).tell(Acknowledge("a1", ADMIN, Ear(), None))
    await settled()
    log.late = False
    while log.waiting:
        log.commit()
        await settled()
    assert len(of(log, ADMINS, "alert")) == 1
    assert of(log, ROOM, "alert.escalated") == []


@pytest.mark.parametrize("message", [AlertDue, Published, Committed, Query])
@pytest.mark.parametrize("after", [False, True])
async def test_a_room_that_fails_over_it_sends_it_once(
    house: House, log: PickyLog, monkeypatch: pytest.MonkeyPatch, message: type, after: bool
) -> None:
    await alert(house)
    fail_once(monkeypatch, Room, message, after=after)
    if message is Query:  # before it is due
        house.directory.room(ROOM).tell(Query(commands.State(room=ROOM), ADMIN, Ear()))
    await house.clock.advance(AFTER_S)
    await house.clock.advance(10.0)
    assert len(of(log, ADMINS, "alert")) == len(of(log, ROOM, "alert.escalated")) == 1


@pytest.mark.parametrize("down_s", [10.0, 10 * AFTER_S])
async def test_the_time_goes_on_while_the_router_is_down(log: PickyLog, nothing_left: None, down_s: float) -> None:
    limits = RoomLimits(escalate_after_s=AFTER_S)
    first = House(limits, log)
    await alert(first)
    await first.clock.advance(100.0)
    await first.end()
    second = House(limits, log)
    second.clock.jump_wall(100.0 + down_s)
    second.directory.open_watched()
    await settled()
    left_s = AFTER_S - 100.0 - down_s
    if left_s > 0:
        await second.clock.advance(left_s - 0.5)
        assert of(log, ADMINS, "alert") == []
    await second.clock.advance(0.5)
    assert len(of(log, ADMINS, "alert")) == 1
    await second.end()


async def test_a_room_whose_alert_was_escalated_is_not_opened_for_it_again(house: House, log: PickyLog) -> None:
    await alert(house)
    assert set(log.watched()) == {ROOM}
    await house.clock.advance(AFTER_S)
    await house.clock.advance(300.0)
    assert len(house.directory) == 0
    assert set(log.watched()) == set()


# --- retiring


async def test_a_room_does_not_retire_while_an_alert_may_still_go_to_the_admins(house: House) -> None:
    await alert(house)
    await house.clock.advance(AFTER_S - 1.0)
    assert len(house.directory) == 1
    await acknowledge(house)
    await house.clock.advance(200.0)
    assert len(house.directory) == 0
    assert house.clock.due == []


# --- acknowledging


async def test_a_second_acknowledgement_says_who_was_first_and_when(house: House) -> None:
    await alert(house)
    await acknowledge(house, user="ann")
    answer = await acknowledge(house, user="bob")
    assert isinstance(answer, Refused)
    assert answer.refusal.code is ErrorCode.NOT_FOUND
    assert str(answer.refusal).endswith("was acknowledged by ann at 2023-11-14T22:13:20.000Z")


async def test_who_was_first_is_known_after_the_room_was_retired(house: House) -> None:
    await alert(house)
    await acknowledge(house, user="ann")
    await house.clock.advance(200.0)
    assert len(house.directory) == 0
    answer = await acknowledge(house, user="bob")
    assert isinstance(answer, Refused)
    assert "acknowledged by ann" in str(answer.refusal)
