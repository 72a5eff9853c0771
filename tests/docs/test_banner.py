"""What a router says at its start, as the pages show it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from server.addresses import Addresses
from server.commands import serve
from server.settings import Settings

from .pages import PAGES, name, steps

USUAL = Addresses("ws://127.0.0.1:8000/v1/ws", "http://127.0.0.1:8001")
SHOWN = [(page, block.text) for page in PAGES for block in steps(page) if "is ready. Ctrl-C stops it" in block.text]
ELSEWHERE = re.compile(r" under /home/you/\w+")
"""Where the reader of a page is."""


def test_the_first_pages_show_it() -> None:
    assert {"README.md", "docs/tutorial.md"} <= {name(page) for page, _ in SHOWN}


@pytest.mark.parametrize(("page", "text"), SHOWN, ids=[name(page) for page, _ in SHOWN])
def test_each_line_that_a_page_shows_is_one_that_comes(page: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its order, and beginning with the first; a page may leave out what it is not about."""
    said: list[str] = []

    def say(lines: Sequence[str]) -> None:
        said.extend(lines)

    monkeypatch.setattr(serve, "_say", say)
    workers = re.search(r"Router processes +(\d+)", text)
    settings = Settings(dev="--dev" in text, workers=int(workers[1]) if workers else 1)
    greet = serve._greet_demo if "session:demo-1" in text else serve._greet
    greet(USUAL, settings)
    lines = [ELSEWHERE.sub(f" under {Path.cwd()}", line) for line in text.splitlines()]
    coming = iter(said)
    assert lines[0] == said[0]
    assert all(line in coming for line in lines), f"{name(page)}: {lines}\n{said}"
