"""What a reader would copy from the documentation is tried, by a reader or by the test that the page names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from .pages import PAGES, READ, REPOSITORY, name, overlooked, steps
from .reader import Reader

AT_ONCE = 6
FOLLOWED = tuple(name(page) for page in PAGES if any(block.followed for block in steps(page)))
"""Pages whose every block is run and whose every line of output must come."""

COMMANDS = ("$ ", "sudo ", "postroom ", "curl ", "pip ", "npm ", "docker ", "kubectl ", "systemctl ", "export ")
CODE = re.compile(r"(import|from|def|async def|class|const|let|function|<!doctype|<script)\b.*\S")
RUNS_ON = re.compile(r"\bpostroom (?:serve|demo|listen)\b|\bcurl -N ")
FOUND_BY_NAME = {"conftest.py", "pytest.ini", "index.html"}
"""Files that a program uses without being told."""

LOGGED = {
    "docs/how-to/alerts.md": {"alert_escalated"},
    "docs/how-to/back-up.md": {"journal_epochs_renewed"},
    "docs/how-to/journal-trouble.md": {"journal_restored", "journal_room_damaged", "journal_set_aside"},
    "docs/how-to/operate.md": {"reloaded"},
    "docs/how-to/upgrade.md": {"draining"},
}
"""What the routers of a page must log."""


def follow(page: str, folder: Path) -> str:
    """Follow a page from an empty folder, but for the examples, and return what its routers logged."""
    cwd = folder / "reader"  # where the journal is: each page begins with none
    cwd.mkdir()
    (cwd / "examples").symlink_to(REPOSITORY / "examples")
    reader = Reader(folder, cwd)
    try:
        reader.follow(REPOSITORY / page)
    finally:
        reader.leave()
    return reader.logs


@pytest.fixture(scope="module")
def following(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[str]]]:
    """Readers of all pages that are to be tested, at the same time: most of theirs is waiting."""
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    pages = [each["followed"] for each in params if "followed" in each]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {page: pool.submit(follow, page, tmp_path_factory.mktemp("reader")) for page in pages}


@pytest.mark.parametrize("followed", FOLLOWED)
def test_what_a_page_shows_is_what_happens(followed: str, following: dict[str, Future[str]]) -> None:
    """Its commands and programs run as they stand, and print what the page says."""
    logs = following[followed].result(300)
    for event in LOGGED.get(followed, ()):
        assert f'"event": "{event}"' in logs


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_says_what_it_is(page: Path) -> None:
    """A block without a language is a picture; commands and code have one, and so are tried."""
    for block in steps(page):
        if not block.language:
            lines = [line for line in block.text.splitlines() if line.startswith(COMMANDS) or CODE.match(line)]
            assert not lines, f"{name(page)}: {lines}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_tried(page: Path) -> None:
    """By the reader as it stands or as a file that a later block uses, by a test that is named; or it says why not."""
    assert overlooked(page) == [], f"{name(page)}: markers and blocks that the reader does not understand"
    blocks = list(steps(page))
    for place, block in enumerate(blocks):
        if block.save_as:
            later = " ".join(each.text for each in blocks[place + 1 :])
            file = Path(block.save_as)
            assert file.name in FOUND_BY_NAME or re.search(rf"\b{re.escape(file.stem)}\b", later), (
                f"{name(page)}: nothing uses {block.save_as}"
            )
        elif block.followed and block.text and block.language != "open":
            assert block.language in READ, f"{name(page)}: who tries this? {block}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_runs_on_is_the_last_of_its_block(page: Path) -> None:
    """Whoever pastes a block into one terminal would wait there for the commands below it."""
    for block in steps(page):
        if block.language == "sh":
            early = [line for line in block.text.splitlines()[:-1] if RUNS_ON.search(line.partition("  #")[0])]
            assert not early, f"{name(page)}: {early}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_who_tries_a_block_for_the_reader_exists(page: Path) -> None:
    """The test that a page names is there, and its module reads this page."""
    for block in steps(page):
        if block.tested_by:
            path, _, test = block.tested_by.partition("::")
            source = (REPOSITORY / path).read_text()
            tests = {node.name for node in ast.walk(ast.parse(source)) if hasattr(node, "name")}
            assert test in tests, f"{name(page)}: {block.tested_by}"
            assert page.name in source, f"{path} does not read {name(page)}"
