"""Tables of the documentation, as Markdown, from kept runs.

In: a record of each benchmark. Out: text. What was not measured says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import msgspec

from .__main__ import BY_NAME, defaults
from .benchmark import Benchmark, Settings
from .measure import Result, Results
from .measurement import Measurement
from .peers import PEERS
from .targets import TARGETS, Target, judge

__all__ = ["front", "growth", "loads", "machine", "markdown", "targets", "versus"]

_TITLES = {peer.name: peer.title for peer in PEERS}
_FRONT_SERVERS = ("sqlite", "ws", "socketio", "socketio-py")
_FRONT = (
    ("fanout", "B", "deliveries_per_s", "deliveries/s", ",.0f"),
    ("rooms", "C", "deliveries_per_s", "deliveries/s", ",.0f"),
    ("fanout", "A", "p99_ms", "p99 ms", ",.1f"),
)
_FULL_PERCENT = 95.0


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; all columns but the first are figures."""
    rule = ["---", *("---:" for _ in headings[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows))


def machine(records: Mapping[str, Measurement]) -> str:
    """Return what was measured where, when and how."""
    lines = []
    for name, record in records.items():
        machine = ", ".join(f"{key} {value}" for key, value in record["machine"].items())
        lines.append((f"`{name}`", record["date"], f"`{record['command']}`", machine))
    versions = {key: value for record in records.values() for key, value in record["versions"].items()}
    table = markdown(("benchmark", "measured at", "command", "machine"), lines)
    return f"{table}\n\nVersions: {', '.join(f'{name} {version}' for name, version in versions.items())}."


def targets(records: Mapping[str, Measurement]) -> str:
    """Return every promise, with its figure."""
    order = sorted(TARGETS, key=lambda target: int("".join(filter(str.isdigit, target.name.split()[0])) or 99))
    return markdown(
        ("", "promise", "at least, at most", "measured (lowest to highest round)", ""),
        (_target(target, records.get(target.benchmark)) for target in order),
    )


def _target(target: Target, record: Measurement | None) -> Sequence[str]:
    bound = f"{'≤' if target.at_most else '≥'} {target.bound:,g} {target.unit}"
    verdict = None if record is None else judge(target, _results(record))
    if verdict is None:
        return (target.name, target.what, bound, "not measured", "")
    value, lowest, highest = (
        f"{figure:,.0f}" if target.bound >= 1000 else f"{figure:.2f}"
        for figure in (verdict.value, verdict.lowest, verdict.highest)
    )
    measured = f"{value} {target.unit} ({lowest} to {highest})"
    return (target.name, target.what, bound, measured, "holds" if verdict.holds else "**falls short**")


def loads(records: Mapping[str, Measurement], benchmark: str) -> str:
    """Return a table for each load of a benchmark."""
    if benchmark not in records:
        return "Not measured."
    described, record = BY_NAME[benchmark], records[benchmark]
    settings = _settings(record)
    parts = []
    for load in described.loads:
        of_servers = record["loads"].get(load.name, {})
        rows = [(_TITLES.get(name, name), *_cells(described, outcome)) for name, outcome in of_servers.items()]
        headings = ("server", *(column.heading for column in described.columns))
        parts.append(f"**{load.name}**: {load.title(settings)}.\n\n{markdown(headings, rows)}")
    rounds = described.rounds(settings)
    notes = [*described.notes, "One round." if rounds == 1 else f"Medians of {rounds} rounds."]
    if any("*" in part.partition("\n\n")[2].replace("**", "") for part in parts):
        notes.append("\\*: the load generator's core was full and the server's was not.")
    return "\n\n".join([*parts, " ".join(notes)])


def versus(records: Mapping[str, Measurement], servers: Sequence[str]) -> str:
    """Return what these servers did under the loads of `fanout` and `rooms`: deliveries/s and CPU us/delivery."""
    rows = []
    for benchmark in ("fanout", "rooms"):
        if benchmark not in records:
            return "Not measured."
        settings = _settings(records[benchmark])
        titles = {load.name: load.title(settings) for load in BY_NAME[benchmark].loads}
        for load, of_servers in records[benchmark]["loads"].items():
            if all(name in of_servers for name in servers):
                rows.append((f"{load}: {titles[load]}", *(_pace(of_servers[name]) for name in servers)))
    return markdown(("load", *(_TITLES[name] for name in servers)), rows)


def _pace(outcome: Mapping[str, object]) -> str:
    median = outcome["median"]
    if median is None:
        return "invalid"
    assert isinstance(median, dict)
    return f"{median['deliveries_per_s']:,.0f}; {median['cpu_us_per_delivery']:.2f} us"


def front(records: Mapping[str, Measurement]) -> str:
    """Return the few figures of the README: one large room, many small ones, and how long an event takes."""
    if not {"fanout", "rooms"} <= records.keys():
        return "Not measured."
    lines = []
    for benchmark, load, figure, unit, shape in _FRONT:
        title = {each.name: each.title for each in BY_NAME[benchmark].loads}[load](_settings(records[benchmark]))
        medians = [records[benchmark]["loads"][load].get(name, {}).get("median") for name in _FRONT_SERVERS]
        cells = ("" if median is None else format(median[figure], shape) for median in medians)
        lines.append((f"{title}: {unit}", *cells))
    return markdown(("load", *(_TITLES[name] for name in _FRONT_SERVERS)), lines)


def growth(records: Mapping[str, Measurement], axis: str) -> str:
    """Return one table for all points of an axis."""
    name = f"growth-{axis}"
    if name not in records:
        return "Not measured."
    described, record = BY_NAME[name], records[name]
    rows = []
    for load in described.loads:
        for server, outcome in record["loads"].get(load.name, {}).items():
            title = load.title(_settings(record))
            several = len(record["loads"][load.name]) > 1
            first = f"{title}, {_TITLES[server].rpartition(' ')[2]}" if several else title
            rows.append((first, *_cells(described, outcome)))
    table = markdown(("", *(column.heading for column in described.columns)), rows)
    return f"{table}\n\n{' '.join(described.notes)}"


def _cells(benchmark: Benchmark, outcome: Mapping[str, object]) -> Sequence[str]:
    median = outcome["median"]
    if median is None:
        return (f"invalid: {outcome['invalid']}", *("" for _ in benchmark.columns[1:]))
    assert isinstance(median, dict)
    limited = median["generator_cpu_percent"] >= _FULL_PERCENT > median["server_cpu_percent"]
    return [
        format(median[column.figure], column.format) + ("\\*" if column.generator_bound and limited else "")
        for column in benchmark.columns
    ]


def _results(record: Measurement) -> Results:
    kind = BY_NAME[record["benchmark"]].figures
    return {
        load: {
            name: Result([msgspec.convert(figures, kind) for figures in outcome["rounds"]], outcome["invalid"])
            for name, outcome in of_servers.items()
        }
        for load, of_servers in record["loads"].items()
    }


def _settings(record: Measurement) -> Settings:
    # A run from before a setting existed had its default.
    return Settings(**(asdict(defaults()) | record["settings"]))
