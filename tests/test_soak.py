"""What the soak says of what it sees: a leak, a failure that nobody planned, something left over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .soak.__main__ import options_of, plan_of
from .soak.looks import Look, slope
from .soak.plan import SoakPlan, short
from .soak.report import Report
from .soak.run import Soak
from .soak.supervision import Supervision
from .torture.plan import Tally

COUNTS = {"tasks": 14, "connections": 11}


def looks(per_10_min_mib: float, *, minutes: int = 30, noise_mib: float = 0.0) -> list[Look]:
    """Three looks a minute; every other one is higher by the noise."""
    return [
        Look(n * 20.0, 60.0 + per_10_min_mib * n / 30 + noise_mib * (n % 2), 7, 4.0, 9.0, COUNTS)
        for n in range(minutes * 3 + 1)
    ]


def supervised(folder: Path, *lines: dict[str, Any] | str) -> Supervision:
    """Read a log in which every planned failure happened, and these lines."""
    log = folder / "router.log"
    planned = [
        line(
            "actor_failed", "error", actor_class=actor, error="no attribute 'explode'", exception_type="AttributeError"
        )
        for actor in ("Connection", "Room", "NotificationSource", "Journal", "Supervisor")
    ]
    planned.append(line("connection_closed", "info", stalled=5.0))
    log.write_text("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in (*planned, *lines)))
    supervision = Supervision(log)
    supervision.read()
    return supervision


def line(event: str, level: str, **fields: Any) -> dict[str, Any]:
    return {"event": event, "level": level, **fields}


def judged(seen: list[Look], supervision: Supervision, complaints: list[str] | None = None) -> bool:
    tally = Tally()
    tally.acknowledged = tally.resumes = 1
    return Report(SoakPlan(0)).end(Soak(seen, tally, supervision, complaints or [], ["0 violations\n"]))


@pytest.mark.parametrize("noise_mib", [0.0, 2.0])
def test_the_slope_is_what_the_memory_grows_by_in_ten_minutes(noise_mib: float) -> None:
    assert slope(looks(0.5, noise_mib=noise_mib)) == pytest.approx(0.5, abs=0.05)


def test_memory_that_grows_misses_the_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below 1 MiB in 10 minutes is good, and what grew in the first ten minutes does not count."""
    supervision = supervised(tmp_path)
    assert judged(looks(0.9), supervision)
    assert not judged(looks(1.1), supervision)
    assert "memory grows by 1.10 MiB in 10 minutes" in capsys.readouterr().out
    warming = [each._replace(memory_mib=min(each.at_s, 600.0)) for each in looks(0.0)]
    assert judged(warming, supervision)


def test_a_short_run_does_not_judge_the_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(looks(5.0, minutes=5), supervised(tmp_path))
    assert "not judged: too short" in capsys.readouterr().out


def test_a_journal_that_grows_misses_the_bar(tmp_path: Path) -> None:
    for grown in ({"journal_mib": 9.0}, {"wal_mib": 40.0}):
        assert not judged([each._replace(**grown) for each in looks(0.0)], supervised(tmp_path))


def test_whatever_was_complained_of_misses_the_bar(tmp_path: Path) -> None:
    assert not judged(looks(0.0), supervised(tmp_path), ["round 3 left something"])


def test_a_soak_in_which_nothing_happened_misses_the_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "router.log").touch()
    assert not judged(looks(0.0), Supervision(tmp_path / "router.log"))
    assert "no Room was made to fail" in capsys.readouterr().out


@pytest.mark.parametrize(
    "unplanned",
    [
        line("actor_failed", "error", actor_class="Room", error="division by zero", exception_type="ZeroDivisionError"),
        line("subscriptions_left", "error", count=2),
        line("root_supervisor_failed", "critical", error="it failed too often"),
        "Task exception was never retrieved",
    ],
)
def test_a_failure_that_nobody_planned_is_told(tmp_path: Path, unplanned: dict[str, Any] | str) -> None:
    """Everything else in the log is fine, and a line that is being written is read when it is whole."""
    given_up = line("actor_given_up", "error", actor="connection:1")
    supervision = supervised(tmp_path, given_up)
    assert supervision.unplanned == []
    with (tmp_path / "router.log").open("a") as log:
        text = unplanned if isinstance(unplanned, str) else json.dumps(unplanned)
        log.write(text[:5])
        log.flush()
        supervision.read()
        assert supervision.unplanned == []
        log.write(f"{text[5:]}\n")
    supervision.read()
    assert supervision.unplanned == [text]


@pytest.mark.parametrize(
    "plan", [SoakPlan(3), SoakPlan(3, minutes=5.0), short(3), short(3)._replace(minutes=2.0)], ids=SoakPlan.repeat
)
def test_the_command_that_is_printed_makes_the_same_plan(plan: SoakPlan) -> None:
    arguments = plan.repeat().removeprefix("python -m tests.soak ").split()
    assert plan_of(options_of(arguments)) == plan
