"""What the journal's tests stand on: a path, a log in it, and no actor left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pykka
import pytest

from .keeping import Keeper, keeper


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a test that leaves an actor running, and let no other test inherit it."""
    yield
    left = pykka.ActorRegistry.get_all()
    for ref in left:
        ref.stop(block=False)
        pykka.ActorRegistry.unregister(ref)
    assert left == [], "actors left running"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journals" / "journal.db"


@pytest.fixture
async def kept(path: Path, nothing_left: None) -> AsyncIterator[Keeper]:
    """A log in a new file."""
    async with keeper(path) as kept:
        yield kept
