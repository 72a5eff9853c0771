"""Disk: what is left of a folder after a power cut. The files before and the shim's trace in; files out.

A file keeps what was synced. Of what was written since, any part may be there: whole writes or single sectors, the
first ones or any. The same goes for how long it is. Names that were made, changed or removed are kept up to any one of
them, in their order, as a file system with a journal of its own does; those before a sync of the folder are there.

What SQLite maps into memory (`-shm`) holds nothing after a cut: it is gone, or full of anything.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from .preload import Kind

__all__ = ["Change", "Disk", "read_trace"]

_RECORD = struct.Struct("<BQQIII")
_SECTORS = (512, 4096)
_SHM_BYTES = 32768


class Change(NamedTuple):
    """One record of a trace."""

    kind: Kind
    inode: int
    offset: int
    name: str
    name_2: str
    data: bytes


def read_trace(trace: bytes) -> Iterator[Change]:
    """Read what the shim wrote down; the last record may be cut off."""
    place = 0
    while place + _RECORD.size <= len(trace):
        kind, inode, offset, name, name_2, data = _RECORD.unpack_from(trace, place)
        place += _RECORD.size
        parts = []
        for size in (name, name_2, data):
            parts.append(trace[place : place + size])
            place += size
        if place > len(trace):
            return
        yield Change(Kind(kind), inode, offset, parts[0].decode(), parts[1].decode(), parts[2])


class _File:
    """What of a file is on the disk, and what is not yet."""

    def __init__(self, synced: bytes = b"") -> None:
        self.synced = bytearray(synced)
        self.unsynced: list[Change] = []

    def sync(self) -> None:
        for change in self.unsynced:
            _apply(self.synced, change)
        self.unsynced.clear()

    def after_cut(self, source: random.Random) -> bytes:
        content = bytearray(self.synced)
        sector = source.choice(_SECTORS)
        for change, whole in self._left(source):
            for piece in [change] if whole else _sectors(change, sector):
                if whole or source.random() < 0.5:
                    _apply(content, piece)
        return bytes(content)

    def _left(self, source: random.Random) -> Iterator[tuple[Change, bool]]:
        """Choose what of the unsynced changes is left, and whether as a whole."""
        how = source.choice(("nothing", "all", "the first", "any"))
        if how == "all":
            yield from ((change, True) for change in self.unsynced)
        elif how == "the first":
            count = source.randint(0, len(self.unsynced))
            yield from ((change, number < count) for number, change in enumerate(self.unsynced[:count], 1))
        elif how == "any":
            yield from ((change, source.random() < 0.5) for change in self.unsynced if source.random() < 0.7)


class Disk:
    """A folder on a disk that forgets what was not synced.

    Args:
        folder: Without folders in it. What is in it now is on the disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[int, _File] = {}
        """By inode."""
        self._now: dict[str, _File] = {}
        self._synced: dict[str, _File] = {}
        self._unsynced: list[dict[str, _File]] = []
        """What names there were after each change since the folder was synced."""
        self._begin()

    def follow(self, trace: Iterable[Change]) -> None:
        """Take what a process did."""
        for change in trace:
            _follow(change, self._files, self._now)
            if change.kind is Kind.SYNC_FOLDER:
                self._synced = dict(self._now)
                self._unsynced.clear()
            elif change.name:
                self._unsynced.append(dict(self._now))

    def cut(self, source: random.Random) -> None:
        """Leave in the folder what is left after a power cut."""
        left = source.choice([self._synced, *self._unsynced[-1:], source.choice([self._synced, *self._unsynced])])
        contents = {file: file.after_cut(source) for file in dict.fromkeys(left.values())}  # one may have two names
        for path in self.folder.iterdir():
            path.unlink()
        for name, file in left.items():
            content = _shm(source) if name.endswith("-shm") else contents[file]
            if content is not None:
                (self.folder / name).write_bytes(content)
        self._begin()

    def _begin(self) -> None:
        self._files.clear()
        self._now.clear()
        for path in self.folder.iterdir():
            self._now[path.name] = self._files[path.stat().st_ino] = _File(path.read_bytes())
        self._synced = dict(self._now)
        self._unsynced.clear()


def _follow(change: Change, files: dict[int, _File], now: dict[str, _File]) -> None:
    if change.kind is Kind.CREATE:
        now[change.name] = files[change.inode] = _File()
    elif change.kind is Kind.UNLINK:
        now.pop(change.name, None)
    elif change.kind is Kind.RENAME:
        now[change.name_2] = now.pop(change.name)
    elif change.kind is Kind.LINK:
        now[change.name_2] = now[change.name]
    elif change.kind in (Kind.WRITE, Kind.TRUNCATE):
        files[change.inode].unsynced.append(change)
    elif change.kind is Kind.SYNC:
        files[change.inode].sync()


def _apply(content: bytearray, change: Change) -> None:
    if change.kind is Kind.TRUNCATE:
        del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


def _sectors(write: Change, sector: int) -> list[Change]:
    """Cut a write where one sector ends and the next begins: a sector is written whole or not."""
    if write.kind is not Kind.WRITE:
        return [write]
    end = write.offset + len(write.data)
    cuts = [write.offset, *range((write.offset // sector + 1) * sector, end, sector), end]
    return [
        write._replace(offset=first, data=write.data[first - write.offset : last - write.offset])
        for first, last in pairwise(cuts)
    ]


def _shm(source: random.Random) -> bytes | None:
    return source.choice((None, b"", bytes(_SHM_BYTES), source.randbytes(_SHM_BYTES)))
