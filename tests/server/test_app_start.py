"""Router.start: what a start that fails leaves behind."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pykka
import pytest

from server.app import Router
from server.settings import Settings, SettingsError
from server.supervisor_record import SupervisorRecord


async def test_a_start_that_fails_on_its_keys_leaves_no_journal_running(tmp_path: Path) -> None:
    """A key file may be damaged after the settings were checked; the journal's thread would keep the process alive."""
    key_file = tmp_path / "key.pem"
    key_file.write_text("no key")
    before = set(threading.enumerate())
    router = Router(Settings(journal=str(tmp_path / "journal.db"), key_file=key_file))
    with pytest.raises(SettingsError):
        await router.start()
    assert set(threading.enumerate()) == before
    assert not (tmp_path / "journal.db").exists()


async def test_a_start_that_is_broken_off_while_the_record_is_read_stops_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large record takes time to read, and SIGTERM may come meanwhile."""
    reading = asyncio.Event()

    async def read(_record: SupervisorRecord, _node: str | None = None) -> None:
        reading.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(SupervisorRecord, "everything", read)
    starting = asyncio.ensure_future(Router(Settings(journal=str(tmp_path / "journal.db"))).start())
    async with asyncio.timeout(10):
        await reading.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    assert [ref for ref in pykka.ActorRegistry.get_all() if ref.is_alive()] == []
