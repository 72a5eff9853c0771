"""What a run says: tables and verdicts to read.

In: results, this run's and the previous one's record. Out: text.
"""

from collections.abc import Mapping

from .loadgen import EVENTS_PER_S, IN_FLIGHT, Figures
from .measure import Result, Settings
from .peers import Peer
from .record import Record, previous_figure, previous_ratio
from .targets import TARGETS, judge

__all__ = ["render"]

_FULL_PERCENT = 95.0
"""From here on a core has nothing left."""

_HEADINGS = ("deliveries/s", "CPU us/delivery", "p50 ms", "p99 ms", "server CPU %", "generator CPU %", "change")
_WIDTHS = (14, 17, 9, 9, 14, 17, 10)


def render(
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
    for load, of_peers in results.items():
        lines += ["", _title(load, settings), *_table(load, peers, of_peers, previous)]
    lines.append("")
    lines += [_verdict(target.name, results, previous) for target in TARGETS]
    lines += [f"skipped: {peers[name].title}: {reason}" for name, reason in skipped.items()]
    lines += ["", "CPU us/delivery: user and system time of the server process by events that reached subscribers."]
    if any(_generator_limits(result.median()) for of_peers in results.values() for result in of_peers.values()):
        lines.append("* the generator's core was full and the server's was not: deliveries/s is the generator's limit.")
    if previous is not None:
        lines.append(
            f"change: since {previous['date']}, of CPU us/delivery in A, of deliveries/s in B; the machine drifts too."
        )
    return "\n".join(lines)


def _title(load: str, settings: Settings) -> str:
    pace = f"{EVENTS_PER_S} events/s" if load == "A" else f"as fast as it goes, {IN_FLIGHT} events in flight"
    how = f"{settings.seconds:g} s, median of {settings.rounds} rounds"
    return f"Load {load}: 1 room x {settings.subscribers} subscribers, {pace} ({how})"


def _table(load: str, peers: Mapping[str, Peer], of_peers: Mapping[str, Result], previous: Record | None) -> list[str]:
    lines = [f"{'server':<22}" + "".join(f"{text:>{width}}" for text, width in zip(_HEADINGS, _WIDTHS, strict=True))]
    for name, result in of_peers.items():
        figures = result.median()
        text = f"invalid: {result.invalid}" if figures is None else _row(load, name, figures, previous)
        lines.append(f"{peers[name].title:<22}{text}")
    return lines


def _row(load: str, name: str, figures: Figures, previous: Record | None) -> str:
    key = "cpu_us_per_delivery" if load == "A" else "deliveries_per_s"
    before = previous_figure(previous, load, name, key)
    cells = (
        f"{figures.deliveries_per_s:,.0f}" + ("*" if _generator_limits(figures) else ""),
        f"{figures.cpu_us_per_delivery:.2f}",
        f"{figures.p50_ms:.1f}",
        f"{figures.p99_ms:.1f}",
        f"{figures.server_cpu_percent:.0f}",
        f"{figures.generator_cpu_percent:.0f}",
        "" if before is None else f"{100 * (getattr(figures, key) / before - 1):+.0f} %",
    )
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))


def _generator_limits(figures: Figures | None) -> bool:
    return figures is not None and figures.generator_cpu_percent >= _FULL_PERCENT > figures.server_cpu_percent


def _verdict(name: str, results: Mapping[str, Mapping[str, Result]], previous: Record | None) -> str:
    target = next(target for target in TARGETS if target.name == name)
    promise = f"{name}  {target.what}"
    bound = f"{'<=' if target.at_most else '>='} {target.bound:g} x"
    verdict = judge(target, results)
    if verdict is None:
        return f"{promise}: not judged ({bound}): both servers need valid figures"
    before = previous_ratio(previous, name)
    last = "" if before is None else f", last run {before:.2f} x"
    spread = f"rounds {verdict.lowest:.2f} to {verdict.highest:.2f}"
    answer = "holds" if verdict.holds else "falls short"
    return f"{promise}: {verdict.ratio:.2f} x ({bound}): {answer}   ({spread}{last})"
