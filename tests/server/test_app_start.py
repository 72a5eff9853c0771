"""Router.start: what a start that fails leaves behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from server.app import Router
from server.settings import Settings, SettingsError


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
