"""The pages that explain: each promise has its evidence, and what they say of the code is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..test_evidence import NAMED
from .pages import DOCS, REPOSITORY, rows

EXPLANATION = DOCS / "explanation"
PARTS = ("You may rely on:", "Kept by:", "In the code:", "Ends where:", "Shown by:")
OF_THE_CODE = re.compile(r"`((?:actors|server|clients|tests|benchmarks|examples|docs|deploy)/[\w/.-]*)(?:::[\w:]+)?`")


def promises() -> dict[int, str]:
    """Return the sections of the page about them by their number."""
    text = (EXPLANATION / "promises.md").read_text().split("\n## What is not ")[0]
    sections = re.split(r"^## (\d)\. ", text, flags=re.MULTILINE)
    return {int(number): text for number, text in zip(sections[1::2], sections[2::2], strict=True)}


def test_there_are_nine_promises() -> None:
    assert list(promises()) == list(range(1, 10))


@pytest.mark.parametrize("number", range(1, 10))
def test_each_promise_says_what_keeps_it_where_it_ends_and_what_shows_it(number: int) -> None:
    """All parts in this order, some code, and more than one test."""
    said = promises()[number]
    assert re.findall(r"^\*\*(.+?)\*\*", said, re.MULTILINE) == list(PARTS)
    code = said.partition("**In the code:**")[2].partition("**Ends where:**")[0]
    assert OF_THE_CODE.findall(code)
    assert len(NAMED.findall(said.partition("**Shown by:**")[2])) >= 3


@pytest.mark.parametrize("page", sorted(EXPLANATION.glob("*.md")), ids=lambda page: page.name)
def test_every_file_of_ours_that_a_page_names_is_there(page: Path) -> None:
    """Folders count, too."""
    for path in OF_THE_CODE.findall(page.read_text()):
        assert (REPOSITORY / path).exists(), path


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Go through the calls of the HTTP API as they are made in the source: method and path, and the whole."""
    for path in (REPOSITORY / "server" / "http").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name("Call"), args=[ast.Constant(str(method)), ast.Constant(str(where)), *_]):
                    yield f"{method} {where}", node


def test_the_calls_that_take_no_token_are_those_of_the_security_model() -> None:
    """The page has a row for each of them, and for no other."""
    open_calls = {
        name
        for name, call in calls()
        if any(keyword.arg == "roles" and ast.unparse(keyword.value) == "()" for keyword in call.keywords)
    }
    told = {name for name in rows(EXPLANATION / "security.md") if re.match("(GET|POST|PUT|DELETE) ", name)}
    assert told == open_calls
