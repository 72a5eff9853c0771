"""A room's state is bounded, because everyone who joins gets all of it in one answer; a full one can be emptied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from actors import commands, replies
from actors.errors import ErrorCode, Refusal
from actors.identity import Identity
from actors.messages import Acknowledge, Published, Query, Refused
from actors.room import Room
from actors.rooms import RoomLimits
from actors.state import RoomState

from .fake_clock import settled
from .house import Ear, House, fail_once
from .making import an_event

pytestmark = pytest.mark.usefixtures("nothing_left")
ROOM = "session:1"
ADMIN = Identity(user="ops", role="admin")
IDLE_S = 60.0
FILLING = "x" * 10_000
MANY = 40
"""Values of 10 KB: more than any state holds."""
MOST_BYTES = 192 * 1024
"""What an answer with a full state stays below."""


@pytest.fixture
async def house(nothing_left: None) -> AsyncIterator[House]:
    house = House(RoomLimits(idle_s=IDLE_S, history_events=10, escalate_after_s=0))
    yield house
    await house.end()


async def alert(house: House, number: int = 0) -> Published | Refused:
    data = {"severity": "low", "title": "disk full", "filling": FILLING}
    return await house.append(ROOM, "alert", data, ack="required", event_id=f"a{number}")


async def progress(house: House, key: str | None = None, filling: str = FILLING) -> Published | Refused:
    return await house.append(ROOM, "progress", {"current": 1, "filling": filling}, key=key)


async def fill(house: House, kind: str) -> int:
    """Publish values of this kind until one is refused; return how many were taken."""
    for number in range(MANY):
        answer = await (alert(house, number) if kind == "alert" else progress(house, f"k{number}"))
        if isinstance(answer, Refused):
            return number
    raise AssertionError("the state takes whatever comes")


async def state(house: House) -> dict[str, Any]:
    ear = Ear()
    house.directory.room(ROOM).tell(Query(commands.State(room=ROOM), ADMIN, ear))
    await settled()
    view: dict[str, Any] = ear.only(replies.State).state
    assert len(msgspec.json.encode(view)) < MOST_BYTES
    return view


async def acknowledge(house: House, event_id: str) -> Published | Refused:
    ear = Ear()
    house.directory.room(ROOM).tell(Acknowledge(event_id, ADMIN, ear, None))
    await settled()
    (answer,) = ear.heard
    assert isinstance(answer, Published | Refused)
    return answer


def refusal(answer: Published | Refused) -> Refusal:
    assert isinstance(answer, Refused), answer
    assert answer.refusal.code is ErrorCode.TOO_LARGE
    return answer.refusal


@pytest.mark.parametrize("kind", ["alert", "progress"])
async def test_a_full_state_takes_no_more_alerts_and_keys_and_says_what_to_do(house: House, kind: str) -> None:
    taken = await fill(house, kind)
    message = refusal(await alert(house, MANY)).message
    assert refusal(await progress(house, "new")).message == message
    alerts, keys = (taken, 0) if kind == "alert" else (0, taken)
    assert message == (
        f"the state of {ROOM} is full: it holds {alerts} unacknowledged alerts and progress of {keys} keys; "
        "acknowledge alerts, use fewer keys and smaller values, or start the session again"
    )
    view = await state(house)
    assert (len(view["alerts"]), len(view.get("progress", {}))) == (alerts, keys)


async def test_what_is_not_kept_in_the_state_is_taken_by_a_full_one(house: House) -> None:
    await fill(house, "alert")
    for answer in (
        await house.append(ROOM),
        await house.append(ROOM, "notification"),
        await house.append(ROOM, "alert", {"severity": "low", "title": "nobody need acknowledge it"}),
    ):
        assert isinstance(answer, Published)


async def test_a_key_that_is_there_gets_its_next_value_though_the_state_is_full(house: House) -> None:
    """A job that runs is not cut short by others; it takes the place of its value before."""
    await progress(house, "copy", "")
    await progress(house, None, "")
    await fill(house, "alert")
    for key in ("copy", None):
        assert isinstance(await progress(house, key, "next"), Published)
    assert {value["filling"] for value in (await state(house))["progress"].values()} == {"next"}


async def test_many_small_values_do_not_become_large_ones_in_a_full_state(house: House) -> None:
    """Else a state that is full of keys could grow to a message's size for each of them."""
    for number in range(MANY):
        await progress(house, f"small{number}", "")
    await fill(house, "alert")
    for number in range(MANY):
        refusal(await progress(house, f"small{number}"))
    assert {value["filling"] for value in (await state(house))["progress"].values()} == {""}


async def test_a_large_value_is_followed_by_one_as_large_though_the_state_is_full(house: House) -> None:
    await fill(house, "progress")
    assert isinstance(await progress(house, "k0"), Published)


async def test_acknowledging_makes_room_again(house: House) -> None:
    taken = await fill(house, "alert")
    for number in range(2):
        assert isinstance(await acknowledge(house, f"a{number}"), Published)
    assert isinstance(await alert(house, MANY), Published)
    assert len((await state(house))["alerts"]) == taken - 1


async def test_a_new_run_makes_room_again(house: House) -> None:
    """It begins without the progress of the run before, and keeps the alerts."""
    await alert(house)
    await fill(house, "progress")
    assert isinstance(await house.append(ROOM, "session", {"status": "started"}), Published)
    assert isinstance(await progress(house, "new"), Published)
    view = await state(house)
    assert (list(view["progress"]), len(view["alerts"])) == (["new"], 1)


async def test_an_alert_that_was_taken_once_is_not_refused_when_it_is_sent_again(house: House) -> None:
    """A retry gets the first receipt, whatever came in between."""
    taken = await fill(house, "alert")
    answer = await alert(house, taken - 1)
    assert isinstance(answer, Published)
    assert answer.receipt.duplicate


async def test_an_alert_that_was_refused_can_be_sent_again_when_there_is_room(house: House) -> None:
    taken = await fill(house, "alert")
    for number in range(2):
        await acknowledge(house, f"a{number}")
    answer = await alert(house, taken)
    assert isinstance(answer, Published)
    assert not answer.receipt.duplicate


@pytest.mark.parametrize("kind", ["alert", "progress"])
async def test_a_burst_does_not_overfill_the_state(house: House, kind: str) -> None:
    """What was accepted and is not committed yet counts too: many may come in one turn."""
    ear = Ear()
    for number in range(MANY * 2):
        if kind == "alert":
            data = {"severity": "low", "title": "disk full", "filling": FILLING}
            house.put(ROOM, ear, "alert", data, ack="required", event_id=f"a{number}")
        else:
            house.put(ROOM, ear, "progress", {"current": 1, "filling": FILLING}, key=f"k{number}")
    await settled()
    assert len(ear.of(Published)) + len(ear.of(Refused)) == MANY * 2
    assert 0 < len(ear.of(Published)) < MANY
    await state(house)


async def test_a_new_run_has_room_for_what_comes_with_its_start(house: House) -> None:
    """In one turn, before the start is committed."""
    await fill(house, "progress")
    ear = Ear()
    house.put(ROOM, ear, "session", {"status": "started"})
    for key in ("new", "k0"):
        house.put(ROOM, ear, "progress", {"current": 1}, key=key)
    await settled()
    assert len(ear.of(Published)) == 3


@pytest.mark.parametrize("kind", ["alert", "progress"])
async def test_a_full_state_is_full_after_a_failure(house: House, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    await fill(house, kind)
    before = await state(house)
    fail_once(monkeypatch, Room, Query)
    house.directory.room(ROOM).tell(Query(commands.State(room=ROOM), ADMIN, Ear()))
    await settled()
    refusal(await alert(house, MANY))
    assert await state(house) == before


@pytest.mark.parametrize("kind", ["alert", "progress"])
async def test_a_full_state_is_full_when_the_room_comes_back(house: House, kind: str) -> None:
    """From the snapshot alone: the events have left the history."""
    await fill(house, kind)
    for _ in range(10):
        await house.append(ROOM)
    await house.clock.advance(3 * IDLE_S)
    assert len(house.directory) == 0
    refusal(await alert(house, MANY))
    refusal(await progress(house, "new"))


def test_the_kinds_past_the_hundredth_are_counted_together() -> None:
    """A publisher that makes up kinds does not make the state grow."""
    state = RoomState()
    for offset in range(1, 301):
        state.fold(an_event(offset, f"app.kind{offset}"))
    counts = state.view()["counts"]
    assert len(counts) == 101
    assert counts["other"] == 200
    state.fold(an_event(301, "app.kind1"))
    assert state.view()["counts"]["app.kind1"] == 2, "a kind that has its own count keeps it"


def test_a_state_that_was_written_and_read_is_as_full_as_before() -> None:
    state = RoomState()
    offset = 0
    while not state.full:
        offset += 1
        state.fold(an_event(offset, "progress", {"current": 1, "filling": FILLING}, key=f"k{offset}"))
    read = msgspec.json.decode(msgspec.json.encode(state), type=RoomState)
    assert read == state
    assert read.full
