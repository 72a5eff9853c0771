"""What docs/how-to/publish-from-fastapi.md and docs/how-to/publish-from-celery.md say to write in one's own tests."""

from __future__ import annotations

import re
from pathlib import Path

from .guides import done, lines, written

PAGES = ("docs/how-to/publish-from-fastapi.md", "docs/how-to/publish-from-celery.md")


def test_the_tests_that_pages_show_pass(tmp_path: Path) -> None:
    """In one project of a reader's own, with the commands of the pages in one."""
    commands = [command for page in PAGES for command in lines(page, "pytest ")]
    for page in PAGES:
        written(page, tmp_path)
    (tmp_path / "pytest.ini").touch()  # it is nobody's folder but the reader's
    files = " ".join(re.sub("^pytest ", "", command) for command in commands)
    only = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # what the pages have their reader install, of all that is here
    assert "2 passed" in done(f"pytest -p pytest_asyncio.plugin -p pytest_postroom {files}", tmp_path, **only)
