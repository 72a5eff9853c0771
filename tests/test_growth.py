"""The benchmarks that run only when they are named, each in a tiny form on real routers. No time is asserted."""

from __future__ import annotations

import dataclasses
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("the benchmarks read /proc and wait with epoll", allow_module_level=True)

from benchmarks.__main__ import BY_NAME, defaults
from benchmarks.measure import measure
from benchmarks.measurement import measurements
from benchmarks.peers import PEERS
from benchmarks.record import Run, record
from benchmarks.tables import growth, loads

pytestmark = pytest.mark.alone

TINY = dataclasses.replace(defaults(), subscribers=4, most=8, seconds=0.1, rounds=1)
SERVERS = {peer.name: peer for peer in PEERS}


@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("growth-subscribers", "postroom"),
        ("growth-rooms", "postroom"),
        ("growth-rate", "postroom"),
        ("growth-history", "history-1000-sqlite"),
        ("costs", "postroom"),
    ],
)
def test_a_named_benchmark_gives_figures_for_every_point(name: str, server: str) -> None:
    """They come out, and stand in the table of the page."""
    benchmark = BY_NAME[name]
    results = measure(benchmark, [SERVERS[server]], TINY)
    points = {load: of_servers[server] for load, of_servers in results.items() if server in of_servers}
    assert points
    for load, point in points.items():
        assert point.invalid is None, load
        figures = point.median()
        assert figures is not None
        assert all(value >= 0 for value in dataclasses.asdict(figures).values())

    (kept,) = measurements(record(TINY, [Run(benchmark, [SERVERS[server]], results, {})]))
    axis = name.removeprefix("growth-")
    table = loads({name: kept}, name) if axis == name else growth({name: kept}, axis)
    assert "invalid" not in table
    assert table.count("\n| ") >= len(points)


def test_history_grows_on_routers_that_keep_so_much() -> None:
    """Each point has a router of its own with either journal, whose setting says how much a room keeps."""
    benchmark = BY_NAME["growth-history"]
    for load in benchmark.loads:
        point = load.name.partition(" ")[2]
        assert load.peers is not None
        assert {SERVERS[name].settings["POSTROOM_HISTORY_EVENTS"] for name in load.peers} == {point}
        assert {SERVERS[name].journal for name in load.peers} == {None, "journal.db"}
