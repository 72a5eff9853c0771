"""Room: the way in, from a position or from now on; and the questions it answers."""

from __future__ import annotations

import pytest

from actors import commands, replies
from actors.batch import Batch
from actors.commands import Position
from actors.errors import ErrorCode
from actors.identity import Identity
from actors.messages import Attach, Attached, Joined, Refused

from .asking import ROOM, ask, joined, offsets, receipt
from .fake_clock import settled
from .house import Ear, House

pytestmark = pytest.mark.usefixtures("nothing_left")
ANN = Identity(user="ann")


# --- the way in


async def test_a_new_subscriber_stands_at_the_top_with_the_state_there(house: House) -> None:
    await receipt(house, "session", {"status": "started"})
    answer = await joined(house, Ear())
    assert (answer.where.offset, answer.where.recovery, answer.where.replay) == (1, "fresh", 0)
    assert answer.where.state["status"] == "started"  # type: ignore[index]
    assert answer.page is None


async def test_between_the_answer_and_the_first_live_event_nothing_is_lost(house: House) -> None:
    """Snapshot and stream meet: published before, with and after the subscription in one turn of the loop."""
    ear, publisher = Ear(), Ear()
    for turn in range(3):
        house.put(ROOM, publisher)
        if turn == 1:
            house.subscribe(ROOM, ear)
            house.put(ROOM, publisher)
    await settled()
    cursor = ear.only(Joined).where.offset
    assert [offset for offset in offsets(ear) if offset > cursor] == list(range(cursor + 1, 5))


async def test_whoever_was_there_before_gets_every_event_since(house: House) -> None:
    epoch = (await receipt(house)).epoch
    for _ in range(4):
        await receipt(house)
    answer = await joined(house, Ear(), after=Position(epoch, 2))
    assert (answer.where.recovery, answer.where.offset, answer.where.replay) == ("full", 5, 3)
    assert answer.page is not None
    assert [event.offset for event in answer.page.events] == [3, 4, 5]


async def test_under_an_unknown_epoch_nothing_is_replayed(house: House) -> None:
    await receipt(house)
    answer = await joined(house, Ear(), after=Position("another", 0))
    assert (answer.where.recovery, answer.where.offset, answer.where.replay) == ("none", 1, 0)
    assert answer.page is None


async def test_a_position_past_the_top_is_of_another_history(house: House) -> None:
    epoch = (await receipt(house)).epoch
    assert (await joined(house, Ear(), after=Position(epoch, 2))).where.recovery == "none"
    assert (await joined(house, Ear(), "c2", after=Position(epoch, 1))).where.recovery == "full"


async def test_the_last_events_can_be_asked_for(house: House) -> None:
    for _ in range(5):
        await receipt(house)
    answer = await joined(house, Ear(), history=2)
    assert (answer.where.recovery, answer.where.replay) == ("fresh", 2)
    assert answer.page is not None
    assert [event.offset for event in answer.page.events] == [4, 5]


async def test_replay_counts_only_the_kinds_that_are_wanted(house: House) -> None:
    for kind in ("alert", "app.thing", "alert"):
        await receipt(house, kind)
    assert (await joined(house, Ear(), history=9, kinds=frozenset({"alert"}))).where.replay == 2


async def test_the_state_is_left_out_on_request(house: House) -> None:
    await receipt(house)
    assert not isinstance((await joined(house, Ear(), state=False)).where.state, dict)


async def test_a_large_history_comes_in_pages_and_live_events_after_the_last(house: House) -> None:
    for _ in range(600):
        house.put(ROOM, Ear())
    await settled()
    ear = Ear()
    answer = await joined(house, ear, history=600)
    assert answer.page is not None
    assert (len(answer.page), answer.more) == (256, True)
    await receipt(house)
    assert ear.of(Batch) == [], "live before the last page"
    pages = [answer.page]
    while len(pages) < 3:
        house.directory.room(ROOM).tell(Attach("c1", pages[-1].top))
        await settled()
        page = ear.of(Attached)[-1].page
        assert page is not None
        pages.append(page)
    assert not ear.of(Attached)[-1].more
    assert [event.offset for page in pages for event in page.events] == list(range(1, 602))
    await receipt(house)
    assert offsets(ear) == [602]


async def test_attaching_at_the_top_gives_no_page_and_live_events(house: House) -> None:
    ear = Ear()
    await receipt(house)
    await joined(house, ear)
    house.directory.room(ROOM).tell(Attach("c1", 1))
    await settled()
    assert ear.only(Attached) == Attached(ROOM, None, False, 1)


async def test_who_is_not_in_the_room_cannot_attach(house: House) -> None:
    ear = Ear()
    house.directory.room(ROOM).tell(Attach("stranger", 0))
    await receipt(house)
    assert ear.heard == []


async def test_the_owner_of_a_session_may_come_in_and_nobody_else(house: House) -> None:
    await receipt(house, "session", {"status": "started", "owner": "ann"})
    assert (await joined(house, Ear(), identity=ANN)).subscription.by_owner
    ear = Ear()
    house.subscribe(ROOM, ear, "c2", Identity(user="bob"))
    await settled()
    assert ear.only(Refused).refusal.code is ErrorCode.FORBIDDEN


async def test_who_is_refused_is_not_in_the_room(house: House) -> None:
    ear = Ear()
    house.subscribe(ROOM, ear, identity=ANN)
    await receipt(house)
    assert ear.of(Batch) == []
    assert len(house.ledger) == 0


# --- questions


async def test_state_is_answered_with_its_position(house: House) -> None:
    epoch = (await receipt(house, "session", {"status": "started", "owner": "ann"})).epoch
    answer = await ask(house, commands.State(id=7, room=ROOM), ANN)
    assert isinstance(answer, replies.State)
    assert (answer.id, answer.epoch, answer.offset, answer.state["owner"]) == (7, epoch, 1, "ann")


@pytest.mark.parametrize(
    ("asked", "expected", "more"),
    [
        ({"limit": 3}, [8, 9, 10], True),
        ({}, list(range(1, 11)), False),
        ({"after": 4, "limit": 2}, [5, 6], True),
        ({"after": 8}, [9, 10], False),
        ({"after": 10}, [], False),
        ({"before": 4, "limit": 2}, [2, 3], True),
        ({"before": 4, "limit": 3}, [1, 2, 3], False),
        ({"before": 1}, [], False),
    ],
)
async def test_history_is_answered_in_order_and_says_whether_there_is_more(
    house: House, asked: dict[str, int], expected: list[int], more: bool
) -> None:
    for _ in range(10):
        house.put(ROOM, Ear())
    await settled()
    answer = await ask(house, commands.History(room=ROOM, **asked), Identity(user="ops", role="admin"))
    assert isinstance(answer, replies.History)
    assert [event.offset for event in answer.events] == expected
    assert answer.more is more


async def test_presence_counts_the_connections_of_each_user(house: House) -> None:
    for number, user in enumerate(("ann", "bob", "ann")):
        await joined(house, Ear(), f"c{number}", identity=Identity(user=user, rooms=("*",)))
    answer = await ask(house, commands.Presence(room=ROOM), Identity(user="ops", role="admin"))
    assert isinstance(answer, replies.Presence)
    assert answer.roll.users == {"ann": 2, "bob": 1}


@pytest.mark.parametrize("command", [commands.State, commands.History, commands.Presence])
async def test_questions_take_the_right_to_read(house: House, command: type[commands.State]) -> None:
    answer = await ask(house, command(room=ROOM), ANN)
    assert isinstance(answer, Refused)
    assert answer.refusal.code is ErrorCode.FORBIDDEN
