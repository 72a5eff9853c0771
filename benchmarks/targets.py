"""The ratios that are promised, each between two servers of one run.

In: results. Out: for each target the ratio and whether it holds.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .loadgen import Figures
from .measure import Result

__all__ = ["TARGETS", "Target", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Target:
    """A promise about Postroom against a peer."""

    name: str
    load: str
    peer: str
    what: str
    figure: Callable[[Figures], float]
    bound: float
    at_most: bool
    """Whether `bound` is the largest ratio that holds, or the smallest."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a target in this run."""

    target: Target
    ratio: float
    """Median of the rounds' ratios: what slows a whole round cancels out."""
    lowest: float
    highest: float

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.ratio <= self.target.bound if self.target.at_most else self.ratio >= self.target.bound


TARGETS = (
    Target(
        name="F1",
        load="A",
        peer="ws",
        what="CPU us/delivery in load A against Node ws",
        figure=lambda figures: figures.cpu_us_per_delivery,
        bound=1.0,
        at_most=True,
    ),
    Target(
        name="F2",
        load="B",
        peer="socketio",
        what="deliveries/s in load B against Node socket.io",
        figure=lambda figures: figures.deliveries_per_s,
        bound=15.0,
        at_most=False,
    ),
)


def judge(target: Target, results: Mapping[str, Mapping[str, Result]]) -> Verdict | None:
    """Compare Postroom with the target's peer, or return `None` when either has no valid figures."""
    of_load = results[target.load]
    own, other = of_load.get("postroom"), of_load.get(target.peer)
    if own is None or other is None or own.median() is None or other.median() is None:
        return None
    ratios = [target.figure(a) / target.figure(b) for a, b in zip(own.rounds, other.rounds, strict=True)]
    return Verdict(target, statistics.median(ratios), min(ratios), max(ratios))
