"""Fixtures of the client's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from postroom_client import Backoff

from .scripted_router import ScriptedRouter, scripted_router


@pytest.fixture
async def router() -> AsyncIterator[ScriptedRouter]:
    """A router that does what the test says."""
    async with scripted_router() as running:
        yield running


@pytest.fixture
def quick() -> Backoff:
    """Delays that a test can wait for."""
    return Backoff(floor_s=0.005, cap_s=0.02)
