"""The page that says which test shows what: every test that it names is there, and every threat has one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "explanation" / "reliability.md"
NAMED = re.compile(r"`(tests/[\w/.-]+\.py)(?:::([\w:]+)(?:\[[^`]*\])?)?`")


def defined_in(path: Path) -> set[str]:
    """Return the tests of a file, as `name` or `Class::name`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        within = [(node.name, each) for each in node.body] if isinstance(node, ast.ClassDef) else [("", node)]
        for owner, each in within:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_"):
                found.add(f"{owner}::{each.name}" if owner else each.name)
    return found


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED.findall(PAGE.read_text()))))
def test_every_test_that_the_page_names_is_there(file: str, test: str) -> None:
    """Where a file is named without a test, it has some."""
    path = REPOSITORY / file
    assert path.is_file(), f"{PAGE.name} names {file}"
    assert not test or test in defined_in(path), f"{PAGE.name} names {file}::{test}"
    assert test or defined_in(path) or path.name == "__main__.py", f"{file} has no tests"


def test_every_threat_has_a_defence_and_a_test() -> None:
    """No cell of the table is empty, and the last one names at least one test."""
    section = PAGE.read_text().split("## Threats\n")[1].split("\n## ")[0]
    table = section[section.index("| threat |") :].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()][2:]
    assert len(rows) > 15
    for row in rows:
        assert len(row) == 3, row
        assert NAMED.search(row[2]), row[0]
