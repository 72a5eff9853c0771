"""The durable log under torture, in its short form: `make torture` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..torture import disk
from ..torture.plan import Outcome, Plan, short
from ..torture.run import run

SHORT = short(seed=1)


async def torture(plan: Plan, folder: Path) -> Outcome:
    """Do what the plan says; everything must hold, and the faults must have happened."""
    outcome = await run(plan, folder)
    again = f"again: {plan.repeat()}"
    assert outcome.exit_code == 0, f"{outcome.verdict}\n{outcome.tally}\n{again}"
    assert outcome.verdict.startswith("0 violations\n")
    assert not outcome.complaints, f"{outcome.complaints}\n{outcome.tally}\n{again}"
    assert outcome.tally.acknowledged > 0
    assert outcome.tally.resumes > 0
    return outcome


async def test_nothing_acknowledged_is_lost_when_the_router_is_killed_again_and_again(tmp_path: Path) -> None:
    """Every subscriber, and one that reads the whole log at the end, agree with every receipt."""
    outcome = await torture(SHORT, tmp_path)
    assert outcome.tally.kills > SHORT.kills
    assert outcome.tally.drops > 0


async def test_a_full_disk_refuses_events_and_loses_none_even_if_the_router_is_killed_on_it(tmp_path: Path) -> None:
    reason = disk.unavailable()
    if reason is not None:
        pytest.skip(reason)
    plan = SHORT._replace(disk_full=True, kills=1, seconds=2.0)
    outcome = await torture(plan, tmp_path)
    assert outcome.tally.refused["journal_unavailable"] > 0
    assert outcome.tally.kills > plan.kills


async def test_a_router_that_forgets_is_found_out(tmp_path: Path) -> None:
    """The same run on the log in memory ends with violations: the torture can tell."""
    outcome = await run(SHORT._replace(journal="memory", kills=1, seconds=1.0), tmp_path)
    assert outcome.exit_code == 1, outcome.verdict
    assert outcome.tally.kills == 2
