"""What a page leaves to a test of its own: the page and the test's name in, the texts of its blocks out."""

from __future__ import annotations

from .pages import DOCS, steps

__all__ = ["taken"]


def taken(page: str, test: str) -> list[str]:
    """Return the blocks of a page under `docs` that a comment before them gives to this test.

    Args:
        page: Its path below `docs`.
        test: The name of a function; in which file is not looked at.
    """
    found = [block.text for block in steps(DOCS / page) if block.tested_by.endswith(f"::{test}")]
    assert found, f"{page} has nothing for {test}"
    return found
