"""Rounds of measurements, interleaved over the servers, so that a slow minute of the machine hits all of them.

In: which servers, loads, how long and how often. Out: for each load and server the figures of each round, their
medians, or why there are none.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path

from .loadgen import Figures, Request
from .peers import Peer
from .processes import LOAD_CORE, Server, StartFailed, on_core, running

__all__ = ["LOADS", "Result", "Settings", "fanout"]

LOADS = ("A", "B")

_ROOT = Path(__file__).parent.parent
_LOADGEN_OVERHEAD_S = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How much to measure."""

    subscribers: int
    seconds: float
    """Of one measurement, after a second to warm up."""
    rounds: int


@dataclass(slots=True)
class Result:
    """What one load gave with one server."""

    rounds: list[Figures] = field(default_factory=list)
    invalid: str | None = None
    """Why at least one round is worth nothing, and with it all of them."""

    def median(self) -> Figures | None:
        """Return the median of each figure over the rounds, or `None` when invalid or not measured."""
        if self.invalid is not None or not self.rounds:
            return None
        return Figures(*(statistics.median(column) for column in zip(*map(astuple, self.rounds), strict=True)))


def fanout(peers: Iterable[Peer], settings: Settings) -> dict[str, dict[str, Result]]:
    """Measure every load with every server, and return the results by load and name."""
    peers = tuple(peers)
    results = {load: {peer.name: Result() for peer in peers} for load in LOADS}
    for number in range(1, settings.rounds + 1):
        for peer in peers:
            # One invalid round makes the others worthless.
            still_valid = [load for load in LOADS if results[load][peer.name].invalid is None]
            if not still_valid:
                continue
            try:
                with running(peer) as server:
                    for load in still_valid:
                        _measure(peer, server, load, settings, results[load][peer.name], number)
            except StartFailed as problem:
                print(f"round {number}  {peer.title}: did not start: {problem}", flush=True)
                for load in still_valid:
                    results[load][peer.name].invalid = f"round {number}: did not start: {problem}"
    return results


def _measure(peer: Peer, server: Server, load: str, settings: Settings, result: Result, number: int) -> None:
    request = Request(server.pid, server.port, peer.dialect, load, settings.subscribers, settings.seconds)
    outcome = _generate(request)
    label = f"round {number}  load {load}  {peer.title:<21}"
    if isinstance(outcome, Figures):
        result.rounds.append(outcome)
        print(
            f"{label} {outcome.deliveries_per_s:>11,.0f} deliveries/s {outcome.cpu_us_per_delivery:>7.2f} us",
            flush=True,
        )
    else:
        result.invalid = f"round {number}: {outcome}"
        print(f"{label} invalid: {outcome}", flush=True)


def _generate(request: Request) -> Figures | str:
    """Run the load generator in its own process; return its figures, or why there are none."""
    command = [sys.executable, "-m", "benchmarks.loadgen", json.dumps(asdict(request))]
    timeout_s = request.seconds + _LOADGEN_OVERHEAD_S
    try:
        with on_core(LOAD_CORE):
            done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return f"the load generator took longer than {timeout_s:g} s"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return f"the load generator failed: {lines[-1]}"
    outcome = json.loads(done.stdout)
    return str(outcome["invalid"]) if "invalid" in outcome else Figures(**outcome)
