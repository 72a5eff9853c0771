"""Write what was measured into the documentation: `python -m benchmarks.docs`, or `make bench-docs`. Measures nothing.

In: the newest kept run of each benchmark. Out: `performance.json`, the tables between the markers of the pages, plots.
"""

import re
import sys
from collections.abc import Callable, Mapping

from . import capacity, tables
from .__main__ import BY_NAME
from .growth import AXES
from .kept import RECORD, newest, save
from .measurement import Measurement
from .model import NotMeasured
from .plots import PLOTS

__all__ = ["FOLDER", "PAGES", "README", "rewritten"]

FOLDER = RECORD.parent
README = FOLDER.parents[1] / "README.md"
PAGES = (*(FOLDER / name for name in ("performance.md", "scaling.md", "comparison.md")), README)
_BLOCK = re.compile(r"(<!-- begin (?P<name>[\w -]+) -->\n).*?(<!-- end -->)", re.DOTALL)

_Block = Callable[[Mapping[str, Measurement]], str]


def _blocks() -> dict[str, _Block]:
    blocks: dict[str, _Block] = {
        "front": tables.front,
        "machine": tables.machine,
        "targets": tables.targets,
        "versus socketio": lambda records: tables.versus(records, ("sqlite", "socketio", "socketio-py")),
        "constants": capacity.constants,
        "predictions": capacity.predictions,
        "cores": capacity.cores,
        "levers": capacity.levers,
        "fleet 1000000": lambda records: capacity.fleet(records, 10**6),
        "fleet 100000000": lambda records: capacity.fleet(records, 10**8),
    }
    for name in BY_NAME:
        blocks[f"loads {name}"] = lambda records, name=name: tables.loads(records, name)
    for axis in AXES:
        word = axis.name.removeprefix("growth-")
        blocks[f"growth {word}"] = lambda records, word=word: tables.growth(records, word)
    return blocks


def rewritten(page: str, records: Mapping[str, Measurement]) -> str:
    """Return a page with its tables as the record has them.

    Raises:
        KeyError: the page names a table that does not exist.
    """
    blocks = _blocks()

    def table(block: re.Match[str]) -> str:
        try:
            text = blocks[block["name"]](records)
        except NotMeasured as missing:
            text = f"Not measured: {missing}."
        return f"{block[1]}\n{text}\n\n{block[3]}"

    return _BLOCK.sub(table, page)


def main() -> None:
    """Rewrite everything."""
    try:
        from .drawing import draw
    except ImportError:
        sys.exit("matplotlib is missing: pip install '.[bench]', or `make bench-docs`")
    records = newest()
    pages = {page: rewritten(page.read_text(), records) for page in PAGES}
    save(records)
    for page, text in pages.items():
        page.write_text(text)
    for name, plot in PLOTS.items():
        draw(plot(records), FOLDER / f"performance-{name}.svg")
    print(f"written from {', '.join(records)}")


if __name__ == "__main__":
    main()
