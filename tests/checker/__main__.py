"""Judge records: `python -m tests.checker RECORDS...`.

In: files of JSON lines, or folders with `*.jsonl` files. Out: every violation in a line, how many there are of each
kind, what was read. Exit code 0: no violations; 1: at least one; 2: the records cannot be judged.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ..arguments import count_or_none
from . import findings, records
from .judge import judge

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Read the records that the command line names; return the exit code."""
    options = _options(arguments)
    found = findings.Findings(most=options.most, allow_none=options.allow_none)
    try:
        judge(options.records, found)
    except records.RecordError as error:
        print(error, file=sys.stderr)
        return 2
    if not found.counts["records"]:
        print(f"no records in {', '.join(map(str, options.records))}: there is nothing to judge", file=sys.stderr)
        return 2
    try:
        print(found.render(), flush=True)
    except BrokenPipeError:  # who reads has seen enough; Python would complain again when it flushes at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(found.violations > 0)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.checker",
        description="Say what is wrong with what publishers and subscribers wrote down.",
        epilog=f"What it reads\n\n{records.__doc__}\nWhat it finds\n\n{findings.__doc__}\n"
        "Exit code 0: no violations; 1: at least one; 2: the records cannot be judged.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORDS", help="files, or folders with *.jsonl files")
    parser.add_argument("--allow-none", action="store_true", help="a recovery `none` is no violation")
    parser.add_argument("--most", type=count_or_none, default=1000, help="write out so many violations (default 1000)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
