"""What how-to/quarantine.md and journal-trouble.md show for an operator in trouble; the test makes the trouble."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ..conftest import RouterProcess, running_router
from ..integration.services import http_service
from ..integration.test_quarantine import Bug, step
from .commands import Commands, adapted
from .taken import taken


async def test_an_operator_sees_to_a_message_in_quarantine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command does what the page says of it, and a line is as it shows."""
    look, line, retry, drop = taken("how-to/quarantine.md", "test_an_operator_sees_to_a_message_in_quarantine")
    bug = Bug(monkeypatch, 3, 4)
    async with running_router(dev=True) as router, http_service(router) as service:
        await service.post([step(3), step(4)])
        with Commands(tmp_path, {"POSTROOM_API_URL": router.addresses.api_url}) as terminal:

            async def run(command: str) -> str:
                return await asyncio.to_thread(terminal.run, command)

            listed = (await run(look)).splitlines()
            shown = [re.sub(r"^q-\w+ [\d:T-]+ ", "", each) for each in (line.strip(), listed[-1])]
            assert shown[0] == shown[1]
            later, first = (re.match(r"q-\w+", each)[0] for each in listed)  # type: ignore[index]  # a line has one
            bug.mended = True
            assert "doc:1" in await run(adapted(retry, {"q-1f0c9a2b": first}))
            assert "is dropped" in await run(adapted(drop, {"q-1f0c9a2b": later}))
            assert "nothing is in quarantine" in await run(look)


def test_what_can_be_read_of_a_damaged_journal_is_printed(
    tmp_path: Path, start_router: Callable[..., RouterProcess]
) -> None:
    """Of a file in which one page is overwritten and one is not."""
    (script,) = taken("how-to/journal-trouble.md", "test_what_can_be_read_of_a_damaged_journal_is_printed")
    (name,) = re.findall(r"journal\.db\.damaged-\w+", script)
    journal = tmp_path / "journal.db"
    router = start_router("--dev", "--journal", str(journal))
    with Commands(tmp_path, {"POSTROOM_API_URL": router.api_url}) as terminal:
        terminal.run("""postroom publish session:1 notification '{"level": "info", "message": "saved"}'""")
        router.stop()
        damage(journal, "sqlite_autoindex_rooms_1")
        journal.rename(tmp_path / name)
        (tmp_path / "script.py").write_text(script)
        printed = terminal.run("python script.py")
    assert "the rest cannot be read: database disk image is malformed" in printed
    assert '2 1 notification {"level":"info","message":"saved"}' in printed


def damage(journal: Path, name: str) -> None:
    """Overwrite where this table or index begins."""
    with closing(sqlite3.connect(journal)) as database:
        ((page,),) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,))
        ((size,),) = database.execute("PRAGMA page_size")
    with journal.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
