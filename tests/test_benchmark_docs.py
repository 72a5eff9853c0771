"""The pages that tell what was measured: every figure on them is in the record, and the model does what it says."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the benchmarks read /proc and wait with epoll", allow_module_level=True)

from benchmarks import kept
from benchmarks.__main__ import BY_NAME, defaults
from benchmarks.costs import BURSTS
from benchmarks.docs import FOLDER, PAGES, rewritten
from benchmarks.measurement import Measurement
from benchmarks.model import Costs, from_records
from benchmarks.plots import PLOTS, digest
from benchmarks.record import FORMAT


@pytest.fixture(scope="module")
def records() -> dict[str, Measurement]:
    return json.loads(kept.RECORD.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_measured_figure_on_a_page_is_in_the_record(page: Path, records: dict[str, Measurement]) -> None:
    """`make bench-docs` would change nothing."""
    assert "<!-- begin " in page.read_text()
    assert rewritten(page.read_text(), records) == page.read_text()


@pytest.mark.parametrize("plot", PLOTS)
def test_every_plot_shows_the_record(plot: str, records: dict[str, Measurement]) -> None:
    """The file names the numbers that it was drawn from."""
    drawn = (FOLDER / f"performance-{plot}.svg").read_text()
    assert digest(PLOTS[plot](records)) in drawn


def test_a_made_up_figure_is_noticed(records: dict[str, Measurement]) -> None:
    page = PAGES[0].read_text()
    forged = re.sub(r"\| \d+\.\d\d \|", "| 0.01 |", page, count=1)
    assert forged != page
    assert rewritten(forged, records) != forged


def made_up(benchmark: str, medians: dict[str, dict[str, float]], date: str = "2026-01-01") -> Measurement:
    return Measurement(
        benchmark=benchmark,
        date=date,
        command="",
        machine={},
        versions={},
        settings=dataclasses.asdict(defaults()),
        skipped={},
        loads={
            load: {"postroom": {"invalid": None, "median": median, "rounds": []}} for load, median in medians.items()
        },
    )


COSTS = Costs(
    wake_us=100,
    room_us=20,
    event_us=40,
    write_us=4,
    copy_us=0.25,
    wire_bytes=400,
    memory_bytes=10_240,
    connect_us=500,
    idle_us_per_s=2,
)


def test_the_model_finds_the_costs_that_bursts_were_made_of() -> None:
    bursts = {}
    for name, (rooms, size, events) in BURSTS.items():
        burst_us = COSTS.wake_us + rooms * (COSTS.room_us + size * COSTS.write_us)
        burst_us += events * (COSTS.event_us + size * COSTS.copy_us)
        bursts[name] = {"cpu_us_per_delivery": burst_us / events / size, "wire_bytes_per_delivery": 400}
    percent = 100 * COSTS.idle_us_per_s * defaults().connections / 1e6
    idle = {"kb_per_connection": 10, "connect_cpu_us": 500, "server_cpu_percent": percent}
    found = from_records({"costs": made_up("costs", bursts), "idle": made_up("idle", {"idle": idle})})
    assert dataclasses.asdict(found) == pytest.approx(dataclasses.asdict(COSTS))


def test_the_model_lets_events_share_turns_only_where_they_may_wait() -> None:
    """At no latency a core takes one event at a time; the longer they may wait, the more it takes."""
    alone = 1e6 / COSTS.turn(10)
    assert COSTS.within(100, 10, latency_ms=0.001) == pytest.approx(alone)
    assert alone < COSTS.within(100, 10, latency_ms=20) < COSTS.within(100, 10, latency_ms=100)
    assert COSTS.cpu_percent(10, alone / 2) == pytest.approx(50)
    assert COSTS.delivery_us(100, 10, 2000) < COSTS.delivery_us(100, 10, 400) < COSTS.turn(10) / 10


def test_the_newest_run_of_usual_size_is_what_the_pages_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "RESULTS", tmp_path)
    monkeypatch.setattr(kept, "RECORD", tmp_path / "performance.json")
    (same,) = {name for name in BY_NAME["rooms"].same}
    runs = [made_up("rooms", {}, f"2026-01-0{day}") for day in (1, 2, 3)]
    runs[2]["settings"][same] = 3
    for number, each in enumerate(runs):
        whole = each | {"format": FORMAT, "benchmarks": {"rooms": {"skipped": {}, "loads": {}}}}
        (tmp_path / f"2026-{number}.json").write_text(json.dumps(whole))
    kept.save({"rooms": made_up("rooms", {}, "2025-01-01"), "idle": made_up("idle", {})})
    newest = kept.newest()
    assert {name: each["date"] for name, each in newest.items()} == {"rooms": "2026-01-02", "idle": "2026-01-01"}
