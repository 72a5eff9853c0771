"""The pages of the documentation, cut into what a reader sees; Markdown in, table rows and blocks out.

Comments in a page say what a reader does without copying, and who tries a block that the reader of these tests cannot:

    <!-- reader: save as FILE -->       the next block is a file in the reader's folder
    <!-- reader: stop -->               listeners are stopped with Ctrl-C
    <!-- reader: stop the router -->    so is the router
    <!-- tested by FILE::TEST -->       the next block is taken from this page and tried by that test
    <!-- not run: REASON -->            the next block cannot be tried on a machine of developers
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["DOCS", "PAGES", "REFERENCE", "REPOSITORY", "Block", "name", "rows", "steps"]

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(REPOSITORY / "clients").glob("*/README.md"),
        *(REPOSITORY / "examples").rglob("README.md"),
    ]
)

_STEP = re.compile(
    r"<!-- reader: (?P<stop>stop(?: the router)?) -->"
    r"|(?:<!-- (?:reader: save as (?P<save_as>\S+)|tested by (?P<tested_by>\S+)|not run: (?P<not_run>[^>]+)) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    language: str
    """`sh` and `python` are run; each line of a `text` block must come out; others are only looked at."""
    text: str
    save_as: str = ""
    tested_by: str = ""
    not_run: str = ""


def rows(page: Path) -> dict[str, list[str]]:
    """Return the table rows of a page by what stands in their first cell."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {row[0].strip("`"): row for row in cells}


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def steps(page: Path) -> Iterator[Block]:
    """Return the blocks of a page in order, and the stops between them as blocks without text."""
    for match in _STEP.finditer(page.read_text()):
        if match["stop"]:
            yield Block(match["stop"], "")
        else:
            text = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
            others = (match["save_as"] or "", match["tested_by"] or "", match["not_run"] or "")
            yield Block(match["language"], text, *others)
