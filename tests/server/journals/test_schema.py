"""Journals of older versions open, and what brings them forward does so once, or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from actors.events import Event
from actors.record import PastId
from server.journals import schema
from server.journals.faults import JournalError
from tests.actors.making import TIME_MS, a_draft

from .keeping import keeper

VERSION_1 = Path(__file__).with_name("schema_1.sql")


def restore(path: Path) -> Path:
    """Make a journal as version 1 wrote it."""
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1.read_text(encoding="utf-8"))
    connection.close()
    path.with_name(f"{path.name}.lock").write_text("4242\n57f1c7d2ae0b9346\naa1bdd23691e 7\n", encoding="utf-8")
    return path


def content(path: Path) -> bytes:
    return path.read_bytes()


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    connection.close()
    return found


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(number)


async def test_a_journal_of_version_1_gives_back_everything(path: Path) -> None:
    async with keeper(restore(path)) as kept:
        assert set(kept.log.watched()) == {"session:42", "user:ann"}
        session = await kept.record("session:42")
        user = await kept.record("user:ann")
        broadcast = await kept.record("broadcast")
        (after,) = await kept.append("next", room="session:42")
    assert (session.epoch, session.top, session.gone, session.lost, session.state_offset) == (
        "aa1bdd23691e",
        7,
        5,
        3,
        6,
    )
    assert session.events == (
        Event(offset=4, prev=3, draft=a_draft("alert", event_id="a1", ack="required")),
        Event(
            offset=6, prev=5, draft=a_draft("session", {"status": "completed", "result": {"files": 3}}, event_id="s2")
        ),
        Event(offset=7, prev=6, draft=a_draft("app.thing", {"text": 'it\'s\u2028 "quoted"; ä 😀'}, event_id="c1")),
    )
    assert session.past_ids == tuple(PastId(*each, TIME_MS) for each in (("s1", 1), ("p1", 2), ("p2", 3), ("n1", 5)))
    assert session.state is not None
    assert b'"alerts":{"a1":{"severity":"critical"' in session.state
    assert (user.epoch, user.top) == ("fe613a423f63", 3)
    assert user.events == (
        Event(offset=1, prev=0, draft=a_draft("notification", event_id="made")),
        Event(
            offset=3,
            prev=2,
            draft=a_draft("alert", {"severity": "low", "title": "look"}, event_id="a2", ack="required"),
        ),
    )
    assert broadcast.events == (
        Event(offset=1, prev=0, draft=a_draft("system", {"status": "degraded", "component": "api"}, event_id="y1")),
    )
    assert isinstance(after, Event)
    assert (after.offset, after.prev) == (8, 7)


async def test_a_new_journal_has_the_tables_of_the_one_that_was_kept(tmp_path: Path) -> None:
    """Version 1 does not change any more: what is new comes as a migration."""
    async with keeper(tmp_path / "new" / "journal.db"):
        pass
    kept = restore(tmp_path / "kept" / "journal.db")
    assert definitions(tmp_path / "new" / "journal.db") == definitions(kept)
    assert facts(tmp_path / "new" / "journal.db") == facts(kept)


def facts(path: Path) -> set[str]:
    """Return the names of what a journal says of itself."""
    connection = sqlite3.connect(path)
    found = {name for (name,) in connection.execute("SELECT name FROM meta")}
    connection.close()
    return found


def definitions(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")]
    connection.close()
    return found


async def test_a_migration_is_applied_once_and_keeps_what_is_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restore(path)
    monkeypatch.setattr(schema, "MIGRATIONS", ("CREATE TABLE notes (text); INSERT INTO notes VALUES ('one')",))
    for _ in range(2):
        async with keeper(path) as kept:
            assert (await kept.record("session:42")).top == 7
    assert version(path) == 2
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT text FROM notes").fetchall() == [("one",)]
    connection.close()


async def test_migrations_are_applied_in_their_order_to_new_journals_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", ("CREATE TABLE notes (text)", "ALTER TABLE notes ADD COLUMN time_ms"))
    async with keeper(path):
        pass
    assert version(path) == 3
    assert "notes" in tables(path)


async def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restore(path)
    before = content(path)
    monkeypatch.setattr(schema, "MIGRATIONS", ("CREATE TABLE notes (text); INSERT INTO missing VALUES (1)",))
    with pytest.raises(JournalError, match=r"from version 1 to 2 \(no such table: missing\); it was left as it is"):
        async with keeper(path):
            pass
    assert content(path) == before
    monkeypatch.undo()
    async with keeper(path) as kept:
        assert (await kept.record("session:42")).top == 7
