"""Plan: what a torture run does, from the command line or a test; and what became of it."""

from __future__ import annotations

import random
from typing import NamedTuple

__all__ = ["Outcome", "Plan", "Tally", "rounds", "seconds_for", "short", "short_cluster"]

_KILLS_A_ROUND = 50
_SECONDS_A_KILL = 0.5


class Plan(NamedTuple):
    """What a run does. One seed makes the same decisions again, though not at the same moments."""

    seed: int
    services: int = 4
    """Every other one over HTTP, every other one over WebSocket."""
    rooms: int = 50
    subscribers: int = 200
    rooms_each: int = 5
    """Rooms of one subscriber."""
    kills: int = 20
    seconds: float = 60.0
    """How long events are published; kills are spread over it, and it is prolonged when they take longer. For more than
    120 kills the command line makes it half a second for each, unless it is given."""
    rate: float = 150.0
    """Events per second of one service, about."""
    drop_s: float = 6.0
    """Mean time after which a subscriber drops its connection."""
    disk_full: bool = False
    """Whether the journal lies on a small disk that is filled for a while."""
    disk_mib: int = 128
    """Size of the small disk. The journal alone must not fill it, nor its write-ahead log over several kills."""
    full_s: float = 3.0
    """How long the disk stays full after the first event was refused; with kills as long again after one."""
    journal: str | None = None
    """What `--journal` gets; None: a file in the run's folder, or on the small disk."""
    history: int = 1_000_000
    """Events that a room keeps: by default all. Who comes back after more is told what is missing."""
    cluster: bool = False
    """Whether there are three routers on three NATS servers; kills are shared out among them."""

    def random(self, *names: object) -> random.Random:
        """Return the source of one part's decisions."""
        return random.Random(":".join(map(str, (self.seed, *names))))

    def repeat(self) -> str:
        """Return the command that makes the same decisions again."""
        options = [
            f"--{name.replace('_', '-')} {value:g}"
            for name, value in self._asdict().items()
            if name not in ("seed", "disk_full", "journal", "cluster") and value != self._field_defaults[name]
        ]
        options += ["--disk-full"] if self.disk_full else []
        options += [f"--journal {self.journal}"] if self.journal is not None else []
        options += ["--cluster"] if self.cluster else []
        return " ".join(["python -m tests.torture", f"--seed {self.seed}", *options])


def short(seed: int) -> Plan:
    """Return the plan that every run of the tests follows."""
    return Plan(
        seed,
        services=2,
        rooms=8,
        subscribers=20,
        rooms_each=3,
        kills=3,
        seconds=4.0,
        rate=200.0,
        drop_s=1.5,
        disk_mib=48,
        full_s=1.0,
    )


def short_cluster(seed: int) -> Plan:
    """Return the plan that every run of the tests follows on a cluster."""
    return short(seed)._replace(cluster=True, services=3, kills=4, seconds=8.0, rate=100.0)


def rounds(plan: Plan) -> list[Plan]:
    """Share out many kills over several runs, each with a journal of its own: records and journals stay small."""
    count = max(1, -(-plan.kills // _KILLS_A_ROUND))
    kills = [plan.kills // count + (number < plan.kills % count) for number in range(count)]
    seconds = plan.seconds / count
    return [plan._replace(seed=plan.seed + number, kills=each, seconds=seconds) for number, each in enumerate(kills)]


def seconds_for(kills: int) -> float:
    """Return how long to publish where nobody says it."""
    return max(Plan._field_defaults["seconds"], kills * _SECONDS_A_KILL)


class Tally:
    """What happened in a run; every part counts its own."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.duplicates = 0
        self.refused: dict[str, int] = {}
        """Refused attempts by code."""
        self.unknown = 0
        self.given_up = 0
        """Events that nobody will publish again, though nobody knows of them."""
        self.not_taken = 0
        """Events that were tried again and again, and for too long."""
        self.events = 0
        """At all subscribers together."""
        self.drops = 0
        """Connections that a subscriber cut."""
        self.resumes = 0
        """Rooms in which a subscriber went on from its position."""
        self.kills = 0
        self.pauses = 0
        """How often a router of a cluster stood still for a while."""
        self.rolls = 0
        """How often one was stopped in good order and started again."""
        self.cuts = 0
        """How often one was cut off from NATS."""
        self.server_kills = 0
        """NATS servers that were killed."""
        self.leader_kills = 0
        """Those of them that led the stream of events."""
        self.majority_kills = 0
        """How often two of three were away at once."""
        self.freezes = 0
        """How often a NATS server stood still for a while."""
        self.failed_starts = 0
        self.longest_start_s = 0.0
        self.full_s = 0.0
        """From the first byte of ballast to the last."""
        self.recovered_s: float | None = None
        """From the end of the ballast to the next receipt; None: there was no ballast, or no receipt."""

    def add(self, other: Tally) -> None:
        """Take in what happened in another run."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(value, dict):
                for code, count in value.items():
                    mine[code] = mine.get(code, 0) + count
            elif name in ("longest_start_s", "recovered_s"):
                setattr(self, name, max(mine or 0.0, value or 0.0))
            else:
                setattr(self, name, mine + value)

    def __str__(self) -> str:
        refused = ", ".join(f"{code} {count}" for code, count in sorted(self.refused.items())) or "0"
        lines = [
            f"attempts   acknowledged {self.acknowledged} (duplicates {self.duplicates}), refused {refused}, "
            f"unknown {self.unknown} (left so: {self.given_up})",
            f"followers  events {self.events}, drops {self.drops}, rooms resumed {self.resumes}",
            f"router     kills {self.kills}, slowest start {self.longest_start_s:.2f} s",
        ]
        if self.server_kills:
            lines.append(
                f"cluster    routers stood still {self.pauses} times, drained {self.rolls}, cut off {self.cuts}, "
                f"starts that failed {self.failed_starts}; NATS servers killed {self.server_kills} (leaders "
                f"{self.leader_kills}, majorities {self.majority_kills}), stood still {self.freezes} times"
            )
        if self.full_s:
            again = "never" if self.recovered_s is None else f"{self.recovered_s:.2f} s later"
            lines.append(
                f"disk       full for {self.full_s:.2f} s, starts that failed {self.failed_starts}, "
                f"the next event taken {again}"
            )
        return "\n".join(lines)


class Outcome(NamedTuple):
    """How a run ended."""

    tally: Tally
    verdict: str
    """What the checker said."""
    exit_code: int
    """The checker's own: 0 where it found nothing."""
    complaints: tuple[str, ...]
    """What else was not as it should be: a fault that did not happen, or that the router did not recover from."""

    @property
    def good(self) -> bool:
        """Whether everything held, and was really put to the test."""
        return not self.exit_code and not self.complaints
