"""Lives of a journal's file: an open store and its lock in; out whether the file is the one that was there last.

A file that went back in time, because a copy was put in its place, would give out offsets a second time under the same
epochs. It is told from the file that was there last by a token, which the journal and its lock both hold: another one
from each start, and another one from each stop. At any moment, and so after a crash at any moment, the journal's token
is among those of its lock:

    the lock says    A     A T     A T     T                T     T C     T C     C
    the journal      A     A       T       T   ... runs ... T     T       C       C

A copy that was made in this life and put back after a crash has the right token. It lacks the event that the lock has a
mark of.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3

from .faults import JournalError, is_trouble
from .lock import Lock
from .store import Store

__all__ = ["begin", "end"]


def begin(store: Store, lock: Lock) -> str | None:
    """Begin a life, before anything is written to the journal; where the file is a copy, under new epochs.

    Returns:
        Why it was taken for a copy; None: it is the file that was there last, or a new one.

    Raises:
        sqlite3.Error: It cannot be written where it has to be, or it is damaged.
    """
    copy = _copied(store, lock)
    if copy is None and store.life:
        if store.damaged:
            lock.mark = None  # the row that it is of may be the damaged one
        _renew(store, lock)
        return None
    token = secrets.token_hex(8)
    with contextlib.suppress(OSError):  # at worst it is taken for a copy at the next start as well
        lock.keep((token,), None)
    store.sign(token, renew_epochs=copy is not None)
    return copy


def end(store: Store, lock: Lock) -> None:
    """End a life: whatever was copied from the journal until now is another file from here on."""
    _renew(store, lock)


def _copied(store: Store, lock: Lock) -> str | None:
    if not store.life:
        return None
    if not lock.tokens:
        return "nothing is known of it: its .lock file is missing or cannot be read"
    if store.life not in lock.tokens:
        return "it is not the file that was there last"
    if lock.mark is not None and not store.damaged and not store.reaches(*lock.mark):
        return "an event that was kept is not in it"
    return None


def _renew(store: Store, lock: Lock) -> None:
    """Exchange the token; where that fails half-way, journal and lock still have one in common."""
    token = secrets.token_hex(8)
    try:
        lock.take()
        lock.keep((store.life, token), lock.mark)
        store.sign(token)
        lock.keep((token,), lock.mark)
    except (OSError, sqlite3.Error, JournalError) as error:
        if not is_trouble(error):
            raise
