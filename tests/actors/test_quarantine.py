"""Quarantine: what makes its actor fail twice is put away, and the actor goes on without it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

import actors.source as source_module
from actors.acceptance import Acceptance
from actors.errors import ErrorCode, Refusal
from actors.events import decode_data
from actors.mailbox import Exit, Mailbox
from actors.messages import Append, Close, Joined, Publish, Published, Receipt, Refused
from actors.poison import of_append
from actors.quarantine import Outcome, Quarantine
from actors.room import Room
from actors.source import NotificationSource

from .fake_clock import FakeClock, settled
from .family import Family
from .follower import Follower
from .house import Ear, House, fail_once
from .making import a_draft

pytestmark = pytest.mark.usefixtures("nothing_left")
ROOM = "session:1"
OTHER = "session:2"
POISON = {"n": "poison"}


class Bug:
    """A place in the code that fails on every event with the poison in its data, until it is mended.

    Args:
        monkeypatch: Of the test.
        owner: Where the place is.
        name: What it is called.
        data: Returns the event's data from the arguments.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, data: Callable[..., object]) -> None:
        self.mended = False
        self.struck = 0
        whole = getattr(owner, name)

        def broken(*args: Any, **options: Any) -> Any:
            if not self.mended and "poison" in str(data(*args)):
                self.struck += 1
                raise RuntimeError("cannot take poison")
            return whole(*args, **options)

        monkeypatch.setattr(owner, name, broken)


def bug_in_the_room(monkeypatch: pytest.MonkeyPatch) -> Bug:
    return Bug(monkeypatch, Acceptance, "accept", lambda _self, draft: decode_data(draft.data))


def bug_in_the_source(monkeypatch: pytest.MonkeyPatch) -> Bug:
    return Bug(monkeypatch, source_module, "draft", lambda _kind, data: data)


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> Bug:
    """A bug in the room."""
    return bug_in_the_room(monkeypatch)


async def refused(house: House, room: str = ROOM, **options: Any) -> Refusal:
    """Hand poison to a room; return why it was refused."""
    answer = await house.append(room, data=POISON, **options)
    assert isinstance(answer, Refused)
    return answer.refusal


async def retry(house: House, id: str) -> Outcome:
    """Hand in again what is in quarantine; return what became of it."""
    done: list[Outcome] = []
    house.quarantine.retry(id, "ops", done.append)
    await settled()
    (outcome,) = done
    return outcome


def only_id(house: House) -> str:
    (entry,) = house.quarantine.entries()
    return entry.id


# --- tried once more


@pytest.mark.parametrize("delivery", ["keep", "latest", "ephemeral"])
async def test_an_event_on_which_the_room_fails_once_is_taken_by_its_successor(
    house: House, monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    """In its place: before what came after it. Its publisher notices nothing, and nothing is put away."""
    follower, ears = Follower(), [Ear() for _ in range(3)]
    house.subscribe(ROOM, follower)
    await settled()
    fail_once(monkeypatch, Room, Append)
    for number, ear in enumerate(ears):
        house.put(ROOM, ear, data={"n": number}, delivery=delivery)
    await settled()
    assert [ear.only(Published).receipt.offset for ear in ears] == [1, 2, 3]
    assert follower.chain.offsets == [1, 2, 3]
    assert len(house.quarantine) == 0


@pytest.mark.parametrize("delivery", ["keep", "ephemeral"])
async def test_an_event_that_the_log_has_is_not_handed_in_again(
    house: House, monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    follower = Follower()
    house.subscribe(ROOM, follower)
    fail_once(monkeypatch, Room, Append, after=True)
    await settled()
    house.put(ROOM, Ear(), delivery=delivery)
    house.put(ROOM, Ear())
    await settled()
    record: list[Any] = []
    house.log.open(ROOM, record.append)
    assert record[0].top == 2


async def test_an_event_that_was_refused_is_not_judged_again_though_the_room_fails_after_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.append(ROOM, "session", {"status": "completed"})
    fail_once(monkeypatch, Room, Append, after=True)
    ear = Ear()
    house.put(ROOM, ear, "progress", {"current": 1}, event_id="e1")
    await settled()
    assert [refused.refusal.code for refused in ear.of(Refused)] == [ErrorCode.SESSION_ENDED, ErrorCode.INTERNAL]
    assert len(house.quarantine) == 0


# --- poison


async def test_a_room_goes_on_without_what_made_it_fail_twice(house: House, bug: Bug) -> None:
    """Same epoch, same mailbox, order without a gap; the publisher is told for good."""
    follower, before, poison, after = Follower(), Ear(), Ear(), Ear()
    house.subscribe(ROOM, follower)
    room = house.directory.room(ROOM)
    house.put(ROOM, before)
    house.put(ROOM, poison, data=POISON)
    house.put(ROOM, after)
    await settled()
    assert bug.struck == 2
    refusal = poison.only(Refused).refusal
    assert (refusal.code, refusal.code.temporary) == (ErrorCode.INVALID_EVENT, False)
    id = only_id(house)
    assert refusal.message == (
        f"this event made room:{ROOM} fail 2 times and is in quarantine as {id}; an operator can retry or drop it"
    )
    receipts = [ear.only(Published).receipt for ear in (before, after)]
    assert [receipt.offset for receipt in receipts] == follower.chain.offsets == [1, 2]
    assert {receipt.epoch for receipt in receipts} == {follower.only(Joined).where.epoch}
    assert house.directory.room(ROOM) is room
    assert follower.of(Close) == []


async def test_what_is_kept_says_what_failed_and_on_what(house: House, bug: Bug, logged: list[dict[str, Any]]) -> None:
    await refused(house, event_id="e1", key="k")
    (entry,) = house.quarantine.entries()
    event = entry.poison.event
    assert event is not None
    assert (event.kind, decode_data(event.data), event.event_id, event.key) == ("app.thing", POISON, "e1", "k")
    assert (entry.actor, entry.poison.message_type, entry.poison.rooms) == (f"room:{ROOM}", "Append", (ROOM,))
    assert (entry.exception_type, entry.error) == ("RuntimeError", "cannot take poison")
    assert (entry.deaths, entry.retries) == (2, 0)
    failed = [line for line in logged if line["event"] == "actor_failed"]
    assert [line["traceback_hash"] for line in failed] == [entry.traceback_hash] * 2
    (line,) = [line for line in logged if line["event"] == "message_quarantined"]
    assert (line["quarantine"], line["room"], line["event_id"]) == (entry.id, ROOM, "e1")
    assert "poison" not in {str(value) for name, value in line.items() if name != "error"}
    ((kind, fields),) = house.reports
    assert (kind, fields["quarantine"], fields["event"]["data"]) == ("quarantined", entry.id, POISON)


async def test_poison_in_a_burst_ends_neither_the_room_nor_its_supervisor(
    house: House, bug: Bug, logged: list[dict[str, Any]]
) -> None:
    """A client cannot use up what a room may fail."""
    follower = Follower()
    house.subscribe(ROOM, follower)
    await settled()
    ears = [Ear() for _ in range(4)]
    for ear in ears:
        house.put(ROOM, ear, data=POISON)
    await settled()
    assert all(ear.of(Refused) for ear in ears)
    assert len(house.quarantine) == 4
    assert not [line for line in logged if line["event"] == "actor_given_up"]
    assert isinstance(await house.append(ROOM), Published)


async def test_a_flood_of_poison_leaves_time_to_others_and_loses_nothing(house: House, bug: Bug) -> None:
    """Past ten restarts in a while each one waits a little; what is in between gets through, in order."""
    follower, good, bad = Follower(), Ear(), Ear()
    house.subscribe(ROOM, follower)
    for number in range(40):
        house.put(ROOM, bad, data=POISON, event_id=f"bad-{number}")
        house.put(ROOM, good)
    await settled()
    assert house.directory.room(ROOM).occupied is False
    assert isinstance(await house.append(OTHER), Published)
    await house.clock.advance(60.0)
    assert len(bad.of(Refused)) == len(house.quarantine) == 40
    assert [answer.receipt.offset for answer in good.of(Published)] == follower.chain.offsets == list(range(1, 41))
    assert isinstance(await house.append(ROOM), Published)


async def test_the_same_event_again_is_refused_without_another_failure(house: House, bug: Bug) -> None:
    """In this room only, and whether it comes straight or by the source."""
    first = await refused(house, event_id="e1")
    again = await refused(house, event_id="e1")
    by_source = (await house.publish(ROOM, data=POISON, event_id="e1")).only(Refused).refusal
    assert first.message == again.message == by_source.message
    assert bug.struck == 2
    bug.mended = True
    assert isinstance(await house.append(OTHER, data=POISON, event_id="e1"), Published)


async def test_copies_that_waited_behind_poison_are_refused_with_it(house: House, bug: Bug) -> None:
    ears = [Ear() for _ in range(5)]
    for ear in ears:
        house.put(ROOM, ear, data=POISON, event_id="e1")
    await settled()
    assert {ear.only(Refused).refusal.code for ear in ears} == {ErrorCode.INVALID_EVENT}
    assert bug.struck == 2
    assert len(house.quarantine) == 1


# --- retried and dropped


async def test_a_retry_after_the_bug_is_mended_publishes_the_event(house: House, bug: Bug) -> None:
    """With the data, id and key that it had, at the time of the retry."""
    follower = Follower()
    house.subscribe(ROOM, follower)
    await refused(house, event_id="e1", key="k")
    id, bug.mended = only_id(house), True
    await house.clock.advance(100.0)
    (receipt,) = await retry(house, id)
    assert isinstance(receipt, Receipt)
    assert (receipt.room, receipt.offset, receipt.event_id, receipt.duplicate) == (ROOM, 1, "e1", False)
    assert follower.chain.offsets == [1]
    assert len(house.quarantine) == 0
    assert [kind for kind, _ in house.reports] == ["quarantined", "released"]
    assert house.reports[-1][1] == {
        "quarantine": id,
        "actor": f"room:{ROOM}",
        "how": "retried",
        "by": "ops",
        "outcome": f"{ROOM} #1",
    }
    again = await house.append(ROOM, event_id="e1")
    assert isinstance(again, Published)
    assert again.receipt.duplicate


async def test_poison_that_is_still_poison_stays_under_its_id(house: House, bug: Bug) -> None:
    await refused(house, event_id="e1")
    id = only_id(house)
    for number in range(1, 3):
        (refusal,) = await retry(house, id)
        assert isinstance(refusal, Refusal)
        assert refusal.code is ErrorCode.INVALID_EVENT
        (entry,) = house.quarantine.entries()
        assert (entry.id, entry.retries, entry.deaths) == (id, number, 2 + 2 * number)
    assert bug.struck == 6
    assert isinstance(await house.append(ROOM), Published)


async def test_a_retry_that_is_refused_leaves_it_where_it_is(house: House, bug: Bug) -> None:
    answer = await house.append(ROOM, "progress", {"current": 1, **POISON})
    assert isinstance(answer, Refused)
    id, bug.mended = only_id(house), True
    await house.append(ROOM, "session", {"status": "completed"})
    (refusal,) = await retry(house, id)
    assert isinstance(refusal, Refusal)
    assert refusal.code is ErrorCode.SESSION_ENDED
    assert only_id(house) == id


async def test_what_is_being_tried_is_not_tried_twice(house: House, bug: Bug) -> None:
    await refused(house)
    id, bug.mended = only_id(house), True
    done: list[Outcome] = []
    house.quarantine.retry(id, "ops", done.append)
    with pytest.raises(Refusal, match="being tried already"):
        house.quarantine.retry(id, "ops", done.append)
    await settled()
    assert len(done) == 1


async def test_an_event_that_was_dropped_is_tried_again_when_it_is_sent_again(house: House, bug: Bug) -> None:
    await refused(house, event_id="e1")
    house.quarantine.drop(only_id(house), "ops")
    assert len(house.quarantine) == 0
    assert house.reports[-1][1]["how"] == "dropped"
    await refused(house, event_id="e1")
    assert bug.struck == 4
    house.quarantine.drop(only_id(house), "ops")
    bug.mended = True
    assert isinstance(await house.append(ROOM, event_id="e1"), Published)


async def test_what_is_not_there_is_not_found(house: House) -> None:
    with pytest.raises(Refusal) as retried:
        house.quarantine.retry("q-1", "ops", print)
    with pytest.raises(Refusal) as dropped:
        house.quarantine.drop("q-1", "ops")
    assert retried.value.code is dropped.value.code is ErrorCode.NOT_FOUND


# --- the source


@pytest.fixture
async def source(house: House) -> AsyncIterator[Mailbox]:
    """A source with a supervisor."""
    family = Family()
    yield await family.worker(
        "source", lambda box: NotificationSource.start(house.directory, house.clock, house.quarantine, mailbox=box)
    )
    await family.end()


async def test_the_source_goes_on_without_what_made_it_fail_twice(
    house: House, source: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug, ear = bug_in_the_source(monkeypatch), Ear()
    for tag, data in (("first", {}), ("bad", POISON), ("last", {})):
        source.tell(Publish(rooms=(ROOM,), kind="app.thing", data=data, event_id=f"e-{tag}", reply_to=ear, tag=tag))
    await settled()
    assert [answer.tag for answer in ear.of(Published)] == ["first", "last"]
    assert ear.only(Refused).tag == "bad"
    assert ear.only(Refused).refusal.code is ErrorCode.INVALID_EVENT
    bug.mended = True
    (receipt,) = await retry(house, only_id(house))
    assert isinstance(receipt, Receipt)
    assert (receipt.offset, receipt.event_id) == (3, "e-bad")
    assert len(house.quarantine) == 0


async def test_an_event_for_several_rooms_is_handed_in_again_for_each_of_them(
    house: House, source: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each room takes it once, though one of them did at the try before."""
    bug = bug_in_the_source(monkeypatch)
    in_room = bug_in_the_room(monkeypatch)
    source.tell(Publish(rooms=(ROOM, OTHER), kind="app.thing", data=POISON))
    await settled()
    id = only_id(house)
    bug.mended = True
    outcome = await retry(house, id)
    assert [isinstance(each, Refusal) for each in outcome] == [True, True]
    in_room.mended = True
    first, second = await retry(house, id)
    assert isinstance(first, Receipt)
    assert isinstance(second, Receipt)
    assert (first.room, second.room) == (ROOM, OTHER)
    assert first.event_id == second.event_id
    assert len(house.quarantine) == 0


async def test_poison_in_a_burst_does_not_end_the_source(
    house: House, source: Mailbox, monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]]
) -> None:
    bug_in_the_source(monkeypatch)
    for _ in range(5):
        source.tell(Publish(rooms=(ROOM,), kind="app.thing", data=POISON))
    await settled()
    assert source.occupied
    assert len(house.quarantine) == 5
    assert not [line for line in logged if line["event"] == "actor_given_up"]


async def test_data_that_json_cannot_hold_is_kept_as_long_as_the_process_lives(
    house: House, source: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(monkeypatch, NotificationSource, Publish, times=2)
    source.tell(Publish(rooms=(ROOM,), kind="app.thing", data={"n": object()}))
    await settled()
    (entry,) = house.quarantine.entries()
    assert entry.poison.event is None
    (refusal,) = await retry(house, entry.id)
    assert isinstance(refusal, Refusal)
    assert "cannot be written as JSON" in refusal.message


# --- bounds


def put_away(quarantine: Quarantine, number: int, size: int = 0) -> None:
    draft = a_draft(data={"x": "y" * size}, event_id=f"e{number}")
    poison = of_append(Append(draft, True, Ear(), None), ROOM, None, FakeClock())  # type: ignore[arg-type]  # not sent
    quarantine.add(f"room:{ROOM}", Exit("Room", RuntimeError("bad"), None, 0, then="quarantine", deaths=2), poison)


async def test_the_oldest_goes_when_there_are_too_many() -> None:
    quarantine = Quarantine(FakeClock(), most=3)
    for number in range(5):
        put_away(quarantine, number)
    kept = [entry.poison.event.event_id for entry in quarantine.entries() if entry.poison.event]
    assert (kept, quarantine.dropped, quarantine.added) == (["e4", "e3", "e2"], 2, 5)
    assert quarantine.refuse(ROOM, "e0", None) is None
    assert quarantine.refuse(ROOM, "e4", None) is not None


async def test_the_oldest_goes_when_they_hold_too_much() -> None:
    quarantine = Quarantine(FakeClock(), most_bytes=1000)
    for number in range(5):
        put_away(quarantine, number, 400)
    assert (len(quarantine), quarantine.dropped) == (2, 3)
    put_away(quarantine, 5, 5000)
    assert len(quarantine) == 1


# --- restored


async def test_it_comes_back_from_what_it_reported(house: House, bug: Bug) -> None:
    """What was put away and not released is there again, refuses its event again, and can be handed in."""
    for number in range(4):
        await refused(house, event_id=f"e{number}")
    newest, *_, oldest = house.quarantine.entries()
    house.quarantine.drop(oldest.id, "ops")
    await retry(house, newest.id)
    facts = [(kind, msgspec.json.decode(msgspec.json.encode(fields))) for kind, fields in house.reports]
    restored = Quarantine(house.clock)
    restored.restore([("failed", {}), *facts], house.directory, house.source)
    assert [_face(entry) for entry in restored.entries()] == [_face(entry) for entry in house.quarantine.entries()]
    assert restored.refuse(ROOM, "e1", None) is not None
    assert restored.refuse(ROOM, "e0", None) is None
    bug.mended = True
    house.quarantine.drop(newest.id, "ops")
    done: list[Outcome] = []
    restored.retry(newest.id, "ops", done.append)
    await settled()
    ((receipt,),) = done
    assert isinstance(receipt, Receipt)
    assert (receipt.room, receipt.event_id) == (ROOM, "e3")


def _face(entry: Any) -> tuple[Any, ...]:
    return (
        entry.id,
        entry.at_ms,
        entry.actor,
        entry.poison.rooms,
        msgspec.json.encode(entry.poison.event),
        entry.exception_type,
        entry.error,
        entry.traceback_hash,
        entry.deaths,
        entry.retries,
    )


async def test_an_event_of_the_source_comes_back_too(
    house: House, source: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug = bug_in_the_source(monkeypatch)
    source.tell(Publish(rooms=(ROOM,), kind="alert", data={"severity": "low", "title": "poison"}, ack="required"))
    await settled()
    restored, done = Quarantine(house.clock), list[Outcome]()
    restored.restore(house.reports, house.directory, source)
    bug.mended = True
    restored.retry(restored.entries()[0].id, "ops", done.append)
    await settled()
    ((receipt,),) = done
    assert isinstance(receipt, Receipt)
    assert receipt.offset == 1


async def test_what_was_too_large_to_be_reported_can_only_be_dropped_after_a_restart(house: House, bug: Bug) -> None:
    await house.append(ROOM, data={**POISON, "x": "y" * 70_000})
    restored = Quarantine(house.clock)
    restored.restore(house.reports, house.directory, house.source)
    (entry,) = restored.entries()
    with pytest.raises(Refusal, match="can be dropped"):
        restored.retry(entry.id, "ops", print)
    restored.drop(entry.id, "ops")
    assert len(restored) == 0


async def test_what_cannot_be_read_of_an_earlier_life_is_left_out(
    house: House, bug: Bug, logged: list[dict[str, Any]]
) -> None:
    await refused(house)
    ((kind, fields),) = house.reports
    needed = ("at_ms", "actor", "rooms")
    broken = [{name: value for name, value in fields.items() if name != left_out} for left_out in needed]
    restored = Quarantine(house.clock)
    restored.restore([(kind, each) for each in (*broken, fields)], house.directory, house.source)
    assert len(restored) == 1
    assert len([line for line in logged if line["event"] == "quarantine_entry_unreadable"]) == 3
