"""What a run says: tables and verdicts to read.

In: results, this run's and the previous one's record. Out: text.
"""

from collections.abc import Mapping

from .benchmark import Benchmark, Load, Settings, Shares
from .measure import Result
from .peers import Peer
from .record import Record, previous_figure, previous_value
from .targets import TARGETS, Target, judge

__all__ = ["render"]

_FULL_PERCENT = 95.0
"""From here on a core has nothing left."""

_TITLE_WIDTH, _CHANGE_WIDTH = 22, 10


def render(
    benchmark: Benchmark,
    settings: Settings,
    peers: Mapping[str, Peer],
    results: Mapping[str, Mapping[str, Result]],
    skipped: Mapping[str, str],
    current: Record,
    previous: Record | None,
) -> str:
    """Return the whole report."""
    lines = ["", f"{current['date']}   {current['command']}"]
    lines.append("  ".join(f"{key} {value}" for key, value in current["machine"].items()))
    lines.append("  ".join(f"{name} {version}" for name, version in current["versions"].items()))
    for load in benchmark.loads:
        lines += ["", _title(benchmark, load, settings), *_table(benchmark, load, peers, results[load.name], previous)]
    lines.append("")
    lines += [_verdict(target, results, previous) for target in TARGETS if target.benchmark == benchmark.name]
    lines += [f"skipped: {peers[name].title}: {reason}" for name, reason in skipped.items()]
    lines += ["", *benchmark.notes]
    if any(
        _generator_limits(load, result.median()) for load in benchmark.loads for result in results[load.name].values()
    ):
        lines.append("* the generator's core was full and the server's was not: the figure is the generator's limit.")
    if previous is not None:
        compared = ", ".join(f"{_heading(benchmark, load)} in {load.name}" for load in benchmark.loads)
        lines.append(f"change: since {previous['date']}, of {compared}; the machine drifts too.")
    return "\n".join(lines)


def _title(benchmark: Benchmark, load: Load, settings: Settings) -> str:
    count = benchmark.rounds(settings)
    rounds = "1 round" if count == 1 else f"median of {count} rounds"
    return f"Load {load.name}: {load.title(settings)} ({rounds})"


def _heading(benchmark: Benchmark, load: Load) -> str:
    return next(column.heading for column in benchmark.columns if column.figure == load.compared)


def _table(
    benchmark: Benchmark,
    load: Load,
    peers: Mapping[str, Peer],
    of_peers: Mapping[str, Result],
    previous: Record | None,
) -> list[str]:
    headings = "".join(f"{column.heading:>{column.width}}" for column in benchmark.columns)
    lines = [f"{'server':<{_TITLE_WIDTH}}{headings}{'change':>{_CHANGE_WIDTH}}"]
    for name, result in of_peers.items():
        figures = result.median()
        if figures is None:
            text = f"invalid: {result.invalid}"
        else:
            text = _row(benchmark, load, figures) + _change(load, name, figures, previous)
        lines.append(f"{peers[name].title:<{_TITLE_WIDTH}}{text}")
    return lines


def _row(benchmark: Benchmark, load: Load, figures: Shares) -> str:
    cells = []
    for column in benchmark.columns:
        mark = "*" if column.generator_bound and _generator_limits(load, figures) else ""
        cells.append(f"{format(getattr(figures, column.figure), column.format) + mark:>{column.width}}")
    return "".join(cells)


def _change(load: Load, peer: str, figures: Shares, previous: Record | None) -> str:
    before = previous_figure(previous, load.name, peer, load.compared)
    text = "" if before is None else f"{100 * (getattr(figures, load.compared) / before - 1):+.0f} %"
    return f"{text:>{_CHANGE_WIDTH}}"


def _generator_limits(load: Load, figures: Shares | None) -> bool:
    if figures is None or load.paced:
        return False
    return figures.generator_cpu_percent >= _FULL_PERCENT > figures.server_cpu_percent


def _verdict(target: Target, results: Mapping[str, Mapping[str, Result]], previous: Record | None) -> str:
    promise = f"{target.name}  {target.what}"
    bound = f"{'<=' if target.at_most else '>='} {target.bound:,g} {target.unit}"
    verdict = judge(target, results)
    if verdict is None:
        return f"{promise}: not judged ({bound}): every server it speaks of needs valid figures"

    def figure(value: float) -> str:
        return f"{value:,.0f}" if target.bound >= 1000 else f"{value:.2f}"

    before = previous_value(previous, target.name)
    last = "" if before is None else f", last run {figure(before)} {target.unit}"
    spread = f"rounds {figure(verdict.lowest)} to {figure(verdict.highest)}"
    answer = "holds" if verdict.holds else "falls short"
    return f"{promise}: {figure(verdict.value)} {target.unit} ({bound}): {answer}   ({spread}{last})"
