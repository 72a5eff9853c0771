"""Place: where a journal's file lives. Makes it, locks it, notices when it is taken away, sets a damaged one aside."""

from __future__ import annotations

import contextlib
import os
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from . import schema
from .faults import DamagedError, JournalError
from .lock import Lock, identity, sync

__all__ = ["Found", "Place"]

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_KEPT_BYTES = 1024 * 1024
"""Up to this size SQLite leaves the files as they are; beyond it it may cut the write-ahead log back."""
_COPY = ".restoring"
_COMPANIONS = ("-wal", "-shm", "-journal")

Found = Literal["nothing", "journal", "garbage"]
"""What stands at the path: nothing, or an empty file; a journal of ours; what is no database at all."""


class Place:
    """A journal's file and what lies beside it: `-wal` and `-shm`, which are SQLite's, and `.lock`, which is ours.

    Args:
        path: Of the journal. Links in it are followed once, here.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self.lock = Lock(self._beside(".lock"))
        self._known: dict[Path, tuple[int, int]] = {}
        """The journal and its write-ahead log, as device and inode."""
        self._sizes: dict[Path, int] = {}
        """How large they were at least: SQLite shrinks neither below this while they are open."""

    def prepare(self) -> None:
        """Make the folder and take the lock, which is held until `leave`.

        Raises:
            JournalError: The path cannot be used, or another router uses it.
            OSError: The system refuses.
        """
        path = self.path
        folder = path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise JournalError(f"{folder} is not a folder: choose another path with --journal") from None
        if path.is_dir():
            raise JournalError(f"it is a folder: name a file in it, like --journal {path / 'journal.db'}")
        if path.exists() and not path.is_file():
            raise JournalError("it is no regular file: choose another path with --journal")
        self.lock.take()

    def find(self) -> Found:
        """Look at what stands at the path without changing it.

        Raises:
            JournalError: It is no journal, or one of a newer version.
            OSError: It cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                header = file.read(_HEADER_BYTES)
                self._refuse_other_names(file.fileno())
        except FileNotFoundError:
            header = b""
        if not header:
            # Where the file was emptied, what it lacks may stand beside it; SQLite would remove that.
            wal = self._beside("-wal")
            return "garbage" if wal.exists() and wal.stat().st_size else "nothing"
        if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
            if not self.lock.tokens:  # no journal of ours ever stood here
                raise JournalError("it is no journal of Postroom's: choose another path with --journal")
            return "garbage"
        version, application = struct.unpack_from(">I4xI", header, 60)
        if application != schema.APPLICATION_ID:
            raise JournalError("it is a database of another program: choose another path with --journal")
        if version > 1 + len(schema.MIGRATIONS):
            raise JournalError(schema.newer(version))
        return "journal"

    def _refuse_other_names(self, descriptor: int) -> None:
        """The lock and the write-ahead log stand beside one name: under another one a second router would find none."""
        if os.fstat(descriptor).st_nlink > 1:
            self._beside(_COPY).unlink(missing_ok=True)  # left over where the process was killed in `put_back`
            if os.fstat(descriptor).st_nlink > 1:
                raise JournalError(
                    "the file has a second name (a hard link), under which another router could open it: "
                    "delete that name, or make a copy with `cp` and use it"
                )

    def create(self) -> None:
        """Make an empty file that only this user may read."""
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def remember(self) -> None:
        """Take what stands at the path now for the open journal."""
        self._known = {path: identity(path.lstat()) for path in (self.path, self._beside("-wal"))}
        self._sizes = {}

    def taken_away(self) -> bool:
        """Tell whether the open journal, or its write-ahead log, has been deleted.

        Raises:
            DamagedError: One of them was cut short.
            JournalError: Something else stands in its place.
        """
        missing = False
        for path, known in self._known.items():
            try:
                found = os.lstat(path)  # a link to the file would be followed at the next start, unlike now
            except (FileNotFoundError, NotADirectoryError):
                missing = True
                continue
            if identity(found) != known:
                raise JournalError(
                    f"another file was put in the place of {path.name}: move it away, and the journal is put back"
                )
            size = min(found.st_size, _KEPT_BYTES)
            if size < self._sizes.get(path, 0):
                raise DamagedError(f"{path.name} was cut short by another program")
            self._sizes[path] = size
        return missing

    def put_back(self, copy: Path) -> None:
        """Let a whole copy of the journal take its place; never that of another file.

        Raises:
            JournalError: Something else stands there, or another router has begun a journal there.
            OSError: The system refuses.
        """
        self.lock.take()
        sync(copy)
        if self.path.exists():
            self.taken_away()  # raises if it is not ours
            os.replace(copy, self.path)
        else:
            os.link(copy, self.path)  # unlike a rename it fails where something has come to stand there
            copy.unlink()
        sync(self.path.parent)

    def clear_companions(self) -> None:
        """Remove the write-ahead log of a journal that was replaced by a copy of all it held."""
        for ending in _COMPANIONS:
            self._beside(ending).unlink(missing_ok=True)

    def spare(self) -> Path:
        """Return a path beside the journal where nothing stands, for a copy of it."""
        copy = self._beside(_COPY)
        copy.unlink(missing_ok=True)
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        return copy

    def set_aside(self) -> Path:
        """Rename the journal and what belongs to it, so that nothing is overwritten; return its new path."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        aside, number = self._beside(f".damaged-{stamp}"), 1
        while any(Path(f"{aside}{ending}").exists() for ending in ("", *_COMPANIONS)):
            number += 1
            aside = self._beside(f".damaged-{stamp}-{number}")
        for ending in ("", *_COMPANIONS):
            with contextlib.suppress(FileNotFoundError):
                os.rename(self._beside(ending), f"{aside}{ending}")
        self._known = {}
        return aside

    def leave(self) -> None:
        """Let go of the lock; where it guarded nothing of ours, leave nothing behind."""
        if not self.lock.tokens:
            self.lock.remove()
        self.lock.leave()

    def _beside(self, ending: str) -> Path:
        return self.path.with_name(self.path.name + ending)
