"""Simulate: `python -m tests.simulation --seeds 10000`, or `--seed 17` for the whole history of one, line by line.

Out: every seed whose history is wrong, what is wrong, and the command that tells it again. Exit code 0: none; 1: some;
2: wrong usage.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator

from ..arguments import count
from .run import live

__all__ = ["main"]

_CHUNK = 10
_MOST_SHOWN = 20


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = _options(arguments)
    if options.seed is not None:
        return _tell(options.seed)
    began, wrong = time.monotonic(), 0
    for seed, lines in _results(range(options.first, options.first + options.seeds), options.jobs):
        if lines:
            wrong += 1
            if wrong <= _MOST_SHOWN:
                print(
                    f"seed {seed}: {lines[0]}\n  again, line by line: python -m tests.simulation --seed {seed}",
                    flush=True,
                )
    took_s = time.monotonic() - began
    print(f"{options.seeds} seeds from {options.first} on, {wrong} with violations, in {took_s:.1f} s")
    print(f"{wrong} violation{'' if wrong == 1 else 's'}")
    return int(wrong > 0)


def _tell(seed: int) -> int:
    def note(now_s: float, who: str, what: str) -> None:
        print(f"{now_s:10.3f}  {who:<22}  {what}")

    lines = live(seed, note)
    print("\n".join([f"seed {seed}:", *lines]) if lines else f"seed {seed}: 0 violations")
    return int(bool(lines))


def _results(seeds: range, jobs: int) -> Iterator[tuple[int, list[str]]]:
    if jobs == 1:
        yield from ((seed, live(seed)) for seed in seeds)
        return
    # The parent ends them: interrupted as well, each would say so.
    with multiprocessing.get_context("spawn").Pool(jobs, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield from zip(seeds, pool.imap(live, seeds, chunksize=_CHUNK), strict=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Live through many histories.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=count, default=500, help="how many (default 500)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--jobs", type=count, default=os.cpu_count(), help="processes (default: one a core)")
    which.add_argument("--seed", type=int, help="tell the history of this one, line by line")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
