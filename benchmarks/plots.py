"""What the plots of the documentation show, as numbers: drawn by `drawing`, held against the record by a test.

In: a record of each benchmark. Out: panels of series.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from .measurement import Measurement
from .model import Costs, NotMeasured, from_records
from .peers import PEERS

__all__ = ["PLOTS", "Panel", "Series", "digest"]

_TITLES = {peer.name: peer.title for peer in PEERS}


class Series(NamedTuple):
    """One line, or the bars of one panel."""

    label: str
    x: list[float] | list[str]
    y: list[float]
    predicted: bool = False
    """Whether it comes from the model."""


class Panel(NamedTuple):
    """One plot of several."""

    title: str
    x: str
    """What the axis says; empty for bars."""
    y: str
    series: list[Series]


def digest(panels: list[Panel]) -> str:
    """Return what tells these panels from all others."""
    return hashlib.sha256(msgspec.json.encode(panels)).hexdigest()


def _peers(records: Mapping[str, Measurement]) -> list[Panel]:
    wanted = (
        ("fanout", "A", "cpu_us_per_delivery", "A: CPU us/delivery, less is better"),
        ("fanout", "B", "deliveries_per_s", "B: deliveries/s"),
        ("rooms", "C", "deliveries_per_s", "C: deliveries/s"),
        ("rooms", "D", "deliveries_per_s", "D: deliveries/s"),
    )
    panels = []
    for benchmark, load, figure, title in wanted:
        if benchmark in records:
            medians = {name: each["median"] for name, each in records[benchmark]["loads"][load].items()}
            bars = {_TITLES[name]: _rounded(median[figure]) for name, median in medians.items() if median is not None}
            panels.append(Panel(title, "", "", [Series(load, list(bars), list(bars.values()))]))
    return panels


def _growth(records: Mapping[str, Measurement]) -> list[Panel]:
    try:
        costs = from_records(records)
    except NotMeasured:
        costs = None
    panels = []
    for axis, x in (("subscribers", "subscribers of one room"), ("rooms", "rooms, 10,000 subscribers in all")):
        if record := records.get(f"growth-{axis}"):
            points = _points(record, "postroom")
            series = [
                _line("some events at a time", points, "cpu_us_per_delivery"),
                _line("one event at a time", points, "alone_cpu_us_per_delivery"),
            ]
            if costs is not None:
                series.append(_predicted(axis, costs, list(points)))
            panels.append(Panel(f"Growth with {axis}", x, _COST, series))
    if record := records.get("growth-rate"):
        by_rate = {each["events_per_s"]: each for each in _points(record, "postroom").values()}
        line = _line("one room", by_rate, "cpu_us_per_delivery")
        panels.append(Panel("Growth with the rate", "events/s", _COST, [line]))
    if record := records.get("growth-history"):
        journals = ("memory", "sqlite")
        series = [
            _line(f"{how}, {journal}", _points(record, journal), figure)
            for journal in journals
            for how, figure in (("some", "cpu_us_per_delivery"), ("one", "alone_cpu_us_per_delivery"))
        ]
        panels.append(Panel("Growth with the history", "events kept by the room", _COST, series))
    return panels


_COST = "CPU us/delivery"


def _points(record: Measurement, server: str) -> dict[float, dict[str, float]]:
    """Return medians by the number in the load's name, or by itself where that is a word."""
    points = {}
    for load, of_servers in record["loads"].items():
        word = load.partition(" ")[2]
        for name, outcome in of_servers.items():
            if name.endswith(server) and outcome["median"] is not None:
                points[float(word) if word.isdigit() else float("inf")] = outcome["median"]
    return points


def _line(label: str, points: Mapping[float, Mapping[str, float]], figure: str) -> Series:
    return Series(label, [_rounded(x) for x in points], [_rounded(point[figure]) for point in points.values()])


def _predicted(axis: str, costs: Costs, xs: list[float]) -> Series:
    sizes = xs if axis == "subscribers" else [10_000 / x for x in xs]
    return Series("one at a time, predicted", xs, [_rounded(costs.turn(size) / size) for size in sizes], predicted=True)


def _rounded(figure: float) -> float:
    return float(f"{figure:.4g}")


PLOTS: dict[str, Callable[[Mapping[str, Measurement]], list[Panel]]] = {"peers": _peers, "growth": _growth}
"""By the name of the file."""
