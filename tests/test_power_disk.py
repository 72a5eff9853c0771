"""The disk under the power cuts: what was synced is there afterwards, and of the rest any part may be."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from .torture.power.disk import Change, Disk
from .torture.power.preload import Kind

SEEDS = 200
OLD, NEW = b"o" * 4096, b"n" * 4096


def change(kind: Kind, inode: int = 0, offset: int = 0, name: str = "", name_2: str = "", data: bytes = b"") -> Change:
    return Change(kind, inode, offset, name, name_2, data)


@pytest.fixture
def left(tmp_path: Path) -> Callable[..., set[tuple[tuple[str, bytes], ...]]]:
    """Say what folders are left of one with the file `a` after these changes and a cut, whatever the seed."""

    def left(*changes: Change) -> set[tuple[tuple[str, bytes], ...]]:
        found = set()
        for seed in range(SEEDS):
            for path in tmp_path.iterdir():
                path.unlink()
            (tmp_path / "a").write_bytes(OLD)
            disk = Disk(tmp_path)
            inode = (tmp_path / "a").stat().st_ino
            disk.follow(each._replace(inode=inode) if each.inode == 1 else each for each in changes)
            disk.cut(random.Random(seed))
            found.add(tuple(sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())))
        return found

    return left


Left = Callable[..., set[tuple[tuple[str, bytes], ...]]]


def test_what_was_synced_is_there(left: Left) -> None:
    assert left(change(Kind.WRITE, 1, data=NEW), change(Kind.SYNC, 1)) == {(("a", NEW),)}


def test_a_write_that_was_not_synced_is_there_or_not_or_torn_between_sectors(left: Left) -> None:
    contents = {files[0][1] for files in left(change(Kind.WRITE, 1, data=NEW))}
    assert {OLD, NEW} < contents
    for content in contents:
        sectors = {content[start : start + 512] for start in range(0, 4096, 512)}
        assert sectors <= {OLD[:512], NEW[:512]}


def test_what_was_written_after_the_sync_of_something_else_may_be_gone(left: Left) -> None:
    found = left(change(Kind.CREATE, 2, name="b"), change(Kind.WRITE, 1, data=NEW), change(Kind.SYNC, 2))
    assert (("a", OLD),) in found


def test_a_new_name_is_certain_only_when_its_folder_was_synced(left: Left) -> None:
    made = (change(Kind.CREATE, 2, name="b"), change(Kind.WRITE, 2, data=NEW), change(Kind.SYNC, 2))
    assert left(*made) == {(("a", OLD),), (("a", OLD), ("b", NEW))}
    assert left(*made, change(Kind.SYNC_FOLDER)) == {(("a", OLD), ("b", NEW))}


def test_names_change_in_their_order(left: Left) -> None:
    renamed = (change(Kind.RENAME, name="a", name_2="b"), change(Kind.RENAME, name="b", name_2="c"))
    assert left(*renamed) == {((name, OLD),) for name in "abc"}


def test_a_file_that_was_cut_short_may_be_as_long_as_before(left: Left) -> None:
    assert left(change(Kind.TRUNCATE, 1, 10)) == {(("a", OLD),), (("a", OLD[:10]),)}
