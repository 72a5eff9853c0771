"""The tables of a journal, and how older ones become today's: a connection in, a journal of this version out."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence

from .faults import JournalError, is_damage

__all__ = ["APPLICATION_ID", "MIGRATIONS", "SCHEMA", "newer", "prepare"]

APPLICATION_ID = 0x506F7374
"""Says in a database file's header that it is a journal: 'Post'."""

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    epoch TEXT NOT NULL,
    top INTEGER NOT NULL,       -- offset of the last event
    last INTEGER NOT NULL,      -- offset of the last event that was kept
    gone INTEGER NOT NULL,      -- up to here events were trimmed
    lost INTEGER NOT NULL,      -- up to here one of those mattered
    watched INTEGER NOT NULL,   -- it has to be opened at the start
    crc INTEGER NOT NULL,
    used_ms INTEGER NOT NULL
);
CREATE TABLE states (
    room INTEGER PRIMARY KEY,
    offset INTEGER NOT NULL,
    alerts TEXT,                -- JSON list of the offsets of unacknowledged alerts; NULL: unknown
    crc INTEGER NOT NULL,
    state BLOB NOT NULL         -- last, because it may be large
);
CREATE TABLE events (
    room INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    follows INTEGER NOT NULL,   -- offset of the event that was kept before it
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    key TEXT,
    delivery TEXT NOT NULL,
    ack INTEGER NOT NULL,
    named INTEGER NOT NULL,     -- the publisher gave the id
    data TEXT NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (room, offset)
) WITHOUT ROWID;
CREATE TABLE past_ids (
    room INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    id TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    PRIMARY KEY (room, offset)
) WITHOUT ROWID;
CREATE TABLE probe (id INTEGER PRIMARY KEY, data BLOB);
"""
"""Version 1. It stays as it is: what comes later is a migration."""

MIGRATIONS: Sequence[str] = ()
"""Scripts, each of which makes the next version out of the one before; the first makes version 2."""


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty file, or bring those of an older version forward.

    Raises:
        JournalError: A newer version wrote the file, or a migration failed; the file is as it was.
        sqlite3.Error: It cannot be read or written.
    """
    newest = 1 + len(MIGRATIONS)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if version > newest:
        raise JournalError(newer(version))
    if not tables:
        ident = secrets.token_hex(6)
        script = f"{SCHEMA} INSERT INTO meta VALUES ('journal', '{ident}'), ('epochs', '{ident}'), ('life', '');"
        _run(connection, f"PRAGMA application_id = {APPLICATION_ID};{script}", 1)
        version = 1
    for number in range(version + 1, newest + 1):
        try:
            _run(connection, MIGRATIONS[number - 2], number)
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if is_damage(error):
                raise
            raise JournalError(
                f"it cannot be brought from version {number - 1} to {number} ({error}); it was left as it is"
            ) from error


def newer(version: int) -> str:
    """Say that a file is from the future."""
    return (
        f"a newer Postroom wrote it (version {version}; this one reads up to {1 + len(MIGRATIONS)}): upgrade Postroom, "
        "or use another file with --journal"
    )


def _run(connection: sqlite3.Connection, script: str, version: int) -> None:
    # executescript() commits whatever is open before it begins: the transaction has to be in the script.
    connection.executescript(f"BEGIN IMMEDIATE;{script};PRAGMA user_version = {version};COMMIT;")
