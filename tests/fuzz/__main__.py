"""Fuzz: `python -m tests.fuzz [NAME...] [--seconds 60]`; replay a file: `python -m tests.fuzz NAME --replay FILE`.

Each target runs in a process of its own, on top of its seeds and of what earlier runs found worth keeping. In: nothing.
Out: a line for each target; inputs that break it are kept. Exit code 0: none; 1: at least one; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from ..arguments import count
from .targets import NAMES, load, seeds

__all__ = ["main"]

_FOLDER = Path("fuzz-data")
_START_S = 120
"""How long a target may take beside the seconds that it has: to start, to replay, and to end."""
_INPUT_S = 20
"""An input that takes longer counts as found."""


class _Run(NamedTuple):
    name: str
    executions: int
    per_s: int
    coverage: int
    corpus: int
    found: list[Path]
    failed: str


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--seconds", type=count, default=60, help="for each (default 60)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="give this file to the one target named")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if options.replay is not None:
        if len(options.names) != 1:
            parser.error("--replay takes one target's name")
        try:
            data = options.replay.read_bytes()
        except OSError as error:
            parser.error(f"argument --replay: cannot read {options.replay}: {error.strerror}")
        load(options.names[0])(data)
        print(f"{options.names[0]} takes {options.replay}")
        return 0
    print(f"{'target':12} {'executions':>10} {'a second':>9} {'coverage':>9} {'corpus':>7}  found")
    runs = []
    for name in options.names or NAMES:
        runs.append(_fuzz(name, options.seconds))
        _tell(runs[-1])
    return int(any(run.found or run.failed for run in runs))


def _fuzz(name: str, seconds: int) -> _Run:
    """Let a target run for its time."""
    corpus, crashes = _FOLDER / "corpus" / name, _FOLDER / "found" / name
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    before = time.time()
    limits = (f"-max_total_time={seconds}", f"-timeout={_INPUT_S}", "-rss_limit_mb=2048", "-print_final_stats=1")
    command = (sys.executable, "-m", "tests.fuzz.mutate", name, str(corpus), str(seeds(name)[0].parent))
    try:
        done = subprocess.run(
            [*command, *limits, f"-artifact_prefix={crashes}/"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=seconds + _START_S,
            check=False,
        )
        said, failed = done.stderr, "" if done.returncode == 0 else f"ended with {done.returncode}"
    except subprocess.TimeoutExpired as error:
        said, failed = _text(error.stderr), "did not end in time"
    found = [path for path in sorted(crashes.iterdir()) if path.stat().st_mtime >= before - 1]
    (_FOLDER / f"{name}.log").write_text(said)
    numbers = [re.findall(pattern, said) for pattern in (r"number_of_executed_units: (\d+)", r"\bcov: (\d+)")]
    executions, coverage = (int(each[-1]) if each else 0 for each in numbers)
    taken_s = max(1.0, time.time() - before)
    return _Run(name, executions, int(executions / taken_s), coverage, len(list(corpus.iterdir())), found, failed)


def _text(said: str | bytes | None) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said or ""


def _tell(run: _Run) -> None:
    found = str(len(run.found)) if run.found else run.failed or "nothing"
    numbers = f"{run.executions:>10,} {run.per_s:>9,} {run.coverage:>9,} {run.corpus:>7,}"
    print(f"{run.name:12} {numbers}  {found}", flush=True)
    for path in run.found:
        print(f"  replay: .venv/bin/python -m tests.fuzz {run.name} --replay {path}")
    if run.found or run.failed:
        print(f"  what it said: {_FOLDER / run.name}.log")


if __name__ == "__main__":
    sys.exit(main())
