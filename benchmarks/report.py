"""What a run says: tables and verdicts to read.

In: results, this run's and the previous one's record. Out: text.
"""

import sys
from collections.abc import Mapping

from .benchmark import Benchmark, Load, Settings, Shares
from .measure import Result
from .record import Judged, Record, Run, previous_figure, previous_value
from .targets import TARGETS, Target, judge

__all__ = ["render", "summary"]

_FULL_PERCENT = 95.0
"""From here on a core has nothing left."""

_TITLE_WIDTH, _CHANGE_WIDTH = 22, 10


def render(run: Run, settings: Settings, titles: Mapping[str, str], previous: Record | None) -> str:
    """Return what one benchmark says."""
    benchmark, results = run.benchmark, run.results
    lines: list[str] = []
    for load in benchmark.loads:
        lines += ["", _title(benchmark, load, settings), *_table(benchmark, load, titles, results[load.name], previous)]
    lines.append("")
    lines += [_verdict(target, results, previous) for target in TARGETS if target.benchmark == benchmark.name]
    lines += [f"skipped: {titles[name]}: {reason}" for name, reason in run.skipped.items()]
    lines += ["", *benchmark.notes]
    if any(_generator_limits(result.median()) for of_peers in results.values() for result in of_peers.values()):
        lines.append("* the generator's core was full and the server's was not: the figure is the generator's limit.")
    if previous is not None:
        compared = ", ".join(f"{_heading(benchmark, load)} in {load.name}" for load in benchmark.loads)
        lines.append(f"change: since {previous['date']}, of {compared}; the machine drifts too.")
    return "\n".join(lines)


def summary(current: Record) -> str:
    """Return what the whole run says: where and with what it was measured, and every target in one table."""
    lines = ["", f"{current['date']}   {current['command']}"]
    lines.append("  ".join(f"{key} {value}" for key, value in current["machine"].items()))
    lines.append("  ".join(f"{name} {version}" for name, version in current["versions"].items()))
    if current["targets"]:
        lines += ["", f"{'':<9}{'target':>16}{'value':>14}  {'':<13}what"]
    ordered = sorted(current["targets"].items(), key=lambda item: _place(item[0]))
    lines += [_line(name, judged) for name, judged in ordered]
    return "\n".join(lines)


def _place(target: str) -> tuple[int, str]:
    """Return where a target stands in the table: F2 before F10, those without a number behind."""
    number = target.partition(" ")[0].removeprefix("F")
    return (int(number) if number.isdigit() else sys.maxsize, target)


def _line(name: str, judged: Judged) -> str:
    unit, value = judged["unit"], judged["value"]
    bound = f"{'<=' if judged['at_most'] else '>='} {judged['bound']:,g} {unit}"
    if value is None:
        return f"{name:<9}{bound:>16}{'-':>14}  {'not judged':<13}{judged['what']}"
    answer = "holds" if judged["holds"] else "falls short"
    return f"{name:<9}{bound:>16}{_figure(value, judged['bound']) + ' ' + unit:>14}  {answer:<13}{judged['what']}"


def _figure(value: float, bound: float) -> str:
    return f"{value:,.0f}" if bound >= 1000 else f"{value:.2f}"


def _title(benchmark: Benchmark, load: Load, settings: Settings) -> str:
    count = benchmark.rounds(settings)
    rounds = "1 round" if count == 1 else f"median of {count} rounds"
    return f"Load {load.name}: {load.title(settings)} ({rounds})"


def _heading(benchmark: Benchmark, load: Load) -> str:
    return next(column.heading for column in benchmark.columns if column.figure == load.compared)


def _table(
    benchmark: Benchmark,
    load: Load,
    titles: Mapping[str, str],
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
            text = _row(benchmark, figures) + _change(benchmark, load, name, figures, previous)
        lines.append(f"{titles[name]:<{_TITLE_WIDTH}}{text}")
    return lines


def _row(benchmark: Benchmark, figures: Shares) -> str:
    cells = []
    for column in benchmark.columns:
        mark = "*" if column.generator_bound and _generator_limits(figures) else ""
        cells.append(f"{format(getattr(figures, column.figure), column.format) + mark:>{column.width}}")
    return "".join(cells)


def _change(benchmark: Benchmark, load: Load, peer: str, figures: Shares, previous: Record | None) -> str:
    before = previous_figure(previous, benchmark.name, load.name, peer, load.compared)
    text = "" if before is None else f"{100 * (getattr(figures, load.compared) / before - 1):+.0f} %"
    return f"{text:>{_CHANGE_WIDTH}}"


def _generator_limits(figures: Shares | None) -> bool:
    return figures is not None and figures.generator_cpu_percent >= _FULL_PERCENT > figures.server_cpu_percent


def _verdict(target: Target, results: Mapping[str, Mapping[str, Result]], previous: Record | None) -> str:
    promise = f"{target.name}  {target.what}"
    bound = f"{'<=' if target.at_most else '>='} {target.bound:,g} {target.unit}"
    verdict = judge(target, results)
    if verdict is None:
        return f"{promise}: not judged ({bound}): every server it speaks of needs valid figures"

    before = previous_value(previous, target.name)
    last = "" if before is None else f", last run {_figure(before, target.bound)} {target.unit}"
    spread = f"rounds {_figure(verdict.lowest, target.bound)} to {_figure(verdict.highest, target.bound)}"
    answer = "holds" if verdict.holds else "falls short"
    return f"{promise}: {_figure(verdict.value, target.bound)} {target.unit} ({bound}): {answer}   ({spread}{last})"
