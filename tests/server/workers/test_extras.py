"""What several workers need besides the router: said before anything is started, with what to install."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from server.addresses import Addresses
from server.settings import Settings
from server.workers.own_nats import NatsError, OwnNats
from server.workers.parent import Parent, WorkersFailed
from server.workers.wakes import Wakes


def never(addresses: Addresses) -> None:
    raise AssertionError(addresses)


def parent() -> Parent:
    return Parent(Settings(port=0, api_port=0, workers=2, journal="memory"), {}, None, never)


def test_without_the_client_for_nats_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra has all that is needed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(WorkersFailed, match=r"pip install 'postroom\[workers\]'"):
        parent().run()


def test_on_other_systems_than_linux_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their ports are not shared out, and a child there outlives its parent."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(WorkersFailed, match="need Linux"):
        parent().run()


def test_without_a_nats_server_no_folder_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another one can be named instead."""
    monkeypatch.setattr(shutil, "which", lambda *_args, **_more: None)
    with Wakes() as wakes, pytest.raises(NatsError, match="--cluster"):
        OwnNats(tmp_path / "nats", 65_536, wakes)
    assert not (tmp_path / "nats").exists()


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    """With what the system says of it."""
    (tmp_path / "nats").write_text("")
    with Wakes() as wakes, pytest.raises(NatsError, match="nats cannot be used: File exists"):
        OwnNats(tmp_path / "nats", 65_536, wakes)
