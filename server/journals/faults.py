"""What can go wrong with a journal's file, in words that say what to do: errors of SQLite and of the system in."""

from __future__ import annotations

import errno
import sqlite3

from actors.errors import PostroomError

__all__ = ["DamagedError", "JournalError", "is_damage", "is_in_doubt", "is_trouble", "reason_of"]


class JournalError(PostroomError):
    """A journal cannot be used; `str()` says why and what to do."""


class DamagedError(Exception):
    """What was read back from a journal is not what was written."""


_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_NOT_SYNCED = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})

_FULL = "its disk is full: free some space"
_READ_ONLY = "its file or file system is read-only: make it writable again"
_MAY_NOT = (
    "this user may not write there: change the owner or mode of the file and its folder, "
    "or choose another file with --journal"
)
_REASONS = {
    sqlite3.SQLITE_BUSY: "another process has locked it: close the program that has it open",
    sqlite3.SQLITE_LOCKED: "another process has locked it: close the program that has it open",
    sqlite3.SQLITE_PROTOCOL: "another process has locked it: close the program that has it open",
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened: its folder has to be there, and writable for this user",
    sqlite3.SQLITE_PERM: "this user may not write to its file: change its owner or mode",
    sqlite3.SQLITE_AUTH: "this user may not write to its file: change its owner or mode",
    sqlite3.SQLITE_NOMEM: "there is no memory left for it",
}
_SYSTEM_REASONS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "this user's disk quota is used up: free some space",
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _MAY_NOT,
    errno.EPERM: _MAY_NOT,
    errno.ENOENT: "its folder is gone: put it back",
}


def is_damage(error: BaseException) -> bool:
    """Tell whether an error means that the file as a whole is no sound database any more."""
    return isinstance(error, DamagedError) or (isinstance(error, sqlite3.Error) and _code(error) in _DAMAGE)


def is_trouble(error: BaseException) -> bool:
    """Tell whether an error comes from outside and may pass, as opposed to a bug."""
    if isinstance(error, JournalError):
        return True
    if isinstance(error, sqlite3.Error):
        return _code(error) in _REASONS or _code(error) == sqlite3.SQLITE_IOERR
    return isinstance(error, OSError | MemoryError)


def is_in_doubt(error: BaseException) -> bool:
    """Tell whether a commit that failed with this may be in the file after a crash: it was written, not synced."""
    return getattr(error, "sqlite_errorcode", None) in _NOT_SYNCED


def reason_of(error: BaseException) -> str:
    """Say what is wrong and what to do, in words that follow the journal's name and a colon."""
    if isinstance(error, JournalError):
        return str(error)
    if isinstance(error, sqlite3.Error):
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHMSIZE:
            return _FULL  # what lies beside the file could not be made as large as it has to be
        reason = _REASONS.get(_code(error))
        if reason is not None:
            return reason
        if _code(error) == sqlite3.SQLITE_IOERR:
            return f"its disk reports an error ({error.sqlite_errorname}): look into the system's log"
    if isinstance(error, OSError):
        reason = _SYSTEM_REASONS.get(error.errno or 0)
        return reason or f"the system says {error.strerror or error}"
    return f"{type(error).__name__}: {error}"


def _code(error: sqlite3.Error) -> int:
    # Errors of the sqlite3 module itself have none. The low byte is the code without its details.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
