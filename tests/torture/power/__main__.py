"""Cut the power under journals: `python -m tests.torture.power --cuts 1000`.

Out: what happened, what the checker says, and how to do it again. Exit code 0: everything held; 1: something was wrong,
and the records are kept; 2: wrong usage. It takes a C compiler, and Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from ...arguments import count
from ..verdict import check
from .planted import PLANTS
from .preload import preloaded, restart_preloaded
from .run import Plan, run

__all__ = ["main"]


def main() -> int:
    """Do what the command line says; return the exit code."""
    plan = _plan()
    if not preloaded():
        return restart_preloaded()
    folder = Path(tempfile.mkdtemp(prefix="postroom-power-"))
    print(f"{plan.repeat()}\n  in {folder}", flush=True)
    began = time.monotonic()
    tally, complaints = run(plan, folder)
    verdict, exit_code = asyncio.run(check(folder / "records"))
    print(f"{tally}\n{verdict}")
    for complaint in complaints[:20]:
        print(f"wrong: {complaint}")
    good = not exit_code and not complaints
    if good:
        shutil.rmtree(folder)
    else:
        print(f"records, disks and logs are kept in {folder}")
    print(f"{'held' if good else 'FAILED'} after {time.monotonic() - began:.1f} s; again: {plan.repeat()}")
    return int(not good)


def _plan() -> Plan:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture.power",
        description="Cut the power under journals again and again, and check that nothing acknowledged is lost.",
    )
    parser.add_argument("--cuts", type=count, default=1000, help="how often (default 1000)")
    parser.add_argument("--seed", type=int, help="make the decisions of an earlier run again (default: new ones)")
    what = "; ".join(f"{name}: {bug}" for name, bug in PLANTS.items())
    parser.add_argument("--plant", choices=PLANTS, help=f"plant a bug, which has to be found ({what})")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    return Plan(seed, options.cuts, options.plant)


if __name__ == "__main__":
    sys.exit(main())
