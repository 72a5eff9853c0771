"""The pages of the documentation, cut into what a reader sees; Markdown in, table rows and blocks out.

The reader of these tests takes a block by its language:

    sh              the commands are run; `postroom serve`, `demo` and `listen`, `make run` and `curl -N` run on;
                    `pip install` and `npm install` name packages of the tests, `make` a target: these are not run
    python, js      a whole program is run, with the packages of the tests (`ws`, `socket.io-client`, .. for `js`)
    text            each line must have been printed by a command or a program, or be on the page that is open
    json            the same for a value: it may have more fields, and "…" is any value
    toml            settings, which the router must take (`test_reference.py`)
    others          must be saved, or be tried by a test: `html`, `yaml`, `nginx`, ..
    none            a picture, never a command or code

Comments in a page say what a reader does without copying, and who tries a block that the reader of these tests cannot.
Those about a block stand on the line before it:

    <!-- reader: save as FILE -->       the next block is a file in the reader's folder, for a later block
    <!-- reader: leave running -->      the last command of the next block runs on, or ends in its own time
    <!-- reader: open URL -->           a browser opens it, too; 8080 is the port of a page's own server
    <!-- reader: stop -->               listeners and what else was left running is stopped with Ctrl-C
    <!-- reader: stop the router -->    so is the router
    <!-- tested by FILE::TEST -->       the next block is taken from this page and tried by that test
    <!-- not run: REASON -->            the next block cannot be tried on a machine of developers
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["DOCS", "PAGES", "READ", "REFERENCE", "REPOSITORY", "Block", "name", "overlooked", "rows", "steps"]

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

READ = frozenset({"sh", "python", "js", "text", "json", "toml"})
"""Languages of blocks that the reader tries as they stand."""

_STEP = re.compile(
    r"^ *<!-- reader: (?P<order>stop(?: the router)?|open (?P<url>\S+)) -->$"
    r"|(?:^ *<!-- (?:reader: save as (?P<save_as>\S+)|reader: (?P<runs_on>leave running)|tested by (?P<tested_by>\S+)"
    r"|not run: (?P<not_run>[^>]+)) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_FENCE_OR_MARKER = re.compile(r"^ *(?:```|~~~)|^ *<!-- *(?:reader|tested by|not run)", re.MULTILINE)


class Block(NamedTuple):
    language: str
    """Or an order: `stop`, `stop the router`, `open` with the address as the text."""
    text: str
    save_as: str = ""
    tested_by: str = ""
    not_run: str = ""
    runs_on: bool = False

    @property
    def followed(self) -> bool:
        """Whether the reader of these tests has to do something about it."""
        return bool(self.language) and not self.tested_by and not self.not_run


def rows(page: Path) -> dict[str, list[str]]:
    """Return the table rows of a page by what stands in their first cell."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {row[0].strip("`"): row for row in cells}


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def steps(page: Path) -> Iterator[Block]:
    """Return the blocks of a page in order, and the orders between them as blocks."""
    for match in _STEP.finditer(page.read_text()):
        if match["order"]:
            yield Block(match["order"].partition(" http")[0], match["url"] or "")
        else:
            text = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
            others = (match["save_as"] or "", match["tested_by"] or "", match["not_run"] or "", bool(match["runs_on"]))
            yield Block(match["language"], text, *others)


def overlooked(page: Path) -> list[str]:
    """Return the lines that look like a block or a marker, and are neither: nobody would try what they are about."""
    text = page.read_text()
    seen = [match.span() for match in _STEP.finditer(text)]
    places = (match.start() for match in _FENCE_OR_MARKER.finditer(text))
    missed = [place for place in places if not any(start <= place < end for start, end in seen)]
    return [text[place:].partition("\n")[0] for place in missed]
