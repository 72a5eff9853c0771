"""How the router of these tests is set up, where it is not as it comes."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def postroom_settings() -> dict[str, object]:
    """Name settings as in the settings file."""
    return {"history_events": 500, "escalate_after_s": 0}
