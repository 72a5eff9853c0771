"""The pages that say which test shows what: every test and command that they name is there, and every row has one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "explanation" / "reliability.md"
PROMISES = REPOSITORY / "docs" / "explanation" / "promises.md"
DOORS = REPOSITORY / "docs" / "reference" / "doors.md"
UPKEEP = REPOSITORY / "docs" / "reference" / "upkeep.md"
NAMED = re.compile(r"`(tests/[\w/.-]+\.py)(?:::([\w:]+)(?:\[[^`]*\])?)?`")


def defined_in(path: Path) -> set[str]:
    """Return the tests of a file, as `name` or `Class::name`; a state machine's is the class that hypothesis makes."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(name := node.targets[0], ast.Name) and name.id[:4] == "Test":
            found.add(name.id)
        within = [(node.name, each) for each in node.body] if isinstance(node, ast.ClassDef) else [("", node)]
        for owner, each in within:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_"):
                found.add(f"{owner}::{each.name}" if owner else each.name)
    return found


@pytest.mark.parametrize(
    ("file", "test"),
    sorted({name for page in (PAGE, PROMISES, DOORS, UPKEEP) for name in NAMED.findall(page.read_text())}),
)
def test_every_test_that_a_page_names_is_there(file: str, test: str) -> None:
    """Where a file is named without a test, it has some."""
    path = REPOSITORY / file
    assert path.is_file(), f"there is no {file}"
    assert not test or test in defined_in(path), f"there is no {file}::{test}"
    assert test or defined_in(path) or path.name == "__main__.py", f"{file} has no tests"


@pytest.mark.parametrize(("section", "what"), [("Threats", "threat"), ("Faults", "fault")])
def test_every_row_says_what_is_done_and_names_a_test(section: str, what: str) -> None:
    """No cell of the two tables is empty; the last one names a test or, where none can be, a command or why not."""
    text = PAGE.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    table = text[text.index(f"| {what} |") :].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()][2:]
    assert len(rows) > 15
    for row in rows:
        assert len(row) == 3, row
        assert all(row), row
        assert NAMED.search(row[2]) or (what == "fault" and re.match(r"`python -m |none; ", row[2])), row[0]


def test_every_row_about_a_protocol_says_how_it_is_supported_and_names_a_test() -> None:
    """Each section has one such table: feature, supported, different or refused, what happens, tests."""
    tables = [table.split("\n\n")[0].splitlines() for table in DOORS.read_text().split("\n| feature |")[1:]]
    assert len(tables) == 3
    for row in (line.strip("| ").split(" | ") for table in tables for line in table[2:]):
        assert len(row) == 4, row
        assert row[1] in ("supported", "different", "refused"), row
        assert NAMED.search(row[3]), row


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`make (\w+)", PAGE.read_text()))))
def test_every_command_that_the_page_names_is_there(command: str) -> None:
    assert re.search(rf"^{command}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([a-z][\w.]+)", PAGE.read_text()))))
def test_every_program_that_the_page_names_is_there(module: str) -> None:
    path = REPOSITORY / module.replace(".", "/")
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def test_every_page_of_the_reference_says_what_holds_it() -> None:
    """Each has a row in upkeep.md that names a test."""
    rows = re.findall(r"^\| \[[^]]+\]\((\S+\.md)\) \|[^|]*\| ([^|]+) \|$", UPKEEP.read_text(), re.MULTILINE)
    assert {page for page, _ in rows} == {page.name for page in UPKEEP.parent.glob("*.md")} - {UPKEEP.name}
    assert all(NAMED.search(tests) for _, tests in rows)
