"""A journal stays within its bound: what nobody has open goes first, and what waits for somebody does not go."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.events import Event
from actors.state import RoomState
from server.journals import retention

from .keeping import ROOM, Keeper, keeper

Logged = list[dict[str, Any]]
BOUND = 512 * 1024
TEXT = {"text": "x" * 1000}


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the size with every transaction, and drop little at a time."""
    monkeypatch.setattr(retention, "_CHECK_EVERY", 1)
    monkeypatch.setattr(retention, "_STEP_EVENTS", 20)


async def fill(kept: Keeper, room: str, events: int = 40, **options: Any) -> None:
    """Use a room and retire it, as rooms do: with a snapshot at its top."""
    state = RoomState()
    await kept.record(room)
    await kept.append(*(f"{room}-{number}" for number in range(events)), room=room, data=TEXT)
    if options:
        await kept.append(f"{room}-alert", room=room, **options)
    for event in (await kept.record(room)).events:
        state.fold(event)
    kept.log.snapshot(room, (await kept.record(room)).top, msgspec.json.encode(state), watched=False)
    kept.log.release(room)
    await kept.clock.advance(1)


def used(path: Path) -> int:
    return path.stat().st_size


async def test_old_events_of_rooms_that_nobody_has_open_go_first(path: Path, logged: Logged) -> None:
    """The least recently used rooms lose theirs; their state, offsets and epochs stay."""
    async with keeper(path, most_bytes=BOUND) as kept:
        await fill(kept, "team:0")
        before = await kept.record("team:0")
        kept.log.release("team:0")
        for number in range(1, 12):
            await fill(kept, f"team:{number}")
        first, last = await kept.record("team:0"), await kept.record("team:11")
        assert (first.events, first.gone, first.lost) == ((), 40, 40)
        assert (first.epoch, first.top, first.state) == (before.epoch, 40, before.state)
        assert [past.event_id for past in first.past_ids] == [f"team:0-{number}" for number in range(40)]
        assert len(last.events) == 40
    assert used(path) < BOUND * 1.5
    lines = [line for line in logged if line["event"] == "journal_trimmed"]
    assert lines
    assert lines[0]["rooms_trimmed"] > 0
    assert lines[0]["rooms_forgotten"] == 0
    assert lines[0]["used_bytes"] <= BOUND * 0.9


async def test_unacknowledged_alerts_stay(path: Path) -> None:
    async with keeper(path, most_bytes=BOUND) as kept:
        await fill(kept, "team:0", kind="alert", ack="required")
        for number in range(1, 30):
            await fill(kept, f"team:{number}")
        assert [event.draft.id for event in (await kept.record("team:0")).events] == ["team:0-alert"]


async def test_rooms_are_forgotten_when_trimming_is_not_enough(path: Path, logged: Logged) -> None:
    """A room that comes back after that begins under another epoch; one with an alert to acknowledge stays."""
    async with keeper(path, most_bytes=BOUND) as kept:
        await fill(kept, "team:alert", 1, kind="alert", ack="required")
        await kept.record("team:watched")
        await kept.append("a", room="team:watched")
        kept.log.snapshot("team:watched", 1, msgspec.json.encode(RoomState()), watched=True)
        kept.log.release("team:watched")
        await fill(kept, "team:old", 1)
        epoch = (await kept.record("team:old")).epoch
        kept.log.release("team:old")
        for number in range(150):
            await kept.record(f"team:{number}")
            await kept.append("a", room=f"team:{number}")
            state = msgspec.json.encode(RoomState(owner="x" * 8000))
            kept.log.snapshot(f"team:{number}", 1, state, watched=False)
            kept.log.release(f"team:{number}")
            await kept.clock.advance(1)
        assert not kept.log.known("team:old")
        assert kept.log.known("team:alert")
        assert kept.log.known("team:watched")
        assert kept.log.known("team:149")
        again = await kept.record("team:old")
        assert again.epoch != epoch
        assert (again.top, again.events) == (0, ())
    assert any(line["rooms_forgotten"] for line in logged if line["event"] == "journal_trimmed")
    async with keeper(path, most_bytes=BOUND) as kept:
        assert not kept.log.known("team:old")
        assert (await kept.record("team:old")).epoch == again.epoch


async def test_what_is_in_use_stays_even_past_the_bound(path: Path, logged: Logged) -> None:
    async with keeper(path, most_bytes=BOUND) as kept:
        await kept.record()
        await kept.append(*(str(number) for number in range(1000)), data=TEXT)
        assert all(isinstance(event, Event) for event in await kept.append("more", data=TEXT))
        assert len((await kept.record()).events) == 1001
    assert {line["enough"] for line in logged if line["event"] == "journal_trimmed"} == {False}


async def test_a_journal_that_is_all_in_use_is_left_alone_for_a_while_and_says_so_once(
    path: Path, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again after a minute; a line comes when something could be dropped."""
    looks: list[object] = []
    excess = retention.Retention.excess

    def counting(self: retention.Retention, *args: Any) -> retention.Excess | None:
        looks.append(args)
        return excess(self, *args)

    monkeypatch.setattr(retention.Retention, "excess", counting)
    async with keeper(path, most_bytes=BOUND) as kept:
        await kept.record()
        await kept.append(*(str(number) for number in range(1000)), data=TEXT)
        for number in range(50):
            await kept.append(f"more-{number}")
        assert len(looks) == 1
        (line,) = trimmed(logged)
        assert not line["enough"]
        assert line["used_bytes"] > BOUND
        await kept.clock.advance(59)
        await kept.append("early")
        assert len(looks) == 1
        await kept.clock.advance(1)
        await kept.append("again")
        assert len(looks) == 2
        assert trimmed(logged) == [line]
        await fill(kept, "team:2")
        await kept.clock.advance(60)
        for number in range(10):
            await kept.append(f"last-{number}")
        assert [(each["enough"], each["rooms_trimmed"], each["rooms_forgotten"]) for each in trimmed(logged)] == [
            (False, 0, 0),
            (False, 1, 1),
        ]


async def test_a_clock_that_is_put_back_does_not_keep_a_journal_from_being_trimmed(path: Path) -> None:
    keeps = retention.Retention(1)
    with closing(sqlite3.connect(path.parent.parent / "any.db")) as db:
        db.execute("CREATE TABLE any (thing)")
        keeps.look(db, 10**12)
        given_up = keeps.give_up(10**12)
        assert given_up is not None
        assert (given_up.enough, given_up.used_bytes > 0) == (False, True)
        keeps.look(db, 10**12 + 1)
        assert not keeps.active
        keeps.look(db, 10**12 - 1)
        assert keeps.active


def trimmed(logged: Logged) -> Logged:
    return [line for line in logged if line["event"] == "journal_trimmed"]


def damage(path: Path, *rooms: str) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        for room in rooms:
            other.execute("UPDATE rooms SET top = 'many', used_ms = 0 WHERE name = ?", (room,))


def names_in(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as other:
        return {name for (name,) in other.execute("SELECT name FROM rooms")}


async def test_damaged_rooms_that_were_set_aside_go_last_and_are_named(path: Path, logged: Logged) -> None:
    """They are older than everything else; yet all else that may go is gone before the first of them is."""
    async with keeper(path, most_bytes=BOUND) as kept:
        for room in ("team:one", "team:two"):
            await fill(kept, room, 5)
    damage(path, "team:one", "team:two")
    async with keeper(path, most_bytes=BOUND) as kept:
        aside = {line["aside"] for line in logged if line["event"] == "journal_room_damaged"}
        assert len(aside) == 2
        for number in range(20):
            await fill(kept, f"team:{number}")
        assert aside < names_in(path)
        assert dropped(logged) == []
        await kept.record()
        for number in range(200):
            await kept.append(str(number), data=TEXT)
        assert names_in(path) == {ROOM}
        assert len((await kept.record()).events) == 200
    assert set(dropped(logged)) == aside
    assert len(dropped(logged)) == 2
    assert orphans(path) == 0


def orphans(path: Path) -> int:
    """Count the rows that belong to no room."""
    with closing(sqlite3.connect(path)) as other:
        tables = ("events", "states", "past_ids")
        counted = [f"SELECT count(*) FROM {each} WHERE room NOT IN (SELECT id FROM rooms)" for each in tables]
        return sum(other.execute(each).fetchone()[0] for each in counted)


def dropped(logged: Logged) -> list[str]:
    return [line["aside"] for line in logged if line["event"] == "journal_damaged_room_dropped"]


async def test_without_a_bound_nothing_goes(path: Path) -> None:
    async with keeper(path, most_bytes=0) as kept:
        for number in range(12):
            await fill(kept, f"team:{number}")
        assert len((await kept.record("team:0")).events) == 40
