"""What a journal does when its disk, its folder or its file fails: it refuses, says why, and goes on by itself."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.errors import ErrorCode, LogUnavailable, PostroomError, Refusal
from actors.events import Event
from actors.messages import Append
from actors.record import RoomRecord
from server.journals import place, store, writer
from tests.actors.making import a_draft

from .keeping import ROOM, Ear, Keeper, keeper, until

Logged = list[dict[str, Any]]


def names(logged: Logged) -> list[str]:
    return [line["event"] for line in logged if line["event"] not in ("journal_opened", "journal_closed")]


def only(heard: list[Event | Refusal]) -> Event | Refusal:
    (one,) = heard
    return one


def reason(heard: list[Event | Refusal]) -> str:
    """Return why an event was refused."""
    refusal = only(heard)
    assert isinstance(refusal, Refusal), refusal
    assert (refusal.code, refusal.retry_after_ms) == (ErrorCode.JOURNAL_UNAVAILABLE, 1000)
    return refusal.message


async def goes_on(kept: Keeper, name: str, offset: int) -> None:
    """Wait for the end of the trouble, and see an event taken at this offset."""
    await kept.probe()
    assert kept.log.trouble is None
    event = only(await kept.append(name))
    assert isinstance(event, Event), event
    assert (event.offset, event.prev) == (offset, offset - 1)


class Disk:
    """A limit on the file's pages, which the writer's own connection has."""

    def __init__(self) -> None:
        self.connections: list[sqlite3.Connection] = []

    def connect(self, path: Path) -> sqlite3.Connection:
        connection = store.connect(path)
        connection.close()
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connections.append(connection)
        return connection

    def limit(self, pages: int) -> None:
        self.connections[-1].execute(f"PRAGMA max_page_count = {pages}").fetchall()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(writer, "connect", disk.connect)
    return disk


async def test_a_full_disk_refuses_events_until_there_is_space(disk: Disk, path: Path, logged: Logged) -> None:
    """Nothing that was refused is kept, nothing that was told is lost, and there is one line for each end of it."""
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a", data={"text": "x" * 100_000})  # so that no page is free
        disk.limit(1)
        assert "its disk is full: free some space" in reason(await kept.append("b", data={"text": "x" * 200_000}))
        assert kept.log.trouble is not None
        assert "its disk is full" in reason(await kept.append("c"))
        await kept.probe()
        assert kept.log.trouble is not None
        assert await kept.ids() == ["a"]
        disk.limit(100_000)
        await goes_on(kept, "d", 2)
        assert await kept.ids() == ["a", "d"]
    assert names(logged) == ["journal_unavailable", "journal_available"]
    assert "its disk is full" in logged[1]["reason"]


async def test_everything_that_waits_behind_a_failed_batch_fails_too(disk: Disk, path: Path) -> None:
    async with keeper(path) as kept:
        await kept.record()
        disk.limit(1)
        ear = Ear()
        kept.tell(ear, *(a_draft(data={"text": "x" * 3000}, event_id=str(each)) for each in range(6000)))
        await until(lambda: len(ear.heard) == 6000)
        assert ear.tags == [str(each) for each in range(6000)]
        assert {type(each) for each in ear.heard} == {Refusal}
        disk.limit(100_000)
        await goes_on(kept, "after", 1)


async def test_a_room_is_forgotten_on_the_disk_or_not_at_all(disk: Disk, path: Path) -> None:
    """Behind a batch that failed, and as long as there is trouble, it is refused; nobody is left waiting."""
    async with keeper(path) as kept:
        epoch = (await kept.record()).epoch
        await kept.append("a", data={"text": "x" * 100_000})
        disk.limit(1)
        answers: list[RoomRecord | LogUnavailable] = []
        kept.tell(Ear(), *(a_draft(data={"text": "x" * 3000}, event_id=str(each)) for each in range(6000)))
        kept.log.forget(ROOM, answers.append)
        await until(lambda: answers)
        kept.log.forget(ROOM, answers.append)
        assert [type(each) for each in answers] == [LogUnavailable, LogUnavailable]
        assert (await kept.ids(), (await kept.record()).epoch) == (["a"], epoch)
        disk.limit(100_000)
        await goes_on(kept, "d", 2)
        kept.log.forget(ROOM, answers.append)
        await until(lambda: len(answers) == 3)
    async with keeper(path) as kept:
        assert kept.log.rooms() == set()
        record = await kept.record()
        assert (record.top, record.epoch == epoch) == (0, False)


async def test_snapshots_and_trims_are_made_up_for_after_the_trouble(disk: Disk, path: Path) -> None:
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a", "b")
        disk.limit(1)
        kept.log.snapshot(ROOM, 2, b"x" * 100_000, watched=True)
        kept.log.trim(ROOM, 2, lost=0, keep=(), ids_since_ms=0)
        await until(lambda: kept.log.trouble)
        assert (await kept.record()).state is None
        disk.limit(100_000)
        await goes_on(kept, "c", 3)
        record = await kept.record()
        assert (record.state, record.gone) == (b"x" * 100_000, 1)
        assert set(kept.log.watched()) == {ROOM}


async def test_rooms_that_retire_in_trouble_come_back_as_they_were(disk: Disk, path: Path) -> None:
    """Nothing of them waits meanwhile, however often they do; the alert in one still keeps it watched."""
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        await kept.append("b", kind="alert", ack="required")
        before = await kept.record()
        disk.limit(1)
        assert "full" in reason(await kept.append("c", data={"text": "x" * 200_000}))
        for _ in range(20):
            kept.log.snapshot(ROOM, 2, b"x" * 100_000, watched=True)
            kept.log.trim(ROOM, 2, lost=0, keep=(), ids_since_ms=0)
            kept.log.release(ROOM)
            assert await kept.record() == before
        assert kept.log._backlog.bytes == 0
        assert len(kept.log._backlog) == 0
        disk.limit(100_000)
        await goes_on(kept, "d", 3)
    async with keeper(path) as kept:
        assert set(kept.log.watched()) == {ROOM}
        assert await kept.ids() == ["a", "b", "d"]


async def test_a_snapshot_that_had_to_wait_does_not_hide_the_alert_after_it(disk: Disk, path: Path) -> None:
    """In trouble the room is opened before the snapshot is written, and what was known of the alert is forgotten."""
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        await kept.append("b", kind="alert", ack="required")
        disk.limit(1)
        kept.log.snapshot(ROOM, 1, b"x" * 100_000, watched=False)
        await until(lambda: kept.log.trouble)
        await kept.record()
        disk.limit(100_000)
        await goes_on(kept, "c", 3)
        assert (await kept.record()).state_offset == 1
        assert set(kept.log.watched()) == {ROOM}
    async with keeper(path) as kept:
        assert set(kept.log.watched()) == {ROOM}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Use up all the space."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):  # it is full
                while file.write(b"x" * size):
                    pass
    return ballast


def delete(*paths: Path) -> None:
    for path in paths:
        path.unlink()


def move(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def link(path: Path, to: Path) -> None:
    path.symlink_to(to)


def remove(path: Path) -> None:
    path.unlink()


def content(path: Path) -> bytes:
    return path.read_bytes()


async def test_a_file_system_that_is_full_refuses_events_until_there_is_space(small_disk: Path) -> None:
    async with keeper(small_disk / "journal.db") as kept:
        await kept.record()
        await kept.append("a")
        ballast = fill(small_disk)
        assert "full" in reason(await kept.append("b", data={"text": "x" * 200_000}))
        await kept.probe()
        assert kept.log.trouble is not None
        delete(ballast)
        await goes_on(kept, "c", 2)
    async with keeper(small_disk / "journal.db") as kept:
        assert await kept.ids() == ["a", "c"]


async def test_a_start_on_a_full_file_system_says_so(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(PostroomError, match="full"):
        async with keeper(small_disk / "journal.db"):
            pass


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Make a folder read-only, with what is in it; for root too."""
    folder = tmp_path / "folder"
    folder.mkdir()
    mounted: list[Path] = []

    def bind() -> Path:
        for options in (["--bind", folder, folder], ["-o", "remount,bind,ro", folder]):
            if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
                pytest.skip("this user may not mount a folder")
            mounted[:] = [folder]
        return folder

    yield bind
    for each in mounted:
        subprocess.run(["umount", "-l", each], check=True)


async def test_a_start_in_a_read_only_folder_says_so(read_only: Callable[[], Path]) -> None:
    with pytest.raises(PostroomError, match="read-only: make it writable"):
        async with keeper(read_only() / "journal.db"):
            pass


class Locker:
    """Another process that locks a journal."""

    def __init__(self, path: Path) -> None:
        code = (
            "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
            "db.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read(); db.execute('ROLLBACK')"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "locked\n"

    def release(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait long for locks."""
    monkeypatch.setattr(store, "_BUSY_S", 0.01)


async def test_a_journal_that_another_process_locks_refuses_until_it_is_released(path: Path, quickly: None) -> None:
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        locker = Locker(path)
        assert "another process has locked it" in reason(await kept.append("b"))
        assert await kept.ids() == ["a"]
        await kept.probe()
        assert kept.log.trouble is not None
        locker.release()
        await goes_on(kept, "c", 2)


async def test_a_start_on_a_locked_journal_says_so(path: Path, quickly: None) -> None:
    async with keeper(path):
        pass
    locker = Locker(path)
    with pytest.raises(PostroomError, match="another process has locked it: close the program"):
        async with keeper(path):
            pass
    locker.release()
    async with keeper(path):
        pass


async def test_a_room_that_cannot_be_read_is_unavailable_and_the_others_are_not(
    kept: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store.read_room

    def failing(db: sqlite3.Connection, name: str, room_id: int) -> Any:
        if name == ROOM:
            raise io_error()
        return read(db, name, room_id)

    await kept.record()
    await kept.record("team:2")
    await kept.append("a")
    await kept.append("b", room="team:2")
    monkeypatch.setattr(store, "read_room", failing)
    record = await kept.read()
    assert isinstance(record, LogUnavailable)
    assert "SQLITE_IOERR_READ" in str(record)
    assert await kept.ids("team:2") == ["b"]
    assert kept.log.trouble is None


def io_error() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    error.sqlite_errorname = "SQLITE_IOERR_READ"
    return error


class Unreadable(sqlite3.Connection):
    """A connection to a file from which no room can be read while `broken`."""

    broken = False

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if self.broken and sql.startswith("SELECT") and " FROM rooms" in sql and "name = ?" not in sql:
            raise io_error()
        return super().execute(sql, *values)


async def test_a_disk_from_which_nothing_can_be_read_is_trouble_until_it_can(
    path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """It shows without anybody publishing; events that came with the read are kept, and told."""
    monkeypatch.setattr(writer, "connect", lambda path: sqlite3.connect(path, isolation_level=None, factory=Unreadable))
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        kept.log.release(ROOM)
        await kept.record("team:2")
        Unreadable.broken = True
        try:
            ear = Ear()
            kept.tell(ear, a_draft(event_id="b"), room="team:2")
            assert isinstance(await kept.read(), LogUnavailable)
            await until(lambda: kept.log.trouble)
            assert isinstance(only(ear.heard), Event)
            assert "SQLITE_IOERR_READ" in reason(await kept.append("c", room="team:2"))
            await kept.probe()
            assert kept.log.trouble is not None
        finally:
            Unreadable.broken = False
        await kept.probe()
        assert kept.log.trouble is None
        assert await kept.ids() == ["a"]
        assert await kept.ids("team:2") == ["b"]
    assert names(logged) == ["journal_unavailable", "journal_available"]


async def test_a_disk_that_fails_as_a_room_is_read_is_trouble_at_once(
    disk: Disk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a", data={"text": "x" * 100_000})  # so that no page is free
        kept.log.release(ROOM)

        def failing(*args: Any) -> Any:
            raise io_error()

        with monkeypatch.context() as patched:
            patched.setattr(store, "read_room", failing)
            disk.limit(1)
            assert isinstance(await kept.read(), LogUnavailable)
        assert kept.log.trouble is not None
        disk.limit(100_000)
        await kept.probe()
        assert kept.log.trouble is None
        assert await kept.ids() == ["a"]


async def test_an_event_that_was_written_and_not_synced_is_in_doubt(
    kept: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash it may be there: whoever published it is told that nobody knows, and the journal goes on."""
    await kept.record()
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    error.sqlite_errorname = "SQLITE_IOERR_FSYNC"

    def failing(self: store.Store, *_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "run", failing)
        refusal = only(await kept.append("a"))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.retry_after_ms) == (ErrorCode.INTERNAL, 1000)
    assert "try again with the same event_id" in refusal.message
    await goes_on(kept, "a", 1)


async def test_what_waits_is_written_at_the_stop_when_the_trouble_is_over(disk: Disk, path: Path) -> None:
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        disk.limit(1)
        kept.log.snapshot(ROOM, 1, b"x" * 100_000, watched=True)
        await until(lambda: kept.log.trouble)
        disk.limit(100_000)
    async with keeper(path) as kept:
        assert (await kept.record()).state == b"x" * 100_000


async def test_a_stop_in_trouble_ends(disk: Disk, path: Path) -> None:
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        disk.limit(1)
        kept.log.snapshot(ROOM, 1, b"x" * 100_000, watched=True)
    async with keeper(path) as kept:
        assert (await kept.record()).state is None


# --- the file is taken away


@pytest.mark.parametrize("which", [["journal.db"], ["journal.db-wal"], ["journal.db", "journal.db-wal"], None])
async def test_a_journal_that_was_deleted_is_put_back_whole(
    path: Path, which: list[str] | None, logged: Logged
) -> None:
    async with keeper(path) as kept:
        await kept.record()
        await kept.record("team:2")
        await kept.append("a")
        delete(*(sorted(path.parent.iterdir()) if which is None else map(path.with_name, which)))
        assert isinstance(only(await kept.append("b")), Event)
        assert isinstance(only(await kept.append("c", room="team:2")), Event)
        assert [each.name for each in sorted(path.parent.iterdir()) if "-" not in each.name and "lock" not in each.name]
    assert names(logged) == ["journal_restored"]
    async with keeper(path) as kept:
        assert await kept.ids() == ["a", "b"]
        assert await kept.ids("team:2") == ["c"]


async def test_a_folder_that_was_deleted_is_trouble_until_it_is_back(path: Path, logged: Logged) -> None:
    """What was refused meanwhile is not kept; the offsets go on as if nothing had been."""
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        shutil.rmtree(path.parent)
        assert "folder is gone: put it back" in reason(await kept.append("b"))
        assert await kept.ids() == ["a"]
        await kept.probe()
        assert kept.log.trouble is not None
        path.parent.mkdir()
        await goes_on(kept, "c", 2)
    assert names(logged) == ["journal_unavailable", "journal_restored", "journal_available"]
    async with keeper(path) as kept:
        assert await kept.ids() == ["a", "c"]


async def test_what_is_put_in_the_journals_place_is_left_alone(path: Path) -> None:
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        move(path, "moved")
        write(path, b"somebody's notes")
        assert "another file was put in the place of journal.db" in reason(await kept.append("b"))
        await kept.probe()
        assert kept.log.trouble is not None
        notes = move(path, "notes")
        await goes_on(kept, "c", 2)
    assert content(notes) == b"somebody's notes"
    async with keeper(path) as kept:
        assert await kept.ids() == ["a", "c"]


async def test_a_link_in_the_journals_place_is_another_file(path: Path) -> None:
    """The next start would follow it, and not find what lies beside the journal."""
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        moved = move(path, "moved")
        link(path, moved)
        assert "another file was put in the place of journal.db" in reason(await kept.append("b"))
        remove(path)
        await goes_on(kept, "c", 2)


@pytest.mark.parametrize("ending", ["", "-wal"])
async def test_nothing_is_acknowledged_after_a_file_was_cut_short(path: Path, ending: str, logged: Logged) -> None:
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        os.truncate(f"{path}{ending}", 0)
        acknowledged = False
        with contextlib.suppress(PostroomError):
            acknowledged = isinstance((await kept.append("b"))[0], Event)
    async with keeper(path) as kept:
        assert not acknowledged or await kept.ids() == ["a", "b"]


async def test_a_room_whose_refused_events_could_not_be_taken_back_has_to_open_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: store.Store) -> None:
        raise sqlite3.OperationalError("no")

    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        monkeypatch.setattr(store.Store, "undo", failing)
        shutil.rmtree(path.parent)
        reason(await kept.append("b"))
        with pytest.raises(PostroomError, match="not open"):
            kept.log.append(ROOM, Append(a_draft(), named=True, reply_to=Ear(), tag=None), Ear())
        assert await kept.ids() == ["a", "b"]
        path.parent.mkdir()
        await goes_on(kept, "c", 3)


# --- the file is damaged


async def filled(path: Path, rooms: int = 3, events: int = 40) -> dict[str, RoomRecord]:
    """Write some rooms, and close the file; return what is in them."""
    async with keeper(path) as kept:
        for number in range(rooms):
            await kept.record(f"team:{number}")
            await kept.append(
                *(f"{number}-{each}" for each in range(events)), room=f"team:{number}", data={"t": "x" * 99}
            )
        return {f"team:{number}": await kept.record(f"team:{number}") for number in range(rooms)}


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def truncate(path: Path, size: int) -> None:
    os.truncate(path, size)


def overwrite_text(path: Path, old: bytes, new: bytes) -> None:
    """Flip bytes of a value."""
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def set_aside(path: Path) -> list[Path]:
    """Return the journals that were set aside, without what stood beside them."""
    return sorted(each for each in path.parent.glob("*.damaged-*") if not each.name.endswith(("-wal", "-shm")))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "garbage": lambda path: overwrite(path, 0, b"garbage " * 4096),
    "flipped magic": lambda path: overwrite(path, 3, b"!"),
    "flipped page size": lambda path: overwrite(path, 16, b"\x03\x07"),
    "flipped schema": lambda path: overwrite(path, 100, b"\xff" * 300),
    "truncated": lambda path: truncate(path, 3 * 4096),
    "truncated within the header": lambda path: truncate(path, 50),
    "a page is gone": lambda path: overwrite(path, 4096, b"\x55" * 4096),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_journal_is_set_aside_at_the_start_and_a_new_one_begun(
    path: Path, damage: str, logged: Logged
) -> None:
    before = await filled(path)
    DAMAGES[damage](path)
    damaged = content(path)
    async with keeper(path) as kept:
        record = await kept.record("team:0")
        assert (record.top, record.events) == (0, ())
        assert record.epoch != before["team:0"].epoch
        assert isinstance(only(await kept.append("a", room="team:0")), Event)
    (aside,) = set_aside(path)
    assert content(aside) == damaged
    (line,) = [line for line in logged if line["event"] == "journal_set_aside"]
    assert (line["log_level"], line["aside"]) == ("critical", str(aside))


async def test_damage_that_shows_while_running_sets_the_journal_aside(path: Path, logged: Logged) -> None:
    """Rooms that were open have to open again, under another epoch; nothing that is set aside is overwritten."""
    await filled(path)
    async with keeper(path) as kept:
        before = await kept.record("team:0")
        overwrite(path, 4096 * 3, b"\x55" * (len(content(path)) - 4096 * 3))
        record = await kept.read("team:1")
        assert isinstance(record, RoomRecord)
        assert record.events == ()
        with pytest.raises(PostroomError, match="team:0"):
            kept.log.append("team:0", Append(a_draft(), named=True, reply_to=Ear(), tag=None), Ear())
        again = await kept.record("team:0")
        assert again.epoch != before.epoch
        assert isinstance(only(await kept.append("a", room="team:0")), Event)
        assert kept.log.known("team:0")
        assert not kept.log.known("team:2")
    assert "journal_set_aside" in names(logged)
    assert len(set_aside(path)) == 1


async def test_a_damaged_row_costs_only_its_room(path: Path, logged: Logged) -> None:
    before = await filled(path)
    overwrite_text(path, b"1-7custom".replace(b"custom", b"app.thing"), b"1-8app.thing")
    async with keeper(path) as kept:
        record = await kept.record("team:1")
        assert (record.top, record.events) == (0, ())
        assert record.epoch != before["team:1"].epoch
        assert await kept.record("team:0") == before["team:0"]
        assert isinstance(only(await kept.append("new", room="team:1")), Event)
    (line,) = [line for line in logged if line["event"] == "journal_room_damaged"]
    assert (line["log_level"], line["room"]) == ("error", "team:1")
    assert "event 8" in line["reason"]
    kept_rows = sqlite3.connect(path)
    query = "SELECT count(*) FROM rooms r JOIN events e ON e.room = r.id WHERE r.name = ?"
    assert kept_rows.execute(query, (line["aside"],)).fetchone() == (40,)
    kept_rows.close()
    async with keeper(path) as kept:
        assert await kept.ids("team:1") == ["new"]
    assert len([line for line in logged if line["event"] == "journal_room_damaged"]) == 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET data = '[1]' WHERE offset = 5",
        "UPDATE events SET data = x'00ff' WHERE offset = 5",
        "UPDATE events SET data = CAST(x'ff' AS TEXT) WHERE offset = 5",
        "UPDATE events SET time_ms = 1.5 WHERE offset = 5",
        "UPDATE events SET offset = 1000 WHERE offset = 40",
        "DELETE FROM events WHERE offset = 5",
        "DELETE FROM events WHERE offset = 40",
        "UPDATE rooms SET epoch = 'another'",
        "UPDATE rooms SET name = 'team:9'",
        "UPDATE rooms SET name = x'00ff'",
        "UPDATE rooms SET name = 'team 0'",
        "UPDATE rooms SET top = 'many'",
        "UPDATE rooms SET top = 12",
        "UPDATE rooms SET gone = 39, crc = 0",
        "UPDATE states SET state = x'00'",
        "UPDATE states SET offset = 41",
        "UPDATE states SET offset = 'x'",
        "INSERT INTO past_ids VALUES (1, 0, x'00', 1)",
    ],
)
async def test_whatever_is_wrong_with_a_rooms_rows_the_room_begins_anew(
    path: Path, damage: str, logged: Logged
) -> None:
    before = (await filled(path, rooms=1))["team:0"]
    async with keeper(path) as kept:
        await kept.record("team:0")
        kept.log.snapshot("team:0", 3, b"state", watched=False)
    change(path, damage)
    async with keeper(path) as kept:
        record = await kept.record("team:0")
        assert (record.top, record.events, record.state) == (0, (), None)
        assert record.epoch != before.epoch
        assert isinstance(only(await kept.append("new", room="team:0")), Event)
    assert names(logged) == ["journal_room_damaged"]
    async with keeper(path) as kept:
        assert await kept.ids("team:0") == ["new"]


def change(path: Path, sql: str) -> None:
    with sqlite3.connect(path) as other:
        other.execute(sql)
    other.close()


async def test_a_room_whose_history_the_journal_has_lost_is_refused_once_and_then_has_to_open_again(
    kept: Keeper,
) -> None:
    await kept.record()
    kept.log._backlog.opened[ROOM] = "another"
    assert "begins anew" in reason(await kept.append("a"))
    with pytest.raises(PostroomError, match="not open"):
        kept.log.append(ROOM, Append(a_draft(), named=True, reply_to=Ear(), tag=None), Ear())
    await kept.record()
    assert isinstance(only(await kept.append("b")), Event)


@pytest.mark.parametrize("table", ["events", "rooms", "meta", "states", "probe"])
async def test_a_journal_without_one_of_its_tables_is_set_aside(path: Path, table: str, logged: Logged) -> None:
    await filled(path)
    change(path, f"DROP TABLE {table}")
    async with keeper(path) as kept:
        await kept.record("team:0")
        assert isinstance(only(await kept.append("new", room="team:0")), Event)
    assert "journal_set_aside" in names(logged)


async def test_a_journal_that_was_emptied_beside_its_write_ahead_log_is_set_aside(path: Path, logged: Logged) -> None:
    """SQLite would take the empty file for a new one, and remove what stands beside it."""
    await filled(path)
    truncate(path, 0)
    path.with_name("journal.db-wal").write_bytes(b"the last events")
    async with keeper(path):
        pass
    assert names(logged) == ["journal_set_aside"]
    (aside,) = set_aside(path)
    assert aside.with_name(f"{aside.name}-wal").read_bytes() == b"the last events"


async def test_a_damaged_journal_that_cannot_be_set_aside_is_trouble(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(path)
    truncate(path, 50)

    def failing(self: place.Place) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(place.Place, "set_aside", failing)
    with pytest.raises(PostroomError, match="damaged and cannot be set aside: this user may not write"):
        async with keeper(path):
            pass
