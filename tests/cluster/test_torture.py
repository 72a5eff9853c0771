"""A cluster under torture, in its short form: `make torture` is the long one."""

from __future__ import annotations

from pathlib import Path

from ..torture.cluster.run import run_cluster
from ..torture.plan import short_cluster


async def test_nothing_acknowledged_is_lost_when_routers_and_nats_servers_are_killed(tmp_path: Path) -> None:
    """Every subscriber, whichever routers it came to, and one that reads all at the end agree with every receipt."""
    plan = short_cluster(seed=1)
    outcome = await run_cluster(plan, tmp_path)
    said = f"{outcome.verdict}\n{outcome.tally}\nagain: {plan.repeat()}"
    assert outcome.exit_code == 0, said
    assert outcome.verdict.startswith("0 violations\n")
    assert not outcome.complaints, f"{outcome.complaints}\n{said}"
    assert outcome.tally.drops > 0
