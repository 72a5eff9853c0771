"""The soak in its short form, one round: `make soak` is the long one."""

from __future__ import annotations

from pathlib import Path

from ..soak.plan import short
from ..soak.report import untested
from ..soak.run import soak

SHORT = short(seed=1)


async def test_after_a_round_of_churn_and_chaos_everything_is_as_before(tmp_path: Path) -> None:
    """Actors of every sort failed, clients came, went and stalled, the router stood still: nothing is lost or left."""
    outcome = await soak(SHORT, tmp_path, lambda _soak: None)
    again = f"again: {SHORT.repeat()}"
    assert not outcome.complaints, f"{outcome.complaints}\n{again}"
    assert not list(untested(outcome)), again
    assert [verdict.splitlines()[0] for verdict in outcome.checks] == ["0 violations"] * 2
    before, after = outcome.looks
    assert before.counts["tasks"] == after.counts["tasks"]
    assert outcome.tally.drops > 0
    assert outcome.supervision.events["connection_repaired"] > 0
    assert outcome.supervision.events["room_repaired"] > 0
