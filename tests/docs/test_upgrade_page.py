"""What how-to/upgrade.md says of going back: the journal is made one of a later version, and a router started on it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from server.journals.schema import MIGRATIONS, prepare

from .taken import taken


def test_an_older_router_leaves_a_newer_journal_alone(tmp_path: Path) -> None:
    """It says what the page shows, and the file is as it was."""
    (shown,) = taken("how-to/upgrade.md", "test_an_older_router_leaves_a_newer_journal_alone")
    journal = tmp_path / "postroom-data" / "journal.db"
    journal.parent.mkdir()
    newest = 1 + len(MIGRATIONS)
    with closing(sqlite3.connect(journal)) as database:
        prepare(database)
        database.execute(f"PRAGMA user_version = {newest + 1}")
    before = journal.read_bytes()
    command = [sys.executable, "-m", "server.cli", "serve", "--dev", "--port", "0", "--api-port", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert shown.strip().replace("version 2", f"version {newest + 1}").replace("to 1", f"to {newest}") in done.stderr
    assert journal.read_bytes() == before
