"""Rounds of measurements, interleaved over the servers, so that a slow minute of the machine hits all of them.

In: a benchmark, which servers, how long and how often. Out: for each load and server the figures of each round, their
medians, or why there are none.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import msgspec

from .benchmark import Benchmark, Settings, Shares
from .generator import Request
from .peers import Peer
from .processes import LOAD_CORE, StartFailed, on_core
from .running import running

__all__ = ["Result", "Results", "measure"]

_ROOT = Path(__file__).parent.parent
_LOADGEN_OVERHEAD_S = 120.0


@dataclass(slots=True)
class Result:
    """What one load gave with one server."""

    rounds: list[Shares] = field(default_factory=list)
    invalid: str | None = None
    """Why at least one round is worth nothing, and with it all of them."""

    def median(self) -> Shares | None:
        """Return the median of each figure over the rounds, or `None` when invalid or not measured."""
        if self.invalid is not None or not self.rounds:
            return None
        kind = type(self.rounds[0])
        return kind(
            **{each.name: statistics.median(getattr(r, each.name) for r in self.rounds) for each in fields(kind)}
        )


Results = dict[str, dict[str, Result]]
"""By load and server."""


def measure(benchmark: Benchmark, peers: Iterable[Peer], settings: Settings) -> Results:
    """Measure every load with every server, and return the results by load and name."""
    peers = tuple(peers)
    results: Results = {
        load.name: {peer.name: Result() for peer in peers if load.peers is None or peer.name in load.peers}
        for load in benchmark.loads
    }
    for number in range(1, benchmark.rounds(settings) + 1):
        for peer in peers:
            # One invalid round makes the others worthless.
            mine = {load: results[load.name][peer.name] for load in benchmark.loads if peer.name in results[load.name]}
            still_valid = {load: result for load, result in mine.items() if result.invalid is None}
            if not still_valid:
                continue
            try:
                with running(peer) as server:
                    earlier: dict[str, dict[str, float]] = {}
                    for load, result in still_valid.items():
                        request = Request(server, peer.dialect, load.name, settings, earlier)
                        _measure(benchmark, peer, request, result, number)
                        if result.invalid is None:
                            earlier[load.name] = asdict(result.rounds[-1])
            except StartFailed as problem:
                print(f"round {number}  {peer.title}: did not start: {problem}", flush=True)
                for result in still_valid.values():
                    result.invalid = f"round {number}: did not start: {problem}"
    return results


def _measure(benchmark: Benchmark, peer: Peer, request: Request, result: Result, number: int) -> None:
    outcome = _generate(benchmark, request)
    if request.server.kept_nothing:
        outcome = f"there is no {request.server.journal}: the server kept nothing"
    label = f"round {number}  load {request.load:<7}  {peer.title:<21}"
    if isinstance(outcome, Shares):
        result.rounds.append(outcome)
        print(f"{label} {benchmark.progress(outcome)}", flush=True)
    else:
        result.invalid = f"round {number}: {outcome}"
        print(f"{label} invalid: {outcome}", flush=True)


def _generate(benchmark: Benchmark, request: Request) -> Shares | str:
    """Run the load generator in its own process; return its figures, or why there are none."""
    command = [sys.executable, "-m", benchmark.generator, msgspec.json.encode(request).decode()]
    timeout_s = request.settings.seconds + _LOADGEN_OVERHEAD_S
    try:
        with on_core(LOAD_CORE):
            done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return f"the load generator took longer than {timeout_s:g} s"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return f"the load generator failed: {lines[-1]}"
    outcome = msgspec.json.decode(done.stdout)
    return str(outcome["invalid"]) if "invalid" in outcome else msgspec.convert(outcome, benchmark.figures)
