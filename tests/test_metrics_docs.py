"""Metrics in the documentation: table, dashboard and alerts speak of what a router has, and of all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import ProcessCollector

from server.metrics import METRICS

DOCS = Path(__file__).parents[1] / "docs"
DASHBOARD = json.loads((DOCS / "grafana" / "postroom.json").read_text())
ALERTS = yaml.safe_load((DOCS / "grafana" / "alerts.yml").read_text())["groups"]
_OF_HISTOGRAMS = ("_bucket", "_sum", "_count")
_OF_PROMETHEUS = {"up": {"job", "instance"}}
_OF_TARGETS = {"instance", "job"}


def process_metrics() -> dict[str, str]:
    """Return the samples that the library has of the process, with their types."""
    families = ProcessCollector(registry=None).collect()
    return {sample.name: family.type for family in families for sample in family.samples}


def samples() -> dict[str, set[str]]:
    """Return the name of each sample that a scrape may have, and its labels."""
    found = {name: _OF_TARGETS for name in process_metrics()} | _OF_PROMETHEUS
    for measure in METRICS:
        labels = {*measure.labels, *_OF_TARGETS}
        if measure.kind == "histogram":
            found |= {
                f"{measure.name}{end}": labels | ({"le"} if end == "_bucket" else set()) for end in _OF_HISTOGRAMS
            }
        else:
            found[measure.name] = labels
    return found


SAMPLES = samples()


def test_every_metric_is_in_the_reference_with_type_labels_unit_and_meaning() -> None:
    """The rows are those of the table in the code, in its order, and there are no others."""
    page = (DOCS / "reference" / "metrics.md").read_text()
    shown = re.findall(r"^\| `postroom_.*\|$", page, re.MULTILINE)
    assert shown == [
        f"| `{measure.name}` | {measure.kind} | {', '.join(f'`{label}`' for label in measure.labels) or '-'} "
        f"| {measure.unit or '-'} | {measure.meaning} |"
        for measure in METRICS
    ]


def test_what_the_library_tells_of_the_process_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "metrics.md").read_text()
    assert dict(re.findall(r"^\| `(process_\w+)` \| (\w+) ", page, re.MULTILINE)) == process_metrics()


def test_names_follow_the_conventions() -> None:
    """One prefix; counters end with `_total`; units are those of the name, in seconds and bytes."""
    for measure in METRICS:
        assert re.fullmatch(r"postroom_[a-z_]+", measure.name)
        assert measure.name.endswith("_total") == (measure.kind == "counter"), measure.name
        if measure.unit in ("seconds", "bytes"):
            assert measure.name.removesuffix("_total").endswith(measure.unit), measure.name
        assert measure.meaning.endswith("."), measure.name


def panels() -> Iterator[dict[str, Any]]:
    return (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> Iterator[tuple[str, str]]:
    """Return every query of the dashboard and of the alerts, with where it stands."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            (inner,) = re.findall(r"^label_values\((.+), \w+\)$", variable["query"]["query"])
            yield variable["name"], inner
    for group in ALERTS:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def used(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Return each sample that an expression reads, and the labels that it selects by."""
    for name, selector in re.findall(r"\b((?:postroom|process)_\w+|up)\b(?:\{([^}]*)\})?", expression):
        yield name, set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\"", selector))


def test_every_metric_that_a_panel_or_an_alert_names_exists_with_its_labels() -> None:
    """And so does each label by which something is summed up or that a legend shows."""
    for where, expression in expressions():
        names = list(used(expression))
        assert names, where
        for name, labels in names:
            assert name in SAMPLES, f"{where}: there is no {name}"
            assert labels <= SAMPLES[name], f"{where}: {name} has no {labels - SAMPLES[name]}"
        known = set.union(*(SAMPLES[name] for name, _ in names))
        for labels in re.findall(r"\bby \(([^)]*)\)", expression):
            assert {label.strip() for label in labels.split(",")} <= known, where
        assert expression.count("(") == expression.count(")"), where
    for panel in panels():
        for target in panel["targets"]:
            kept = re.findall(r"\bby \(([^)]*)\)", target["expr"])
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert not shown or shown <= {*re.split(r",\s*", kept[0])} if kept else shown <= _OF_TARGETS, panel["title"]


def test_every_metric_is_on_the_dashboard() -> None:
    """What is worth counting is worth a look; `journal_waiting_bytes` goes with the events that wait."""
    seen = {name for _, expression in expressions() for name, _ in used(expression)}
    histograms = {measure.name for measure in METRICS if measure.kind == "histogram"}
    seen |= {histogram for histogram in histograms for end in _OF_HISTOGRAMS if f"{histogram}{end}" in seen}
    assert {measure.name for measure in METRICS} - seen == {"postroom_journal_waiting_bytes"}


def test_the_dashboard_asks_for_its_data_source_and_its_panels_do_not_overlap() -> None:
    """It can be imported anywhere: no panel names a data source of its own."""
    variables = {variable["name"]: variable["type"] for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"] == "datasource"
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"].get("unit") or panel["options"]["yAxis"]["unit"], panel["title"]
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(identities) == len(set(identities))


def test_every_alert_says_how_bad_it_is_what_happened_and_what_to_do() -> None:
    """The guide has a heading for each, and for no other, under its severity."""
    rules = [rule for group in ALERTS for rule in group["rules"]]
    for rule in rules:
        assert rule["annotations"].keys() == {"summary", "description"}
    guide = (DOCS / "how-to" / "alert-rules.md").read_text()
    parts = re.findall(r"^## (Critical|Warning)\n(.*?)(?=^## |\Z)", guide, re.MULTILINE | re.DOTALL)
    said = {alert: part.lower() for part, text in parts for alert in re.findall(r"^### (\w+)$", text, re.MULTILINE)}
    assert said == {rule["alert"]: rule["labels"]["severity"] for rule in rules}
