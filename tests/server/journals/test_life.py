"""A journal that was put back from a copy comes up under new epochs, and one that was only stopped or killed does not.

What a kill leaves is what lies in the folder at that moment: the tests take the folder as it is while the log runs.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors.errors import PostroomError, Refusal
from actors.events import Event
from actors.messages import Append
from actors.record import RoomRecord
from server.journals import retention
from server.journals.faults import JournalError
from server.journals.lock import Lock
from server.journals.store import Store
from server.journals.turn import Turn
from server.journals.writer import Writer
from tests.actors.making import a_draft

from .keeping import ROOM, Ear, Keeper, keeper, until

Logged = list[dict[str, Any]]
EMPTY = "team:empty"


def back_up(path: Path) -> Path:
    """Copy the journal as the guide says, whether or not it is in use."""
    copy = path.parent.parent / "copy.db"
    with closing(sqlite3.connect(path)) as journal, closing(sqlite3.connect(copy)) as target:
        journal.backup(target)
    return copy


def put_back(copy: Path, path: Path) -> None:
    """Put the copy in the journal's place, and leave the lock there."""
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    shutil.copy(copy, path)


def left_by_a_kill(path: Path, name: str = "killed") -> Path:
    """Return the journal as a kill at this moment leaves it, in a folder of its own.

    The lock gets its mark just after an event was told to be kept: once the next question is answered it has it.
    """
    folder = path.parent.with_name(name)
    shutil.copytree(path.parent, folder)
    return folder / path.name


def lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def delete(path: Path) -> None:
    path.unlink()


def text(path: Path) -> str:
    return path.read_text()


def renewals(logged: Logged) -> list[str]:
    return [line["reason"] for line in logged if line["event"] == "journal_epochs_renewed"]


async def epochs(path: Path) -> tuple[str, str]:
    """Start a log, and return the epochs of a room with events and of one in which nothing happened."""
    async with keeper(path) as kept:
        return await epochs_in(kept)


async def epochs_in(kept: Keeper) -> tuple[str, str]:
    return (await kept.record()).epoch, (await kept.record(EMPTY)).epoch


async def begun(path: Path) -> tuple[str, str]:
    """Make a journal with one event, and return its epochs."""
    async with keeper(path) as kept:
        before = await epochs_in(kept)
        await kept.append("a")
    return before


def are_new(after: tuple[str, str], before: tuple[str, str]) -> bool:
    """Tell whether no epoch is as it was; some new and some old is never right."""
    new = [one != other for one, other in zip(after, before, strict=True)]
    assert len(set(new)) == 1, (before, after)
    return new[0]


# --- the same file


async def test_stops_and_starts_keep_the_epochs(path: Path, logged: Logged) -> None:
    before = await begun(path)
    for _ in range(3):
        assert not are_new(await epochs(path), before)
    assert renewals(logged) == []


async def test_kills_keep_the_epochs(path: Path, logged: Logged) -> None:
    """Also one after the other, and with or without an event between them."""
    async with keeper(path) as kept:
        before = await epochs_in(kept)
        fresh = left_by_a_kill(path, "fresh")
        await kept.append("a")
        killed = left_by_a_kill(path, "killed")
    assert not are_new(await epochs(fresh), before)
    async with keeper(killed) as kept:
        assert await kept.ids() == ["a"]
        again = left_by_a_kill(killed, "again")
    assert not are_new(await epochs(again), before)
    assert renewals(logged) == []


@pytest.fixture
def steps(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What kills leave around each step in which a token is exchanged."""
    taken: list[Path] = []

    def traced(owner: type, name: str) -> None:
        method = getattr(owner, name)

        def tracing(self: Any, *args: Any, **kwargs: Any) -> None:
            taken.append(left_by_a_kill(path, f"step {len(taken)}"))
            method(self, *args, **kwargs)
            taken.append(left_by_a_kill(path, f"step {len(taken)}"))

        monkeypatch.setattr(owner, name, tracing)

    traced(Lock, "keep")
    traced(Store, "sign")
    return taken


async def test_a_kill_at_any_moment_of_a_start_or_a_stop_keeps_the_epochs(
    path: Path, steps: list[Path], monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    before = await begun(path)
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("b")
    monkeypatch.undo()
    assert len(steps) >= 20
    for step in steps[4:]:  # before that no event was kept, and nobody was told an epoch
        assert not are_new(await epochs(step), before), step
    assert renewals(logged) == []


@pytest.mark.parametrize("failing", ["keep", "sign"])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("moment", ["start", "stop"])
async def test_a_disk_that_is_full_when_a_token_is_to_be_written_changes_nothing(
    path: Path, failing: str, nth: int, moment: str, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """The log starts, takes events and stops; the next one finds the same file."""
    before = await begun(path)
    if moment == "start":
        full(monkeypatch, failing, nth)
    async with keeper(path) as kept:
        assert not are_new(await epochs_in(kept), before)
        monkeypatch.undo()
        (event,) = await kept.append("b")
        assert isinstance(event, Event)
        killed = left_by_a_kill(path)
        if moment == "stop":
            full(monkeypatch, failing, nth)
    monkeypatch.undo()
    for each in (killed, path):
        async with keeper(each) as kept:
            assert not are_new(await epochs_in(kept), before)
            assert await kept.ids() == ["a", "b"]
    assert {line["log_level"] for line in logged} == {"info"}


def full(monkeypatch: pytest.MonkeyPatch, name: str, nth: int = 1) -> None:
    """Let the disk be full from the nth call on."""
    owner, error = {"keep": (Lock, OSError(errno.ENOSPC, "No space left")), "sign": (Store, _full())}[name]
    method = getattr(owner, name)
    calls: list[Any] = []

    def failing(self: Any, *args: Any, **kwargs: Any) -> None:
        calls.append(args)
        if len(calls) >= nth:
            if isinstance(self, Lock):
                self.tokens, self.mark = args  # as far as it goes before the disk is asked
            raise error
        method(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, failing)


def _full() -> sqlite3.Error:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


async def test_a_lock_that_was_deleted_while_the_log_ran_is_made_again_at_the_stop(path: Path, logged: Logged) -> None:
    async with keeper(path) as kept:
        before = await epochs_in(kept)
        await kept.append("a")
        delete(lock_of(path))
    assert not are_new(await epochs(path), before)
    assert renewals(logged) == []


async def test_a_journal_that_was_put_back_after_its_deletion_keeps_its_epochs_over_a_kill(
    path: Path, logged: Logged
) -> None:
    async with keeper(path) as kept:
        before = await epochs_in(kept)
        await kept.append("a")
        for each in sorted(path.parent.iterdir()):
            delete(each)
        await kept.append("b")
        killed = left_by_a_kill(path)
    async with keeper(killed) as kept:
        assert not are_new(await epochs_in(kept), before)
        assert await kept.ids() == ["a", "b"]
    assert renewals(logged) == []


async def test_events_that_were_taken_back_leave_no_mark(path: Path, logged: Logged) -> None:
    async with keeper(path) as kept:
        before = await epochs_in(kept)
        await kept.append("a")
        shutil.rmtree(path.parent)
        (refusal,) = await kept.append("b")
        assert isinstance(refusal, Refusal)
        path.parent.mkdir()
        await kept.probe()
        killed = left_by_a_kill(path)
    async with keeper(killed) as kept:
        assert not are_new(await epochs_in(kept), before)
        assert await kept.ids() == ["a"]
    assert renewals(logged) == []


async def test_a_kill_as_rooms_are_forgotten_keeps_the_epochs(
    path: Path, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the event that the lock had a mark of went with its room."""
    monkeypatch.setattr(retention, "_CHECK_EVERY", 1)
    killed: list[Path] = []
    keep = Store._keep

    def committed(self: Store, turn: Turn) -> None:
        keep(self, turn)
        if turn.report.forgotten:
            killed.append(left_by_a_kill(path, f"killed {len(killed)}"))

    monkeypatch.setattr(Store, "_keep", committed)
    async with keeper(path, most_bytes=1) as kept:
        before = await epochs_in(kept)
        await kept.append("a")
        await kept.record("old:1")
        await kept.append("last", room="old:1")
        kept.log.snapshot("old:1", 1, b'{"alerts":{}}', watched=False)
        kept.log.release("old:1")
        await kept.clock.advance(61)  # until now all was in use, and so it was left alone for a minute
        for _ in range(5):
            kept.log.snapshot(ROOM, 1, b'{"alerts":{}}', watched=False)
            await kept.record()
    assert killed
    for each in killed:
        async with keeper(each) as kept:
            assert (await kept.record()).epoch == before[0]
    assert renewals(logged) == []


async def test_a_damaged_room_is_not_taken_for_one_that_went_back_in_time(path: Path, logged: Logged) -> None:
    """The mark is in the room that is damaged; the others keep their epochs."""
    async with keeper(path) as kept:
        await kept.record("team:2")
        await kept.append("a", room="team:2")
        await kept.record()
        await kept.append("a")
        before = (await kept.record("team:2")).epoch
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE rooms SET epoch = 'another' WHERE name = ?", (ROOM,))
    for _ in range(2):
        async with keeper(path) as kept:
            assert (await kept.record("team:2")).epoch == before
    assert renewals(logged) == []


async def test_a_lock_says_who_has_the_journal_and_which_event_was_kept_last(path: Path) -> None:
    async with keeper(path) as kept:
        record = await kept.record()
        await kept.append("a")
        await until(lambda: f"{record.epoch} 1 " in text(lock_of(path)))
        size = len(text(lock_of(path)))
        await kept.append("b")
        await until(lambda: f"{record.epoch} 2 " in text(lock_of(path)))
        assert len(text(lock_of(path))) == size
        assert text(lock_of(path)).startswith(f"{os.getpid()}\n")


# --- a copy


@pytest.mark.parametrize("made", ["while it ran", "when it had stopped"])
@pytest.mark.parametrize("after", ["a stop", "a start and a stop", "a kill", "a start and a kill"])
async def test_a_copy_that_is_put_back_comes_up_under_new_epochs(
    path: Path, made: str, after: str, logged: Logged
) -> None:
    """Whenever it was made and whatever came after; it keeps them over the next starts."""
    async with keeper(path) as kept:
        before = await epochs_in(kept)
        await kept.append("a")
        copy = back_up(path)
        if made == "while it ran":
            await kept.append("b")
            await kept.record()
            killed = left_by_a_kill(path, "first")
    if made == "when it had stopped":
        copy = back_up(path)
        async with keeper(path) as kept:
            await kept.record()
            await kept.append("b")
            await kept.record()
            killed = left_by_a_kill(path, "first")
    if "start" in after:
        async with keeper(path) as kept:
            await kept.record()
            await kept.append("c")
            await kept.record()
            killed = left_by_a_kill(path, "second")
    where = killed if "kill" in after else path
    put_back(copy, where)
    async with keeper(where) as kept:
        assert are_new(await epochs_in(kept), before)
        renewed = await epochs_in(kept)
        assert await kept.ids() == ["a"]
        (event,) = await kept.append("d")
        assert isinstance(event, Event)
        assert event.offset == 2
        again = left_by_a_kill(where, "third")
    for each in (where, again):
        assert not are_new(await epochs(each), renewed)
    assert len(renewals(logged)) == 1


async def test_a_copy_after_which_nothing_happened_is_as_good_as_the_journal(path: Path, logged: Logged) -> None:
    before = await begun(path)
    put_back(back_up(path), path)
    assert not are_new(await epochs(path), before)
    async with keeper(path):
        copy = back_up(path)
        killed = left_by_a_kill(path)
    put_back(copy, killed)
    assert not are_new(await epochs(killed), before)
    assert renewals(logged) == []


LOCKS: dict[str, Callable[[Path], object]] = {
    "missing": delete,
    "empty": lambda lock: lock.write_bytes(b""),
    "garbage": lambda lock: lock.write_bytes(b"\xff\x00" * 5000),
    "of an older router": lambda lock: lock.write_text("4242\n"),
    "of another journal": lambda lock: lock.write_text("4242\n0123456789abcdef\n\n"),
    "with an event that never was": lambda lock: lock.write_text(
        "\n".join([*lock.read_text().split("\n")[:2], "0123456789ab 7", ""])
    ),
}


@pytest.mark.parametrize("lock", LOCKS)
async def test_a_journal_whose_lock_does_not_know_it_is_taken_for_a_copy(path: Path, lock: str, logged: Logged) -> None:
    before = await begun(path)
    LOCKS[lock](lock_of(path))
    renewed = await epochs(path)
    assert are_new(renewed, before)
    assert not are_new(await epochs(path), renewed)
    (line,) = [line for line in logged if line["event"] == "journal_epochs_renewed"]
    assert (line["log_level"], line["path"], line["rooms"]) == ("warning", str(path), 1)


@pytest.mark.parametrize(
    "change", ["DELETE FROM meta WHERE name = 'life'", "UPDATE meta SET value = 'x' WHERE name = 'life'"]
)
async def test_a_journal_whose_token_is_lost_is_taken_for_a_copy(path: Path, change: str) -> None:
    before = await begun(path)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(change)
    renewed = await epochs(path)
    assert are_new(renewed, before)
    assert not are_new(await epochs(path), renewed)


async def test_a_write_ahead_log_that_was_lost_is_a_way_back_in_time(path: Path, logged: Logged) -> None:
    """Its events were told to have been kept, and their offsets are given out again."""
    before = await begun(path)
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("b")
        await kept.ids()  # which the writer reads after it has marked the lock
        killed = left_by_a_kill(path)
    delete(killed.with_name("journal.db-wal"))
    assert are_new(await epochs(killed), before)
    assert len(renewals(logged)) == 1


async def test_a_copy_keeps_all_but_the_epochs(path: Path) -> None:
    """More rooms than are renamed at once; their rows are sound afterwards, and a room that was set aside stays so."""
    async with keeper(path) as kept:
        for number in range(5):
            room = f"team:{number}"
            await kept.record(room)
            await kept.append("a", "b", "c", room=room)
            kept.log.snapshot(room, 2, b"state", watched=number == 3)
            kept.log.trim(room, 2, lost=1, keep=(), ids_since_ms=0)
        before = {f"team:{number}": await kept.record(f"team:{number}") for number in range(5)}
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE rooms SET top = 99 WHERE name = 'team:4'")
    delete(lock_of(path))
    async with keeper(path) as kept:
        after = {room: await kept.record(room) for room in before}
        assert set(kept.log.watched()) == {"team:3"}
    for room, record in before.items():
        assert after[room].epoch != record.epoch
        if room != "team:4":
            assert changed(after[room], record.epoch) == record
    assert after["team:4"].top == 0
    assert len({record.epoch for record in after.values()}) == 5
    async with keeper(path) as kept:
        assert {room: await kept.record(room) for room in before} == after


def changed(record: RoomRecord, epoch: str) -> RoomRecord:
    """Return a record under another epoch."""
    return RoomRecord(**{**{field: getattr(record, field) for field in record.__struct_fields__}, "epoch": epoch})


async def test_more_rooms_than_are_renamed_at_once_get_new_epochs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.journals.epochs._ROOMS_AT_ONCE", 3)
    rooms = [f"team:{number}" for number in range(7)]
    async with keeper(path) as kept:
        for room in rooms:
            await kept.record(room)
            await kept.append("a", room=room)
        before = {(await kept.record(room)).epoch for room in rooms}
    delete(lock_of(path))
    async with keeper(path) as kept:
        after = {(await kept.record(room)).epoch for room in rooms}
        assert not any(line for line in await kept.append("b", room=rooms[0]) if isinstance(line, Refusal))
    assert len(after) == 7
    assert not before & after


async def test_a_copy_on_a_full_disk_is_refused_and_left_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    before = await begun(path)
    delete(lock_of(path))
    full(monkeypatch, "sign")
    with pytest.raises(JournalError, match="its disk is full: free some space"):
        await epochs(path)
    monkeypatch.undo()
    async with keeper(path) as kept:
        assert are_new(await epochs_in(kept), before)
        assert await kept.ids() == ["a"]


async def test_a_copy_whose_lock_cannot_be_written_starts_and_is_taken_for_a_copy_once_more(
    path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    before = await begun(path)
    lock_of(path).write_text("")
    full(monkeypatch, "keep")
    monkeypatch.setattr(Lock, "note", lambda self, mark: None)
    async with keeper(path) as kept:
        once = await epochs_in(kept)
        killed = left_by_a_kill(path)
    monkeypatch.undo()
    assert are_new(once, before)
    assert are_new(await epochs(killed), once)


async def test_a_copy_that_is_put_back_while_the_log_runs_has_open_rooms_open_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """The file is exchanged while the writer, after a failure, has it closed."""
    async with keeper(path) as kept:
        before = await epochs_in(kept)
        await kept.append("a")
        copy = back_up(path)
        await kept.append("b")
        drop, flush = Writer._drop, Store._flush

        def dropping(self: Writer) -> None:
            drop(self)
            put_back(copy, path)
            monkeypatch.undo()

        def failing(self: Store, turn: Any) -> None:
            flush(self, turn)
            raise RuntimeError("a bug")

        monkeypatch.setattr(Writer, "_drop", dropping)
        monkeypatch.setattr(Store, "_flush", failing)
        (refusal,) = await kept.append("c")
        assert isinstance(refusal, Refusal)
        with pytest.raises(PostroomError, match="not open"):
            kept.log.append(ROOM, Append(a_draft(), named=True, reply_to=Ear(), tag=None), Ear())
        assert are_new(await epochs_in(kept), before)
        assert await kept.ids() == ["a"]
        (event,) = await kept.append("d")
        assert isinstance(event, Event)
        assert event.offset == 2
    assert len(renewals(logged)) == 1
