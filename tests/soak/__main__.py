"""Soak the router: `python -m tests.soak`.

Out: a line a minute; then what grew, what was left, what the supervisors did, what the checker says, and how to do it
again. Exit code 0: everything held; 1: a bar was missed, and what shows it is kept; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ..arguments import amount
from ..torture.router import RunFailed
from .plan import SoakPlan, short
from .report import Report
from .run import Soak, soak

__all__ = ["main", "options_of", "plan_of"]


def main() -> int:
    """Do what the command line says; return the exit code."""
    options = options_of()
    plan = plan_of(options)
    folder = Path(tempfile.mkdtemp(prefix="postroom-soak-"))
    print(f"{plan.repeat()}\n  in {folder}", flush=True)
    began = time.monotonic()
    report = Report(plan)
    good = False
    try:
        outcome = asyncio.run(_interruptible(plan, folder, report))
        good = report.end(outcome)
    except RunFailed as error:
        print(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted")
    finally:
        if good and not options.keep:
            shutil.rmtree(folder)
        else:
            print(f"the router's log and the records that are wrong are kept in {folder}")
    print(f"{'held' if good else 'FAILED'} after {time.monotonic() - began:.1f} s; again: {plan.repeat()}")
    return int(not good)


async def _interruptible(plan: SoakPlan, folder: Path, report: Report) -> Soak:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await soak(plan, folder, report.round)


def plan_of(options: argparse.Namespace) -> SoakPlan:
    """Return what the options ask for."""
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    plan = short(seed) if options.short else SoakPlan(seed)
    return plan if options.minutes is None else plan._replace(minutes=options.minutes)


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line; None: that of this process."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Churn, chaos, slow clients and pauses for many minutes; whatever is left or grows is a bug.",
    )
    parser.add_argument("--minutes", type=amount, help=f"how long (default {SoakPlan(0).minutes:g})")
    parser.add_argument("--seed", type=int, help="make the decisions of an earlier run again (default: new ones)")
    parser.add_argument("--short", action="store_true", help="the short form, which the tests run")
    parser.add_argument("--keep", action="store_true", help="keep the router's log even if everything held")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
