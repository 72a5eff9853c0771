"""Torture the router: `python -m tests.torture`.

Out: what happened, what the checker says, and how to do it again. Exit code 0: everything held; 1: something was wrong,
or did not go as planned, and the records are kept; 2: wrong usage.
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
from pathlib import Path

from ..arguments import amount, count, count_or_none
from . import disk
from .cluster.run import run_cluster
from .plan import Outcome, Plan, Tally, rounds, seconds_for, short, short_cluster
from .router import RunFailed
from .run import run

__all__ = ["main"]


def main() -> int:
    """Do what the command line says; return the exit code."""
    options = _options()
    plan = _plan(options)
    if plan.disk_full and (reason := disk.unavailable()) is not None:
        print(f"skipped, the disk cannot be filled: {reason}")
        return 0
    began = time.monotonic()
    print(plan.repeat(), flush=True)
    shares = rounds(plan)
    total = Tally()
    good = True
    for number, share in enumerate(shares, 1):
        outcome = _run(share, keep=options.keep)
        good = outcome is not None and outcome.good
        if outcome is not None:
            total.add(outcome.tally)
        if not good:
            print(f"round {number} of {len(shares)}; it alone: {share.repeat()}")
            break
        if len(shares) > 1:
            since = time.monotonic() - began
            print(
                f"round {number} of {len(shares)}: {total.kills} kills so far, 0 violations, {since:.0f} s", flush=True
            )
    if len(shares) > 1:
        print(total)
    print(f"{'held' if good else 'FAILED'} after {time.monotonic() - began:.1f} s; again: {plan.repeat()}")
    return int(not good)


def _run(plan: Plan, *, keep: bool) -> Outcome | None:
    """Run once and print how it went; None: it did not come to an end."""
    folder = Path(tempfile.mkdtemp(prefix="postroom-torture-"))
    outcome = None
    try:
        outcome = asyncio.run(_interruptible(plan, folder))
        print(f"{outcome.tally}\n{outcome.verdict}")
        for complaint in outcome.complaints:
            print(f"not as planned: {complaint}")
    except RunFailed as error:
        print(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted")
    finally:
        if outcome is not None and outcome.good and not keep:
            shutil.rmtree(folder)
        else:
            print(f"records and the router's log are kept in {folder}")
    return outcome


async def _interruptible(plan: Plan, folder: Path) -> Outcome:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await (run_cluster if plan.cluster else run)(plan, folder)


def _plan(options: argparse.Namespace) -> Plan:
    given = {name: value for name, value in vars(options).items() if name in Plan._fields and value is not None}
    seed = given.pop("seed", None)
    if seed is None:
        seed = random.SystemRandom().randrange(1_000_000)
    if options.short:
        return (short_cluster if options.cluster else short)(seed)._replace(**given)
    return Plan(seed)._replace(**{"seconds": seconds_for(given.get("kills", 0)), **given})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture",
        description="Kill a router again and again under load, and check that nothing that was acknowledged is lost.",
    )
    plan = Plan(0)
    parser.add_argument("--seed", type=int, help="make the decisions of an earlier run again (default: new ones)")
    for name, what in (
        ("services", "that publish, in turn over HTTP and WebSocket"),
        ("rooms", "they publish to"),
        ("subscribers", "that drop and resume"),
        ("rooms-each", "rooms of one subscriber"),
        ("kills", "with SIGKILL, under load; more than 50 are shared out over several runs"),
        ("history", "events that a room keeps"),
        ("disk-mib", "size of the disk that is filled"),
    ):
        default = getattr(plan, name.replace("-", "_"))
        number = count_or_none if name == "kills" else count
        parser.add_argument(f"--{name}", type=number, metavar="N", help=f"{what} (default {default})")
    for name, what in (
        ("seconds", "of load"),
        ("rate", "events per second of one service"),
        ("drop-s", "mean seconds after which a subscriber drops"),
        ("full-s", "seconds that the disk stays full"),
    ):
        default = getattr(plan, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=amount, metavar="X", help=f"{what} (default {default:g})")
    parser.add_argument("--journal", help="what `--journal` of the router gets (default: a file in the run's folder)")
    parser.add_argument("--disk-full", action="store_true", help="fill the disk under the journal half-way (as root)")
    parser.add_argument(
        "--cluster", action="store_true", help="three routers on three NATS servers, any of which is killed"
    )
    parser.add_argument("--short", action="store_true", help="the short form, which the tests run")
    parser.add_argument("--keep", action="store_true", help="keep the records even if everything held")
    options = parser.parse_args()
    if options.journal == "memory":
        parser.error("argument --journal: nothing outlives a kill in memory, name a file")
    if options.cluster and (options.journal or options.disk_full):
        parser.error("argument --cluster: there the events are with NATS, and not in a journal")
    return options


if __name__ == "__main__":
    sys.exit(main())
