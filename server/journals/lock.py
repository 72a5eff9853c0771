"""Lock: the file beside a journal. It says who has the journal, and what was last known of it: tokens and a mark.

What it remembers goes in and out through its attributes; every write is one, within one sector, so that a crash leaves
the old text or the new one.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path

from .faults import JournalError

__all__ = ["Lock", "identity", "sync"]

_BYTES = 256
_TOKEN = re.compile(r"[0-9a-f]{16}")
_MARK = re.compile(r"([0-9a-f]{12}) ([1-9][0-9]{0,18})")


class Lock:
    """A journal's lock.

    It lies in a file of its own, three lines of text: the process that has it, tokens, and a mark. `life` says what the
    last two are for.

    Args:
        path: Of the lock's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: int | None = None
        self._named = False
        """Whether a power cut leaves the file's name."""
        self.tokens: tuple[str, ...] = ()
        """The journal holds one of them; none: nothing is known of it."""
        self.mark: tuple[str, int] | None = None
        """A room's epoch, and an offset that it gave out in the last commit or shortly before; None: not known."""

    def take(self) -> None:
        """Take the lock, and read what it says; where it was deleted since, make it again with what it said.

        Raises:
            JournalError: Another router has it.
            OSError: The system refuses.
        """
        path = self._path
        if self._held is not None:
            with contextlib.suppress(FileNotFoundError):
                if identity(os.stat(path)) == identity(os.fstat(self._held)):
                    return
        lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            _lock_file(lock)
            if self._held is None:
                self._read(lock)
            os.ftruncate(lock, _BYTES)
            self._write(lock)
        except BlockingIOError:
            holder = os.pread(lock, _BYTES, 0).decode(errors="replace").partition("\n")[0].strip(" \0") or "unknown"
            os.close(lock)
            raise JournalError(
                f"it is in use by another router (process {holder}): stop it, or give this one another file with "
                "--journal"
            ) from None
        except BaseException:
            os.close(lock)
            raise
        self.leave()
        self._held, self._named = lock, False

    def keep(self, tokens: tuple[str, ...], mark: tuple[str, int] | None) -> None:
        """Remember this; when it returns, over a power cut too. The lock is held.

        Raises:
            OSError: It is not certain whether the file says this, or what it said before.
        """
        self.tokens, self.mark = tokens, mark
        assert self._held is not None
        self._write(self._held)
        os.fsync(self._held)
        if not self._named:
            sync(self._path.parent)
            self._named = True

    def note(self, mark: tuple[str, int]) -> None:
        """Remember a mark; it outlives the process, and a power cut only some seconds later."""
        self.mark = mark
        if self._held is not None:
            with contextlib.suppress(OSError):  # a mark that stays behind is good, only older
                self._write(self._held)

    def leave(self) -> None:
        """Let go of it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def remove(self) -> None:
        """Delete the file, if it is held: there is nothing to remember."""
        if self._held is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _read(self, lock: int) -> None:
        try:
            text = os.pread(lock, _BYTES, 0).decode(errors="replace")
        except OSError:
            text = ""
        _, tokens, mark, *_ = [*text.split("\n"), "", "", ""]
        self.tokens = tuple(_TOKEN.findall(tokens))
        found = _MARK.match(mark)
        self.mark = (found[1], int(found[2])) if found is not None else None

    def _write(self, lock: int) -> None:
        mark = "" if self.mark is None else f"{self.mark[0]} {self.mark[1]}"
        text = f"{os.getpid()}\n{' '.join(self.tokens)}\n{mark}"
        os.pwrite(lock, text.ljust(_BYTES - 1).encode() + b"\n", 0)


def identity(status: os.stat_result) -> tuple[int, int]:
    """Return what tells a file from another of the same name: device and inode."""
    return status.st_dev, status.st_ino


def sync(path: Path) -> None:
    """Have the disk keep a file's data, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock_file(descriptor: int) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
