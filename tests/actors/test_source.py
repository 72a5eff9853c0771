"""NotificationSource: events in from services of any thread, checked, stamped and handed to their rooms."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pykka
import pytest

from actors.answers import Answers
from actors.batch import Batch
from actors.errors import ErrorCode, Refusal
from actors.mailbox import Mailbox
from actors.messages import Publish, Published, Receipt, Refused
from actors.source import NotificationSource

from .fake_clock import settled
from .family import Family
from .house import Ear, House, fail_once

pytestmark = pytest.mark.usefixtures("nothing_left")


def event(*rooms: str, **fields: Any) -> Publish:
    return Publish(rooms=rooms or ("team:1",), **{"kind": "app.thing", "data": {}, **fields})


# --- ask


async def test_asked_it_answers_with_a_receipt_after_the_commit(house: House) -> None:
    (receipt,) = await house.source.ask(event("team:1", event_id="mine"))
    assert isinstance(receipt, Receipt)
    assert (receipt.room, receipt.offset, receipt.event_id, receipt.duplicate) == ("team:1", 1, "mine", False)


async def test_an_event_for_several_rooms_has_a_receipt_for_each_in_their_order(house: House) -> None:
    await house.source.ask(event("team:2"))
    receipts = await house.source.ask(event("team:3", "team:1", "team:2", event_id="mine"))
    assert [(receipt.room, receipt.offset) for receipt in receipts] == [("team:3", 1), ("team:1", 1), ("team:2", 2)]
    assert {receipt.event_id for receipt in receipts} == {"mine"}


async def test_asked_it_raises_the_refusal(house: House) -> None:
    with pytest.raises(Refusal) as caught:
        await house.source.ask(event(kind="nonsense"))
    assert caught.value.code is ErrorCode.INVALID_EVENT


async def test_asked_it_raises_what_one_of_the_rooms_refused(house: House) -> None:
    await house.source.ask(event("session:1", kind="session", data={"status": "completed"}))
    with pytest.raises(Refusal) as caught:
        await house.source.ask(event("session:2", "session:1", kind="progress", data={"current": 1}))
    assert caught.value.code is ErrorCode.SESSION_ENDED


async def test_a_refused_question_is_no_failure(house: House) -> None:
    for _ in range(10):
        with pytest.raises(Refusal):
            await house.source.ask(event(kind="nonsense"))
    assert await house.source.ask(event())


async def test_a_service_in_a_thread_can_ask_with_a_time_out(house: House) -> None:
    def service() -> Any:
        return house.source.ask(event(event_id="mine")).get(timeout=5.0)

    (receipt,) = await asyncio.to_thread(service)
    assert receipt.event_id == "mine"


async def test_a_service_in_a_thread_hears_a_refusal(house: House) -> None:
    def service() -> Any:
        return house.source.ask(event(kind="nonsense")).get(timeout=5.0)

    with pytest.raises(Refusal):
        await asyncio.to_thread(service)


async def test_a_service_in_a_thread_does_not_wait_longer_than_it_wants_to(house: House) -> None:
    lonely = Mailbox(name="nobody lives here")

    def service() -> float:
        started = time.monotonic()
        with pytest.raises(pykka.Timeout):
            lonely.ask(event()).get(timeout=0.05)
        return time.monotonic() - started

    assert await asyncio.to_thread(service) < 5.0
    lonely.close()


async def test_waiting_on_the_loop_is_an_error_and_no_deadlock(house: House) -> None:
    future = house.source.ask(event())
    with pytest.raises(RuntimeError, match="await"):
        future.get(timeout=5.0)
    assert await future


async def test_threads_can_tell(house: House) -> None:
    ear = Ear()
    house.subscribe("team:1", ear)
    await settled()

    def service() -> None:
        for _ in range(50):
            house.source.tell(event())

    await asyncio.gather(*(asyncio.to_thread(service) for _ in range(4)))
    await settled()
    assert sum(len(batch) for batch in ear.of(Batch)) == 200


# --- tell


async def test_who_is_named_hears_once_for_each_room_with_the_tag(house: House) -> None:
    ear = await house.publish("team:1", "team:2", tag="my tag")
    assert [(answer.tag, answer.receipt.room) for answer in ear.of(Published)] == [
        ("my tag", "team:1"),
        ("my tag", "team:2"),
    ]


async def test_who_is_named_hears_a_refusal_once(house: House) -> None:
    answer = (await house.publish("team:1", "team:2", kind="nonsense", tag=7)).only(Refused)
    assert (answer.tag, answer.refusal.code) == (7, ErrorCode.INVALID_EVENT)


async def test_nobody_need_be_named(house: House) -> None:
    house.source.tell(event())
    house.source.tell(event(kind="nonsense"))
    await settled()
    assert (await house.source.ask(event()))[0].offset == 2


@pytest.mark.parametrize("rooms", [(), ("not a room",), ("team:1", "team:*"), ("session:",), "team:1"])
async def test_what_is_no_room_is_refused_and_nothing_is_published(house: House, rooms: Any) -> None:
    house.source.tell(Publish(rooms=rooms, kind="app.thing", data={}))
    with pytest.raises(Refusal) as caught:
        await house.source.ask(Publish(rooms=rooms, kind="app.thing", data={}))
    assert caught.value.code is ErrorCode.INVALID_EVENT
    assert "room" in caught.value.message
    assert len(house.directory) == 0


async def test_the_name_that_is_refused_is_told(house: House) -> None:
    with pytest.raises(Refusal, match="'team:>'"):
        await house.source.ask(event("team:1", "team:>"))


async def test_a_refused_event_opens_no_room(house: House) -> None:
    await house.publish("team:1", kind="nonsense")
    assert len(house.directory) == 0


# --- stamps


async def test_events_are_stamped_with_the_clock(house: House) -> None:
    ear = Ear()
    house.subscribe("team:1", ear)
    await house.clock.advance(1.5)
    await house.publish("team:1")
    assert ear.only(Batch).events[0].draft.time_ms == int(house.clock.time() * 1000)


async def test_events_without_an_id_get_one_each(house: House) -> None:
    receipts = [(await house.source.ask(event()))[0] for _ in range(5)]
    assert len({receipt.event_id for receipt in receipts}) == 5
    assert not any(receipt.duplicate for receipt in receipts)


async def test_two_sources_make_different_ids(house: House) -> None:
    other = Mailbox(name="other")
    NotificationSource.start(house.directory, house.clock, house.quarantine, mailbox=other)
    (first,), (second,) = await house.source.ask(event()), await other.ask(event())
    assert first.event_id != second.event_id
    other.stop()
    await settled()


async def test_an_event_sent_again_gets_the_receipt_of_the_first(house: House) -> None:
    (first,) = await house.source.ask(event(event_id="mine"))
    (again,) = await house.source.ask(event(event_id="mine"))
    assert again == first._replace(duplicate=True)


async def test_key_delivery_and_ack_go_with_the_event(house: House) -> None:
    ear = Ear()
    house.subscribe("team:1", ear)
    alert = {"severity": "low", "title": "t"}
    await house.publish("team:1", kind="alert", data=alert, key="k", ack="required")
    await house.publish("team:1", kind="alert", data=alert, delivery="latest")
    first, second = [event.draft for batch in ear.of(Batch) for event in batch.events]
    assert (first.key, first.delivery, first.ack) == ("k", "keep", True)
    assert (second.key, second.delivery, second.ack) == (None, "latest", False)


# --- failure


async def test_who_waits_for_an_event_that_the_source_failed_on_hears_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A room has it by then, so that it cannot be tried again; with its own id, its publisher can."""
    family = Family()

    def start(mailbox: Mailbox) -> None:
        NotificationSource.start(house.directory, house.clock, house.quarantine, mailbox=mailbox)

    source = await family.worker("source", start)
    fail_once(monkeypatch, NotificationSource, Publish, after=True)
    ear = Ear()
    source.tell(Publish(rooms=("team:1",), kind="app.thing", data={}, reply_to=ear, tag="first"))
    source.tell(Publish(rooms=("team:1",), kind="app.thing", data={}, reply_to=ear, tag="second"))
    await settled()
    refused = ear.only(Refused)
    assert (refused.tag, refused.refusal.code) == ("first", ErrorCode.INTERNAL)
    assert [answer.tag for answer in ear.of(Published)] == ["first", "second"]
    await family.end()


def test_answers_are_handed_over_together_in_the_order_of_their_places() -> None:
    done: list[Any] = []
    answers = Answers(3, done.append)
    receipts = [Receipt("team:1", "e", number, str(number), False) for number in range(3)]
    answers.tell(Published(2, receipts[2]))
    answers.tell(Published(0, receipts[0]))
    assert done == []
    refusal = Refusal(ErrorCode.BUSY, "later")
    answers.tell(Refused(1, refusal))
    assert done == [(receipts[0], refusal, receipts[2])]
