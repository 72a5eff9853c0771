"""Where a journal may lie, who may have it, and what is told to whoever tries something else."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from actors.errors import Refusal
from actors.events import Event
from server.journals import schema
from server.journals.faults import JournalError
from server.journals.place import Place

from .keeping import keeper


async def refusal(path: Path) -> str:
    """Return why a log does not start here."""
    with pytest.raises(JournalError) as raised:
        async with keeper(path):
            pass
    assert str(raised.value).startswith(f"journal {path}: ")
    return str(raised.value)


def make(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def content(path: Path) -> bytes:
    return path.read_bytes()


def lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def foreign_database(path: Path, *, mode: str = "DELETE") -> bytes:
    """Make another program's database."""
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as other:
        other.execute(f"PRAGMA journal_mode = {mode}").fetchall()
        other.execute("CREATE TABLE notes (text)")
    other.close()
    return path.read_bytes()


async def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    assert f"name a file in it, like --journal {tmp_path}/journal.db" in await refusal(tmp_path)


async def test_a_folder_that_is_a_file_holds_no_journal(tmp_path: Path) -> None:
    make(tmp_path / "file")
    assert f"{tmp_path}/file is not a folder" in await refusal(tmp_path / "file" / "journal.db")
    assert f"{tmp_path}/file/folder is not a folder" in await refusal(tmp_path / "file" / "folder" / "journal.db")


async def test_a_device_is_no_journal() -> None:
    assert "no regular file" in await refusal(Path("/dev/null"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_this_user_may_not_write_to_holds_no_journal(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o500)
    assert "this user may not write there" in await refusal(tmp_path / "journal.db")


async def test_a_name_that_is_too_long_is_told_so(tmp_path: Path) -> None:
    assert "File name too long" in await refusal(tmp_path / ("x" * 300))


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
async def test_another_programs_database_is_refused_and_not_touched(path: Path, mode: str) -> None:
    before = foreign_database(path, mode=mode)
    assert "it is a database of another program: choose another path" in await refusal(path)
    assert content(path) == before
    assert {each.name for each in path.parent.iterdir()} == {"journal.db"}


async def test_a_file_that_never_was_a_journal_is_refused_and_not_touched(path: Path) -> None:
    """However often it is tried."""
    make(path, b"my notes\n")
    for _ in range(2):
        assert "it is no journal of Postroom's" in await refusal(path)
        assert content(path) == b"my notes\n"
        assert [each.name for each in path.parent.iterdir()] == [path.name]


async def test_a_journal_with_a_second_name_is_refused(path: Path) -> None:
    """Under that name a second router would find neither its lock nor what was not checkpointed."""
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        other = path.with_name("other.db")
        os.link(path, other)
        assert "the file has a second name (a hard link)" in await refusal(other)
    other.unlink()
    async with keeper(path) as kept:
        assert await kept.ids() == ["a"]


async def test_a_second_name_that_is_left_of_a_copy_which_was_put_back_is_deleted(path: Path) -> None:
    """Where the process was killed as it put the journal back."""
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
    left = path.with_name(f"{path.name}.restoring")
    os.link(path, left)
    async with keeper(path) as kept:
        assert await kept.ids() == ["a"]
    assert not left.exists()


@pytest.mark.parametrize("name", ["a b.db", "what?mode=memory", "50%20#1", "ä.db"])
async def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    for expected in ([], ["a"]):
        async with keeper(tmp_path / name) as kept:
            assert await kept.ids() == expected
            await kept.append("a")
    assert set(os.listdir(tmp_path)) == {name, f"{name}.lock"}


async def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    make(path)
    async with keeper(path) as kept:
        await kept.record()


async def test_a_journal_of_a_newer_postroom_is_refused_and_not_touched(path: Path) -> None:
    async with keeper(path):
        pass
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA journal_mode = DELETE").fetchall()
        other.execute("PRAGMA user_version = 99")
    other.close()
    before = content(path)
    assert "a newer Postroom wrote it (version 99; this one reads up to 1): upgrade Postroom" in await refusal(path)
    assert content(path) == before


async def test_two_routers_on_one_journal_the_second_is_refused(path: Path) -> None:
    async with keeper(path) as kept:
        expected = f"it is in use by another router (process {os.getpid()}): stop it, or give this one another file"
        assert expected in await refusal(path)
        await kept.record()
        await kept.append("a")
    async with keeper(path) as kept:
        assert await kept.ids() == ["a"]


async def test_a_lock_that_is_deleted_lets_no_second_router_in_once_an_event_was_kept(path: Path) -> None:
    async with keeper(path) as kept:
        await kept.record()
        lock_of(path).unlink()
        await kept.append("a")
        assert "it is in use by another router" in await refusal(path)
        await kept.append("b")
    async with keeper(path) as kept:
        assert await kept.ids() == ["a", "b"]


async def test_a_router_whose_lock_was_deleted_writes_nothing_beside_a_second_one(path: Path) -> None:
    """It refuses events as long as the other one is there, and then goes on from what that one has left."""
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        lock_of(path).unlink()
        async with keeper(path) as second:
            assert await second.ids() == ["a"]
            (refused,) = await kept.append("b")
            assert isinstance(refused, Refusal)
            assert "it is in use by another router" in refused.message
            await second.append("c")
            await kept.probe()
            assert kept.log.trouble is not None
        await kept.probe()
        assert kept.log.trouble is None
        assert await kept.ids() == ["a", "c"]
        (event,) = await kept.append("d")
        assert isinstance(event, Event)
        assert event.offset == 3


async def test_the_lock_ends_with_the_process_that_held_it(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from server.journals.place import Place;"
        "Place(Path(sys.argv[1])).prepare(); print('held', flush=True); sys.stdin.read(); os._exit(1)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    assert f"(process {process.pid})" in await refusal(path)
    process.kill()
    await process.communicate()
    async with keeper(path):
        pass


async def test_a_link_leads_to_the_journal(tmp_path: Path) -> None:
    """The lock and the write-ahead log lie where the journal is, so that the other name is the same journal."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "folder" / "journal.db")
    async with keeper(tmp_path / "link.db"):
        assert "in use by another router" in await refusal(tmp_path / "folder" / "journal.db")


def test_nothing_is_overwritten_when_journals_are_set_aside(path: Path) -> None:
    place = Place(path)
    aside = []
    for number in range(3):
        make(path, b"%d" % number)
        make(path.with_name("journal.db-wal"), b"wal %d" % number)
        aside.append(place.set_aside())
    assert [each.read_bytes() for each in aside] == [b"0", b"1", b"2"]
    assert [each.with_name(f"{each.name}-wal").read_bytes() for each in aside] == [b"wal 0", b"wal 1", b"wal 2"]


def test_the_header_says_whose_the_file_is(path: Path) -> None:
    """Found in the file itself: whoever opens a database with SQLite may change it."""
    path.parent.mkdir()
    connection = sqlite3.connect(path, isolation_level=None)
    schema.prepare(connection)
    connection.close()
    assert path.read_bytes()[68:72] == b"Post"
    assert Place(path).find() == "journal"
