"""Room: one order for all, each event once, sessions, progress and alerts."""

from __future__ import annotations

import pytest

from actors.batch import Batch
from actors.errors import ErrorCode
from actors.events import decode_data
from actors.identity import Identity
from actors.messages import Acknowledge, Detach, Published, Receipt, Refused

from .asking import ROOM, joined, offsets, receipt, refusal
from .fake_clock import settled
from .house import Ear, House

pytestmark = pytest.mark.usefixtures("nothing_left")
ANN = Identity(user="ann")


# --- order


async def test_events_get_the_next_offset_in_the_order_they_came(house: House) -> None:
    ear = Ear()
    for name in "abc":
        house.put(ROOM, ear, event_id=name)
    await settled()
    assert [(each.receipt.event_id, each.receipt.offset) for each in ear.of(Published)] == [
        ("a", 1),
        ("b", 2),
        ("c", 3),
    ]


async def test_a_receipt_says_where_the_event_is(house: House) -> None:
    got = await receipt(house, event_id="mine")
    assert got == Receipt(ROOM, got.epoch, 1, "mine", duplicate=False)
    assert (await receipt(house)).epoch == got.epoch


async def test_events_of_one_turn_leave_as_one_batch_in_order(house: House) -> None:
    ear, publisher = Ear(), Ear()
    await joined(house, ear)
    for _ in range(5):
        house.put(ROOM, publisher)
    await settled()
    (batch,) = ear.of(Batch)
    assert [(event.prev, event.offset) for event in batch.events] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]


async def test_everyone_gets_the_same_batch(house: House) -> None:
    first, second = Ear(), Ear()
    await joined(house, first, "c1")
    await joined(house, second, "c2")
    await receipt(house)
    assert first.only(Batch) is second.only(Batch)


async def test_many_bytes_of_one_turn_leave_in_several_batches(house: House) -> None:
    ear, publisher = Ear(), Ear()
    await joined(house, ear)
    for _ in range(10):
        house.put(ROOM, publisher, data={"x": "y" * 60_000})
    await settled()
    assert len(ear.of(Batch)) > 1
    assert offsets(ear) == list(range(1, 11))


async def test_who_has_left_hears_nothing_more(house: House) -> None:
    ear = Ear()
    await joined(house, ear)
    house.directory.room(ROOM).tell(Detach("c1"))
    await receipt(house)
    assert ear.of(Batch) == []


# --- the same event twice


async def test_an_event_id_that_was_taken_gets_the_first_receipt_again(house: House) -> None:
    ear = Ear()
    await joined(house, ear)
    first = await receipt(house, event_id="once")
    again = await receipt(house, event_id="once")
    assert again == first._replace(duplicate=True)
    assert offsets(ear) == [1]


async def test_a_retry_while_the_first_one_is_under_way_waits_for_its_commit(house: House) -> None:
    ear = Ear()
    for _ in range(3):
        house.put(ROOM, ear, event_id="once")
    await settled()
    assert [(each.receipt.offset, each.receipt.duplicate) for each in ear.of(Published)] == [
        (1, False),
        (1, True),
        (1, True),
    ]


async def test_events_without_an_id_of_their_own_are_all_taken(house: House) -> None:
    assert [(await receipt(house)).offset for _ in range(3)] == [1, 2, 3]


async def test_the_same_event_id_in_two_rooms_is_two_events(house: House) -> None:
    await house.append("team:1", event_id="once")
    assert not (await receipt(house, event_id="once")).duplicate


# --- sessions and progress


async def test_an_ended_session_takes_no_progress(house: House) -> None:
    await receipt(house, "session", {"status": "completed"})
    assert await refusal(house, "progress") is ErrorCode.SESSION_ENDED


async def test_an_ended_session_takes_everything_else(house: House) -> None:
    await receipt(house, "session", {"status": "failed"})
    assert (await receipt(house, "alert")).offset == 2
    assert (await receipt(house, "app.thing")).offset == 3


async def test_a_new_run_takes_progress_again(house: House) -> None:
    await receipt(house, "session", {"status": "completed"})
    await receipt(house, "session", {"status": "started"})
    assert (await receipt(house, "progress")).offset == 3


async def test_the_rule_holds_within_one_batch(house: House) -> None:
    ear = Ear()
    house.put(ROOM, ear, "session", {"status": "started"})
    house.put(ROOM, ear, "progress")
    house.put(ROOM, ear, "session", {"status": "completed"})
    house.put(ROOM, ear, "progress")
    house.put(ROOM, ear, "session", {"status": "started"})
    house.put(ROOM, ear, "progress")
    await settled()
    assert [each.refusal.code for each in ear.of(Refused)] == [ErrorCode.SESSION_ENDED]
    assert len(ear.of(Published)) == 5


async def test_retries_of_refused_progress_are_refused_too(house: House) -> None:
    await receipt(house, "session", {"status": "completed"})
    for _ in range(2):
        assert await refusal(house, "progress", event_id="late") is ErrorCode.SESSION_ENDED


async def test_progress_gets_its_estimates_from_the_value_before(house: House) -> None:
    ear = Ear()
    await joined(house, ear)
    await receipt(house, "progress", {"current": 0, "total": 10})
    await house.clock.advance(2.0)
    await receipt(house, "progress", {"current": 4, "total": 10})
    last = decode_data(ear.of(Batch)[-1].events[0].draft.data)
    assert last == {"current": 4, "total": 10, "percent": 40.0, "rate": 2.0, "elapsed_s": 2.0, "eta_s": 3.0}


async def test_each_key_has_its_own_progress(house: House) -> None:
    ear = Ear()
    await joined(house, ear)
    for key in ("a", "b"):
        await receipt(house, "progress", {"current": 5}, key=key)
        await house.clock.advance(1.0)
    assert "rate" not in decode_data(ear.of(Batch)[-1].events[0].draft.data)


async def test_within_one_batch_the_second_value_knows_the_first(house: House) -> None:
    ear, publisher = Ear(), Ear()
    await joined(house, ear)
    now_ms = int(house.clock.time() * 1000)
    house.put(ROOM, publisher, "progress", {"current": 0}, time_ms=now_ms)
    house.put(ROOM, publisher, "progress", {"current": 3}, time_ms=now_ms + 1000)
    await settled()
    assert decode_data(ear.only(Batch).events[1].draft.data)["rate"] == 3.0


async def test_a_new_run_has_no_rate_from_the_last_one(house: House) -> None:
    ear = Ear()
    await joined(house, ear)
    await receipt(house, "progress", {"current": 5})
    await receipt(house, "session", {"status": "started"})
    await house.clock.advance(1.0)
    await receipt(house, "progress", {"current": 6})
    assert decode_data(ear.of(Batch)[-1].events[0].draft.data) == {"current": 6, "elapsed_s": 0.0}


# --- alerts


async def acknowledge(house: House, event_id: str, identity: Identity) -> Published | Refused:
    ear = Ear()
    house.directory.room(ROOM).tell(Acknowledge(event_id, identity, ear, "tag"))
    await settled()
    (answer,) = ear.heard
    assert isinstance(answer, Published | Refused)
    return answer


async def test_an_acknowledged_alert_leaves_the_state_and_everyone_hears_who_did_it(house: House) -> None:
    ear = Ear()
    await joined(house, ear)
    await receipt(house, "alert", event_id="a1")
    await acknowledge(house, "a1", Identity(user="ops", role="admin"))
    event = ear.of(Batch)[-1].events[0]
    assert event.draft.kind == "alert.acknowledged"
    assert decode_data(event.draft.data) == {"event_id": "a1", "user": "ops"}
    assert (await joined(house, Ear(), "c2")).where.state["alerts"] == []  # type: ignore[index]


async def test_acknowledging_takes_the_right_to(house: House) -> None:
    await receipt(house, "alert", event_id="a1")
    answer = await acknowledge(house, "a1", ANN)
    assert isinstance(answer, Refused)
    assert answer.refusal.code is ErrorCode.FORBIDDEN


async def test_only_an_alert_that_waits_can_be_acknowledged(house: House) -> None:
    await receipt(house, "alert", {"severity": "low", "title": "t"}, event_id="a1")
    answer = await acknowledge(house, "a1", Identity(user="ops", role="admin"))
    assert isinstance(answer, Refused)
    assert answer.refusal.code is ErrorCode.NOT_FOUND


async def test_of_two_who_acknowledge_at_once_the_second_hears_who_was_first(house: House) -> None:
    """Both may not believe that they have taken the alert; a retry of the first one is no second."""
    await receipt(house, "alert", event_id="a1")
    ear = Ear()
    for user in ("ann", "bob", "ann"):
        house.directory.room(ROOM).tell(Acknowledge("a1", Identity(user=user, role="admin"), ear, user))
    await settled()
    first, second = ear.of(Published)
    assert first.receipt.offset == second.receipt.offset == 2
    assert (first.tag, second.tag) == ("ann", "ann")
    refused = ear.only(Refused)
    assert (refused.tag, refused.refusal.code) == ("bob", ErrorCode.NOT_FOUND)
    assert "acknowledged by ann" in refused.refusal.message
