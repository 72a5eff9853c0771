"""The alert rules, tried by Prometheus's own tool: each fires on what it is for, and not before."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import yaml

from server.app import Router

from .docs.commands import adapted
from .docs.taken import taken

DOCS = Path(__file__).parents[1] / "docs"
RULES = DOCS / "grafana" / "alerts.yml"
(GROUP,) = yaml.safe_load(RULES.read_text())["groups"]


class Case(NamedTuple):
    """What a rule sees, and what it makes of it. All of it is about one router."""

    alert: str
    series: dict[str, str]
    """Values of a minute each, as `promtool` writes them, by metric and labels."""
    quiet: str
    """When it says nothing yet."""
    fires: str
    labels: dict[str, str]
    """What the alert has beside severity and instance."""
    summary: str


def slow(name: str) -> dict[str, str]:
    """Return a histogram of which nothing is under 0.25 s and everything under 0.5 s."""
    return {f'{name}_bucket{{le="{le}"}}': f"0+{count}x20" for le, count in (("0.25", 0), ("0.5", 60), ("+Inf", 60))}


JOB = {"job": "postroom"}
CASES = (
    Case("PostroomDown", {"up": "1 0 0"}, "1m", "2m", JOB, "router-1 does not answer"),
    Case(
        "PostroomJournalUnavailable",
        {"postroom_journal_available": "1 0 0"},
        "1m",
        "2m",
        JOB,
        "router-1 cannot keep events",
    ),
    Case(
        "PostroomActorGivenUp",
        {'postroom_given_up_total{supervisor="rooms"}': "0x4 1x4"},
        "4m",
        "5m",
        {"supervisor": "rooms"},
        "rooms of router-1 gave up an actor that failed again and again",
    ),
    Case(
        "PostroomQuarantined",
        {"postroom_quarantined_total": "0x4 1x4"},
        "4m",
        "5m",
        {},
        "router-1 has put a message into quarantine",
    ),
    Case(
        "PostroomClusterLinkDown",
        {"postroom_cluster_link_up": "1 0 0"},
        "1m",
        "2m",
        JOB,
        "router-1 has no connection to NATS",
    ),
    Case(
        "PostroomRestartsOften",
        {'postroom_restarts_total{supervisor="connections"}': "0+3x20"},
        "3m",
        "12m",
        {"supervisor": "connections"},
        "connections of router-1 restarted 30 actors in 10 minutes",
    ),
    Case(
        "PostroomEventsLate",
        slow("postroom_publish_to_write_seconds"),
        "5m",
        "10m",
        {},
        "router-1: one delivery in a hundred takes 497.5ms",
    ),
    Case(
        "PostroomLoopLags",
        slow("postroom_loop_lag_seconds"),
        "5m",
        "10m",
        {},
        "router-1: the event loop comes 497.5ms late",
    ),
    Case(
        "PostroomCommitsSlow",
        slow("postroom_journal_commit_seconds"),
        "5m",
        "10m",
        {},
        "router-1: one commit in a hundred takes 497.5ms",
    ),
    Case(
        "PostroomClientsBehind",
        {'postroom_connection_lag_events{quantile="0.99"}': "0 500x10"},
        "5m",
        "7m",
        {"quantile": "0.99", **JOB},
        "router-1: one client in a hundred is 500 events behind",
    ),
    Case(
        "PostroomClientsTooSlow",
        {'postroom_connections_closed_total{code="4002"}': "0+10x20"},
        "3m",
        "12m",
        {},
        "router-1 has closed 100 clients in 10 minutes because they were too slow",
    ),
    Case(
        "PostroomBusy",
        {'postroom_rejected_total{reason="busy"}': "0+120x20"},
        "5m",
        "10m",
        {"reason": "busy"},
        "router-1 turns away 2 a second as busy",
    ),
    Case(
        "PostroomDescriptorsShort",
        {"process_open_fds": "100 950x10", "process_max_fds": "1000x11"},
        "5m",
        "7m",
        JOB,
        "router-1 has 95% of its file descriptors in use",
    ),
)


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus's tool; without it the tests are skipped, but not where everything has to be tested."""
    found = shutil.which("promtool")
    if found is None:
        reason = "there is no promtool, which comes with Prometheus"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def run(*command: str, cwd: Path) -> str:
    """Run it to a good end, and return what it said."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def of_router(series: str) -> str:
    """Return it with the labels that Prometheus gives to what it gets from a router."""
    own = 'instance="router-1", job="postroom"'
    name, _, labels = series.rstrip("}").partition("{")
    return f"{name}{{{', '.join(filter(None, (labels, own)))}}}"


def as_test(case: Case) -> dict[str, Any]:
    """Return a case as `promtool test rules` takes it."""
    (rule,) = (rule for rule in GROUP["rules"] if rule["alert"] == case.alert)
    fired = {
        "exp_labels": {**rule["labels"], "instance": "router-1", **case.labels},
        "exp_annotations": {"summary": case.summary, "description": rule["annotations"]["description"]},
    }
    return {
        "interval": "1m",
        "input_series": [{"series": of_router(name), "values": values} for name, values in case.series.items()],
        "alert_rule_test": [
            {"alertname": case.alert, "eval_time": case.quiet, "exp_alerts": []},
            {"alertname": case.alert, "eval_time": case.fires, "exp_alerts": [fired]},
        ],
    }


def test_each_rule_fires_on_what_it_is_for_and_not_before(promtool: str, tmp_path: Path) -> None:
    tests = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [as_test(case) for case in CASES]}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests, sort_keys=False))
    run(promtool, "test", "rules", "tests.yml", cwd=tmp_path)


def test_there_is_a_case_for_each_rule() -> None:
    assert [case.alert for case in CASES] == [rule["alert"] for rule in GROUP["rules"]]


def test_prometheus_takes_what_the_guide_shows(promtool: str, tmp_path: Path) -> None:
    """Its two pieces of configuration together, with the rule file where they say."""
    scrape, rules = taken("how-to/monitor.md", "test_prometheus_takes_what_the_guide_shows")
    shutil.copy(RULES, tmp_path / "rules.yml")
    (tmp_path / "prometheus.yml").write_text(
        scrape + adapted(rules, {"/etc/prometheus/postroom-alerts.yml": "rules.yml"})
    )
    assert "13 rules found" in run(promtool, "check", "config", "prometheus.yml", cwd=tmp_path)


async def test_prometheus_finds_one_thing_odd_about_the_metrics_of_a_router(promtool: str, router: Router) -> None:
    """That figures of all connections at one moment are told by quantile: as gauges, for they count nothing up."""
    async with aiohttp.ClientSession() as session, session.get(f"{router.addresses.api_url}/metrics") as answer:
        text = await answer.text()
    odd = [line for line in complaints(promtool, text) if not re.match(r'postroom_connection_\w+ .*"quantile"', line)]
    assert not odd


def complaints(promtool: str, metrics: str) -> list[str]:
    done = subprocess.run([promtool, "check", "metrics"], input=metrics, capture_output=True, text=True, timeout=60)
    return (done.stdout + done.stderr).splitlines()
