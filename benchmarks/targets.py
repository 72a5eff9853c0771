"""What is promised: ratios between two servers of one run, and figures that stand for themselves.

In: results. Out: for each target the figure or the ratio, and whether it holds.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from .measure import Result

__all__ = ["TARGETS", "Target", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Target:
    """A promise about one server, against another one or by itself."""

    name: str
    benchmark: str
    load: str
    what: str
    figure: str
    """The attribute of the figures."""
    bound: float
    at_most: bool
    """Whether `bound` is the largest figure that holds, or the smallest."""
    own: str = "postroom"
    peer: str | None = None
    """Whose figure the own one is divided by; `None`: the figure stands for itself."""
    peer_load: str | None = None
    """Where that figure is from; `None`: from the same load."""
    unit: str = "x"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a target in this run."""

    target: Target
    value: float
    """Median over the rounds. Of their ratios, where it is one: what slows a whole round cancels out."""
    lowest: float
    highest: float

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.value <= self.target.bound if self.target.at_most else self.value >= self.target.bound


TARGETS = (
    Target(
        name="F1",
        benchmark="fanout",
        load="A",
        peer="ws",
        what="CPU us/delivery in load A against Node ws",
        figure="cpu_us_per_delivery",
        bound=1.0,
        at_most=True,
    ),
    *(
        Target(
            name=f"F1 {door}",
            benchmark="doors",
            load=door,
            peer="postroom",
            peer_load="native",
            what=f"CPU us/delivery of {whose} clients in load A against Postroom's own",
            figure="cpu_us_per_delivery",
            bound=1.15,
            at_most=True,
        )
        for door, whose in (("centrifuge", "Centrifuge"), ("socketio", "Socket.IO"))
    ),
    Target(
        name="F2",
        benchmark="fanout",
        load="B",
        peer="socketio",
        what="deliveries/s in load B against Node socket.io",
        figure="deliveries_per_s",
        bound=15.0,
        at_most=False,
    ),
    Target(
        name="F12",
        benchmark="fanout",
        load="half",
        what="p99 latency at half of the rate of load B",
        figure="p99_ms",
        bound=10.0,
        at_most=True,
        unit="ms",
    ),
    Target(
        name="F3",
        benchmark="rooms",
        load="D",
        peer="socketio",
        what="deliveries/s in load D against Node socket.io",
        figure="deliveries_per_s",
        bound=5.0,
        at_most=False,
    ),
    Target(
        name="F8",
        benchmark="rooms",
        load="C",
        peer="ws",
        what="deliveries/s in load C against Node ws",
        figure="deliveries_per_s",
        bound=1.8,
        at_most=False,
    ),
    Target(
        name="F6",
        benchmark="fanout",
        load="B",
        own="sqlite",
        peer="postroom",
        what="deliveries/s in load B with the sqlite journal against memory",
        figure="deliveries_per_s",
        bound=0.7,
        at_most=False,
    ),
    Target(
        name="F5 http",
        benchmark="durable",
        load="http",
        own="sqlite",
        what="publishes acknowledged over HTTP in batches, sqlite journal",
        figure="publishes_per_s",
        bound=20_000,
        at_most=False,
        unit="/s",
    ),
    Target(
        name="F5 ws",
        benchmark="durable",
        load="ws",
        own="sqlite",
        what="publishes acknowledged over one WebSocket, pipelined, sqlite journal",
        figure="publishes_per_s",
        bound=20_000,
        at_most=False,
        unit="/s",
    ),
    Target(
        name="F4",
        benchmark="idle",
        load="idle",
        what="resident memory per idle subscribed connection",
        figure="kb_per_connection",
        bound=12.0,
        at_most=True,
        unit="KB",
    ),
    Target(
        name="F11",
        benchmark="idle",
        load="idle",
        what="CPU of one core for the heartbeat of idle clients",
        figure="server_cpu_percent",
        bound=3.0,
        at_most=True,
        unit="%",
    ),
    Target(
        name="F9",
        benchmark="fairness",
        load="beside",
        what="p99 latency of a small room while a large one is driven as fast as it goes",
        figure="p99_ms",
        bound=20.0,
        at_most=True,
        unit="ms",
    ),
    Target(
        name="F10",
        benchmark="scale",
        load="many",
        peer="postroom",
        peer_load="few",
        what="CPU us/delivery at 10,000 connections against 500, at the same deliveries/s",
        figure="cpu_us_per_delivery",
        bound=1.3,
        at_most=True,
    ),
    Target(
        name="F7",
        benchmark="reconnect",
        load="open",
        own="sqlite",
        what="until all clients are back with every event, sqlite journal",
        figure="all_back_s",
        bound=5.0,
        at_most=True,
        unit="s",
    ),
    *(
        Target(
            name=f"overload {figure}, {load}, {own}",
            benchmark="overload",
            load=load,
            own=own,
            what=what,
            figure=figure,
            bound=bound,
            at_most=at_most,
            unit=unit,
        )
        for load in ("ws", "http")
        for own in ("postroom", "sqlite")
        for figure, what, bound, at_most, unit in (
            ("of_peak", "acknowledged/s while flooded, of the peak", 0.9, False, "x"),
            ("control_ms", "p99 of what an operator and other clients ask while flooded", 250.0, True, "ms"),
        )
    ),
)


def judge(target: Target, results: Mapping[str, Mapping[str, Result]]) -> Verdict | None:
    """Look at the target's figures, or return `None` when not all servers it speaks of have valid ones."""
    own, peer = results[target.load], results[target.peer_load or target.load]
    of_servers = [own.get(target.own), *([peer.get(target.peer)] if target.peer is not None else ())]
    series = [
        [float(getattr(figures, target.figure)) for figures in result.rounds]
        for result in of_servers
        if result is not None and result.median() is not None
    ]
    if len(series) < len(of_servers):
        return None
    if target.peer is not None and 0.0 in series[1]:
        return None  # nothing to divide by
    values = [a / b for a, b in zip(*series, strict=True)] if target.peer is not None else series[0]
    return Verdict(target, statistics.median(values), min(values), max(values))
