"""Plan: how long a soak goes on and what a round of it is like; and the router that it is played on."""

from __future__ import annotations

from typing import NamedTuple

from ..torture.plan import Plan

__all__ = ["SECRET", "SETTINGS", "SoakPlan", "short"]

SECRET = "a-secret-for-the-soak-of-forty-characters"

SETTINGS: dict[str, object] = {
    # What a router keeps on purpose it keeps for seconds here, and not for minutes: it is full when the first minutes
    # are over, and whatever grows after that is a leak.
    "history_events": 200,
    "history_s": 15,
    "dedupe_s": 30,
    "journal_bytes": 4 * 1024 * 1024,
    # Rooms come and go all the time, and who reads nothing is cut within a round.
    "room_idle_s": 0.5,
    "stall_s": 2,
    "secret": SECRET,
}


class SoakPlan(NamedTuple):
    """What a soak does. One seed makes the same decisions again, though not at the same moments."""

    seed: int
    minutes: float = 30.0
    round_s: float = 12.0
    """How long events are published in a round, in seconds; catching up and the checker come on top."""
    stayers: int = 10
    """Subscribers that stay connected from the first round to the last."""
    stayer_rooms: int = 4
    subscribers: int = 40
    rooms: int = 24
    """New ones in each round."""
    crash_s: float = 0.15
    """Time between two crashes of actors."""
    passers_by_s: float = 0.05
    """Time between two clients that connect and are reset."""
    stalled: int = 3
    """Clients of a round that read nothing."""
    pause_s: float = 1.5
    """How long the whole router stands still in each round."""

    def round(self, number: int) -> Plan:
        """Return what services and subscribers do in one round."""
        return Plan(
            self.seed * 10_000 + number,
            services=2,
            rooms=self.rooms,
            subscribers=self.subscribers,
            rooms_each=4,
            kills=0,
            seconds=self.round_s,
            rate=60.0,
            drop_s=4.0,
        )

    def stay(self) -> Plan:
        """Return what those do that stay."""
        return self.round(0)._replace(subscribers=self.stayers, rooms=self.stayer_rooms, rooms_each=2, rate=10.0)

    def repeat(self) -> str:
        """Return the command that makes the same decisions again."""
        brief = short(self.seed)
        usual = brief if self.round_s == brief.round_s else SoakPlan(self.seed)
        command = f"python -m tests.soak --seed {self.seed}"
        command += " --short" if usual is brief else ""
        return command if self.minutes == usual.minutes else f"{command} --minutes {self.minutes:g}"


def short(seed: int) -> SoakPlan:
    """Return the plan that every run of the tests follows: one round."""
    return SoakPlan(seed, minutes=0.0, round_s=5.0, stayers=4, subscribers=12, rooms=10, stalled=1, pause_s=0.5)
