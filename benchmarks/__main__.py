"""Run the benchmarks: `python -m benchmarks [NAME]`, or `make bench NAME=..`.

In: a name and options. Out: tables on standard output and a record under `results/`. Exit code 0: measured,
whether or not the targets hold; 1: at least one measurement is invalid; 2: wrong usage.
"""

import argparse
import sys

from .benchmark import Benchmark, Settings
from .compression import COMPRESSION
from .costs import COSTS
from .doors import DOORS
from .durable import DURABLE
from .fairness import FAIRNESS
from .fanout import FANOUT
from .growth import AXES
from .idle import IDLE
from .logs import LOGS
from .mailbox import MAILBOX
from .measure import measure
from .nodes import NODES
from .overload import OVERLOAD
from .partition import PARTITION
from .peers import PEERS
from .processes import LOAD_CORE, allow_files, exit_on_signals
from .reconnect import RECONNECT
from .record import Run, recall, record, save
from .report import render, summary
from .rooms import ROOMS
from .scale import SCALE
from .workers import WORKERS

_TARGETED = (FANOUT, DOORS, ROOMS, FAIRNESS, DURABLE, RECONNECT, IDLE, SCALE, MAILBOX)
BENCHMARKS = {benchmark.name: benchmark for benchmark in (*_TARGETED, COMPRESSION, OVERLOAD)}
GROUPS = {"growth": AXES, "costs": (COSTS,), "cluster": (LOGS, WORKERS, NODES, PARTITION)}
BY_NAME = BENCHMARKS | {benchmark.name: benchmark for group in GROUPS.values() for benchmark in group}


def main() -> int:
    """Run what the command line names and return the exit code."""
    options = _parser().parse_args()
    if sys.platform != "linux":
        print("The benchmarks need Linux: they read /proc and wait with epoll.", file=sys.stderr)
        return 2
    exit_on_signals()
    allow_files()
    settings = _settings(options)
    if LOAD_CORE is None:
        print("only one core: servers and load generator share it, so take no figure for granted", flush=True)
    chosen = _benchmarks(options.name)
    try:
        runs = [run for benchmark in chosen if (run := measured(benchmark, settings, options.peers)) is not None]
    except KeyboardInterrupt:
        print("\ninterrupted: the servers are stopped, nothing is kept", file=sys.stderr)
        return 130
    if not runs:
        return 0
    kept = record(settings, runs)
    path = save(kept)
    print(f"{summary(kept)}\n\nkept as {path}", flush=True)
    results = [result for run in runs for of_peers in run.results.values() for result in of_peers.values()]
    return int(any(result.invalid for result in results))


def measured(benchmark: Benchmark, settings: Settings, chosen: list[str]) -> Run | None:
    """Measure a benchmark with those of the chosen servers that it is for, and print the report; `None`: with none."""
    peers = {peer.name: peer for peer in PEERS}
    names = [name for name in chosen if name in benchmark.peers]
    if not names:
        print(f"{benchmark.name}: none of {', '.join(chosen)} takes part, only {', '.join(benchmark.peers)}")
        return None
    skipped = {name: reason for name in names if (reason := peers[name].unavailable()) is not None}
    for name, reason in skipped.items():
        print(f"skipping {peers[name].title}: {reason}", flush=True)
    taking_part = [peers[name] for name in names if name not in skipped]
    print(f"\n{benchmark.name}", flush=True)
    run = Run(benchmark, taking_part, measure(benchmark, taking_part, settings), skipped)
    titles = {name: peer.title for name, peer in peers.items()}
    print(render(run, settings, titles, recall(run, settings)), flush=True)
    return run


def _benchmarks(name: str | None) -> tuple[Benchmark, ...]:
    if name is None:
        return _TARGETED
    return GROUPS[name] if name in GROUPS else (BY_NAME[name],)


def defaults() -> Settings:
    """Return the settings that nothing on the command line changes."""
    return _settings(_parser().parse_args([]))


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        subscribers=options.subscribers,
        rooms=options.rooms,
        clients=options.clients,
        loud=options.loud,
        connections=options.connections,
        seconds=options.seconds,
        rounds=options.rounds,
        most=options.most,
    )


def _parser() -> argparse.ArgumentParser:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Postroom and its peers.")
    parser.add_argument(
        "name",
        nargs="?",
        choices=dict.fromkeys((*GROUPS, *BY_NAME)),
        help="one benchmark (default: all that have a target)",
    )
    parser.add_argument("--seconds", type=duration, default=2.0, help="length of a measurement (default 2)")
    parser.add_argument("--rounds", type=whole_number, default=3, help="repeats of each measurement (default 3)")
    parser.add_argument("--subscribers", type=whole_number, default=500, help="in the room of fanout (default 500)")
    parser.add_argument("--rooms", type=whole_number, default=100, help="of ten in rooms (default 100)")
    parser.add_argument("--clients", type=whole_number, default=5000, help="that come back in reconnect (default 5000)")
    parser.add_argument("--loud", type=whole_number, default=5000, help="in the large room of fairness (default 5000)")
    parser.add_argument("--most", type=whole_number, default=100_000, help="in growth, on any axis (default 100000)")
    parser.add_argument("--connections", type=whole_number, default=10_000, help="in idle and scale (default 10000)")
    parser.add_argument(
        "--peers",
        type=lambda text: _chosen(text, names),
        default=names,
        metavar="NAME,..",
        help=f"servers to measure (default all: {','.join(names)})",
    )
    return parser


def duration(text: str) -> float:
    if not (seconds := float(text)) >= 0.1:
        raise argparse.ArgumentTypeError(f"{text} is too short: at least 0.1")
    return seconds


def whole_number(text: str) -> int:
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is too few: at least 1")
    return count


def _chosen(text: str, names: list[str]) -> list[str]:
    chosen = text.split(",")
    if unknown := [name for name in chosen if name not in names]:
        raise argparse.ArgumentTypeError(f"no server {unknown[0]!r}: there are {', '.join(names)}")
    return list(dict.fromkeys(chosen))


if __name__ == "__main__":
    sys.exit(main())
