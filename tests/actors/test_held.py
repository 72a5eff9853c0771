"""Held: an event that waits for one client, and the marker that it leaves when it gives way."""

from __future__ import annotations

from typing import Any

import pytest

from actors.batch import Batch
from actors.events import Event
from actors.held import Held, HeldBatch, marker
from actors.meters import Meters
from actors.subscription import Subscription
from server.protocols.native import NativeCodec

from .chain import messages
from .making import a_subscription, an_event, events, progress

CODEC = NativeCodec()
METERS = Meters()


def held(subscription: Subscription, event: Event, reason: str = "filtered") -> Held:
    return Held(subscription, event, event.prev, reason)


def told(waiting: Held | HeldBatch) -> list[dict[str, Any]]:
    return messages(waiting.frames(CODEC, METERS))


def marked(message: dict[str, Any]) -> tuple[int, int, str]:
    assert message["type"] == "skipped"
    return message["from"], message["to"], message["reason"]


def test_a_marker_begins_after_what_the_client_knows_of() -> None:
    subscription = a_subscription(cursor=3)
    (message,) = messages(marker(subscription, 7, "expired", CODEC, METERS))
    assert marked(message) == (4, 7, "expired")
    assert subscription.told == 7


def test_a_client_that_is_there_already_needs_no_marker() -> None:
    subscription = a_subscription(cursor=7)
    assert marker(subscription, 7, "expired", CODEC, METERS) == marker(subscription, 3, "expired", CODEC, METERS) == b""
    assert subscription.told == 7


def test_an_event_that_follows_the_last_one_stands_alone() -> None:
    subscription = a_subscription(cursor=3)
    (message,) = told(held(subscription, an_event(4)))
    assert (message["offset"], message["prev"]) == (4, 3)
    assert subscription.told == 4


def test_what_does_not_come_before_an_event_is_told_before_it() -> None:
    first, second = told(held(a_subscription(cursor=3), an_event(9)))
    assert marked(first) == (4, 8, "filtered")
    assert (second["offset"], second["prev"]) == (9, 8)


def test_an_event_that_gives_way_leaves_a_marker_that_reaches_to_it() -> None:
    subscription = a_subscription(cursor=3)
    waiting = held(subscription, progress(5))
    waiting.give_way()
    (message,) = told(waiting)
    assert marked(message) == (4, 5, "conflated")
    assert subscription.told == 5


def test_what_gave_way_takes_less_room_than_it_did() -> None:
    waiting = held(a_subscription(), an_event(1, "progress", {"current": 1, "filling": "x" * 1000}))
    before = waiting.size
    waiting.give_way()
    assert 0 < waiting.size < before


@pytest.mark.parametrize(
    ("own", "taken", "named"),
    [
        ("filtered", "conflated", "conflated"),
        ("conflated", "filtered", "conflated"),
        ("conflated", "expired", "expired"),
        ("expired", "conflated", "expired"),
        ("filtered", "filtered", "filtered"),
    ],
)
def test_of_several_reasons_the_greatest_loss_is_named(own: str, taken: str, named: str) -> None:
    waiting = Held(a_subscription(), None, 5, own)
    waiting.take_reason(taken)
    assert marked(told(waiting)[0]) == (1, 5, named)


def test_what_expired_before_a_value_that_gave_way_is_still_told_as_expired() -> None:
    waiting = held(a_subscription(), progress(5), "expired")
    waiting.give_way()
    assert marked(told(waiting)[0]) == (1, 5, "expired")


def test_who_has_left_the_room_hears_nothing_more_of_it() -> None:
    subscription = a_subscription()
    waiting = [held(subscription, an_event(2)), HeldBatch(subscription, Batch("team:1", events(3, 4)), CODEC)]
    subscription.left = True
    assert [each.frames(CODEC, METERS) for each in waiting] == [b"", b""]
    assert subscription.told == 0


def test_an_event_that_is_on_its_way_gives_way_to_nothing() -> None:
    waiting = held(a_subscription(), progress(1))
    waiting.frames(CODEC, METERS)
    assert waiting.event is None


def test_a_batch_that_waits_is_encoded_once_for_all_clients() -> None:
    batch = Batch("team:1", events(1, 3))
    first, second = (HeldBatch(a_subscription(), batch, CODEC) for _ in range(2))
    assert first.frames(CODEC, METERS) is second.frames(CODEC, METERS)
    assert first.size == len(batch.frames(CODEC))
    assert first.subscription.told == 3


def test_a_batch_comes_apart_into_what_it_would_have_said() -> None:
    page = Batch("team:1", [an_event(2, prev=1), an_event(6, prev=5)], {6: "conflated"})
    whole, apart = a_subscription(cursor=1), a_subscription(cursor=1)
    expanded = HeldBatch(apart, page, CODEC).expand()
    assert b"".join(each.frames(CODEC, METERS) for each in expanded) == HeldBatch(whole, page, CODEC).frames(
        CODEC, METERS
    )
    assert whole.told == apart.told == 6
