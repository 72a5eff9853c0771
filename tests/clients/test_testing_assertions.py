"""The test kit's assertions: what they wait for, and what they say when they fail."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from postroom_client import Event, GapError, Position, Receipt
from postroom_client._positions import Gap, Skipped
from postroom_client.testing import Broken, assert_chain, assert_event, check_chain
from postroom_client.testing._assertions import assert_none

ROOM = "session:1"
SHORT_S = 0.05
"""How long an assertion waits that is to fail."""


class Scripted:
    """A subscription that brings what the test says; then it ends, or nothing more comes."""

    room = ROOM

    def __init__(
        self, *items: Event | Skipped | Position | GapError, ends: bool = False, kinds: tuple[str, ...] | None = None
    ) -> None:
        self._items = list(items)
        self._ends = ends
        self.kinds = kinds
        self.position = Position("a", 0)

    async def __anext__(self) -> Event:
        while self._items:
            match self._items.pop(0):
                case Event() as event:
                    self.position = Position(self.position.epoch, event.offset)
                    return event
                case Skipped() as marker:
                    self.position = Position(self.position.epoch, marker.last)
                case Position() as position:  # where `on_gap` goes on
                    self.position = position
                case GapError() as error:
                    raise error
        if self._ends:
            raise StopAsyncIteration
        await asyncio.Event().wait()
        raise AssertionError


def event(offset: int, kind: str = "a.b", *, prev: int | None = None, **data: object) -> Event:
    return Event(
        room=ROOM,
        offset=offset,
        prev=offset - 1 if prev is None else prev,
        id=f"id-{offset}",
        kind=kind,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        data=data,
    )


def skipped(first: int, last: int) -> Skipped:
    return Skipped(room=ROOM, first=first, last=last, reason="conflated")


def receipt(offset: int, *, room: str = ROOM, epoch: str = "a") -> Receipt:
    return Receipt(room=room, epoch=epoch, offset=offset, event_id=f"id-{offset}")


# --- assert_event


async def test_an_event_is_found_by_kind_data_id_and_functions() -> None:
    """What does not match is passed over."""
    events = Scripted(event(1), event(2, "progress", current=1), event(3, "progress", current=2), event(4), event(5))
    assert (await assert_event(events, "progress", current=lambda current: current > 1)).offset == 3
    assert (await assert_event(events, event_id="id-5")).offset == 5


async def test_an_event_that_does_not_come_is_told_with_what_came_instead() -> None:
    events = Scripted(event(1, "progress", current=1), event(2, "session", status="failed"))
    with pytest.raises(AssertionError) as caught:
        await assert_event(events, "session", within_s=SHORT_S, status="completed")
    assert str(caught.value) == (
        "session:1: no session with status='completed' within 0.05 s; what came:\n"
        "  #1 progress {'current': 1}\n"
        "  #2 session {'status': 'failed'}"
    )


async def test_nothing_at_all_and_an_end_are_told_too() -> None:
    with pytest.raises(AssertionError, match=r"no event within 0\.05 s; nothing came"):
        await assert_event(Scripted(), within_s=SHORT_S)
    with pytest.raises(AssertionError, match=r"no alert, the subscription has ended; what came:\n  #1 a\.b"):
        await assert_event(Scripted(event(1), ends=True), "alert")


async def test_of_very_many_and_very_long_events_the_last_are_shown_in_part() -> None:
    events = [event(number, text="x" * 1000) for number in range(1, 51)]
    with pytest.raises(AssertionError) as caught:
        await assert_event(Scripted(*events), "alert", within_s=SHORT_S)
    lines = str(caught.value).splitlines()
    assert lines[1] == "  .. and 30 before"
    assert len(lines) == 22
    assert max(map(len, lines)) < 250


# --- assert_none


async def test_what_should_not_come_is_looked_for_up_to_the_marker_and_no_further() -> None:
    await assert_none(Scripted(event(1), event(2), event(3, "alert")), receipt(2), "alert", within_s=1.0, matching={})
    with pytest.raises(AssertionError, match=r"session:1: #1 alert \{'title': 'fire'\} came, and should not have"):
        await assert_none(
            Scripted(event(1, "alert", title="fire")), receipt(2), "alert", within_s=1.0, matching={"title": "fire"}
        )


async def test_without_the_marker_nothing_is_asserted() -> None:
    """A subscription that has come to nothing proves nothing."""
    with pytest.raises(AssertionError, match=r"the marker at offset 2 did not come within 0\.05 s, so it is not known"):
        await assert_none(Scripted(event(1)), receipt(2), "alert", within_s=SHORT_S, matching={})


async def test_an_end_before_the_marker_is_told() -> None:
    """After `unsubscribe`, for example."""
    with pytest.raises(AssertionError, match=r"the marker .* did not come, the subscription has ended; what came"):
        await assert_none(Scripted(event(1), ends=True), receipt(2), "alert", within_s=1.0, matching={})


# --- the chain


async def test_a_whole_chain_is_returned_up_to_its_end() -> None:
    events = [event(number) for number in range(1, 6)]
    assert await assert_chain(Scripted(*events), up_to=receipt(4)) == events[:4]
    assert check_chain(events) == 5
    assert check_chain(events[2:], after=2) == 5
    assert check_chain([]) == 0


async def test_a_missing_event_is_named() -> None:
    events = [event(1), event(2), event(5, "session", status="completed")]
    told = r"offsets 3 to 4 did not come: after offset 2 came #5 session \{'status': 'completed'\}"
    with pytest.raises(Broken, match=told) as caught:
        await assert_chain(Scripted(*events), up_to=5)
    assert (caught.value.room, caught.value.after, caught.value.event) == (ROOM, 2, events[2])
    with pytest.raises(Broken, match=told):
        check_chain(events)
    with pytest.raises(Broken, match="offset 1 did not come"):
        check_chain([event(2)])


async def test_what_was_left_out_on_purpose_may_be_allowed() -> None:
    events = [event(1), event(4), event(5)]
    assert check_chain(events, skipped=True) == 5
    assert await assert_chain(Scripted(*events), up_to=5, skipped=True) == events


async def test_what_was_left_out_at_the_end_is_no_event_and_counts() -> None:
    """The subscription stands there, and that is looked at too."""
    items = (event(1), skipped(2, 4))
    assert await assert_chain(Scripted(*items), up_to=receipt(4), skipped=True) == [event(1)]
    with pytest.raises(Broken, match=r"offsets 2 to 4 did not come; .* say skipped=True"):
        await assert_chain(Scripted(*items), up_to=receipt(4))
    with pytest.raises(Broken, match=r"offset 2 did not come: .* say skipped=True"):
        check_chain([event(1), event(3)])


async def test_of_a_kind_that_was_not_asked_for_nothing_can_be_waited_for() -> None:
    """The router does not tell of a few that are left out, until one of the others comes."""
    with pytest.raises(Broken, match="it is to alert only, and is not told of others after the last of these"):
        await assert_chain(Scripted(event(1, "alert"), kinds=("alert",)), up_to=2, skipped=True, within_s=SHORT_S)


async def test_a_receipt_of_another_room_is_refused() -> None:
    with pytest.raises(ValueError, match="up_to is the receipt of an event in doc:1, and this subscription is to sess"):
        await assert_chain(Scripted(event(1)), up_to=receipt(1, room="doc:1"))


async def test_a_receipt_of_another_epoch_is_not_reached_by_its_offset() -> None:
    """A subscription that takes gaps gets there when its room has begun anew."""
    with pytest.raises(Broken, match=r"came to offset 1 of 1 .* in epoch a, and up_to is of epoch b; what came:\n  #1"):
        await assert_chain(Scripted(event(1)), up_to=receipt(1, epoch="b"), within_s=SHORT_S)
    items = (event(1), Position("b", 0), event(1))
    assert len(await assert_chain(Scripted(*items), up_to=receipt(1, epoch="b"), skipped=True)) == 2
    with pytest.raises(Broken, match="began anew"):
        await assert_chain(Scripted(*items), up_to=receipt(1, epoch="b"))


@pytest.mark.parametrize("wrong", [event(2), event(1)], ids=["twice", "late"])
async def test_an_event_that_comes_again_or_late_breaks_the_chain(wrong: Event) -> None:
    """Whether or not something may be left out."""
    events = [event(1), event(2), wrong]
    with pytest.raises(Broken, match=f"#{wrong.offset} a.b .* came when it had come to offset 2 already"):
        await assert_chain(Scripted(*events), up_to=3, skipped=True)
    with pytest.raises(Broken):
        check_chain(events)


async def test_a_chain_that_ends_too_early_is_told_with_how_far_it_came() -> None:
    with pytest.raises(Broken, match=r"came to offset 1 of 2 within 0\.05 s, from 0; what came:\n  #1 a\.b"):
        await assert_chain(Scripted(event(1)), up_to=2, within_s=SHORT_S)


async def test_a_gap_that_the_client_found_breaks_the_chain() -> None:
    gap = Gap(room=ROOM, reason="new_epoch", last=Position("a", 1), next=Position("b", 2))
    with pytest.raises(Broken, match="what came:\n  #1") as caught:
        await assert_chain(Scripted(event(1), GapError(gap)), up_to=3)
    assert str(gap) in str(caught.value)
