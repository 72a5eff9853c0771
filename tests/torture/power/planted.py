"""Bugs that are planted into the journal, to see that the power cuts find them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from server.journals import writer
from server.journals.store import Store

__all__ = ["PLANTS", "plant"]


class _NormalStore(Store):
    """Does not wait for the disk at each commit."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._db.execute("PRAGMA synchronous = NORMAL")


class _EarlyConnection(sqlite3.Connection):
    """Says that a transaction is committed, and commits it when the next one begins."""

    _owed = False

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            self._owed = True
            return super().execute("SELECT 1")
        if sql.startswith("BEGIN") and self._owed:
            super().execute("COMMIT")
        self._owed = False if sql.startswith("BEGIN") else self._owed
        return super().execute(sql, *values)


def _connect_early(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, factory=_EarlyConnection)


PLANTS = {
    "normal": "the journal is written with `synchronous = NORMAL`",
    "early": "an event is acknowledged before its transaction is committed",
}


def plant(name: str | None) -> None:
    """Make this process's journals wrong; None: leave them right."""
    if name == "normal":
        writer.Store = _NormalStore  # type: ignore[misc]  # that is the bug
    elif name == "early":
        writer.connect = _connect_early
