"""Many histories without a violation, the same history each time, and every planted bug found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from actors.audience import Audience
from actors.messages import Attach, Subscribe
from actors.outbox import Outbox
from actors.streams import Streams

from ..actors.late_log import LateLog
from .__main__ import main
from .run import live

pytestmark = pytest.mark.alone

SEEDS = 500
FINDS_WITHIN = 300
Plant = Callable[[pytest.MonkeyPatch], None]


def simulate(*arguments: str, hash_seed: str = "random") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_no_history_has_a_violation() -> None:
    """Whatever fails, and in whatever order: nothing is lost, repeated, reordered or made up."""
    done = simulate("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("0 violations\n")


def test_one_seed_is_one_history() -> None:
    """A seed tells the same history in every process, however strings hash there."""
    first, again = simulate("--seed", "7", hash_seed="1"), simulate("--seed", "7", hash_seed="2")
    assert first.stdout == again.stdout
    assert first.stdout.endswith("seed 7: 0 violations\n")


def test_a_failing_seed_says_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong comes with the command that tells the whole history, which ends with the same violation."""
    forget_a_cursor(monkeypatch)
    seed = first_violation()
    assert main(["--seeds", "1", "--first", str(seed), "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert f"again, line by line: python -m tests.simulation --seed {seed}\n" in said
    assert main(["--seed", str(seed)]) == 1
    *history, _, violation = capsys.readouterr().out.splitlines()
    assert violation in said
    assert any("FAILS on" in line for line in history)


def attach_after_replying(monkeypatch: pytest.MonkeyPatch) -> None:
    """The room answers a subscriber in one turn, and lets it in in another."""
    join, attach = Audience.join, Audience.attach

    def answer(self: Audience, message: Subscribe, **options: object) -> None:
        join(self, message, **options)  # type: ignore[arg-type]
        self._late = {**getattr(self, "_late", {}), message.connection: self._subscribers[message.connection]}
        self.leave(message.connection)
        self._mailbox.tell(Attach(message.connection, -1))

    def let_in(self: Audience, connection: str, after: int, top: int) -> None:
        late = getattr(self, "_late", {}).pop(connection, None)
        if late is not None:
            self._subscribers[connection] = self._live[connection] = late
        if after >= 0:
            attach(self, connection, after, top)

    monkeypatch.setattr(Audience, "join", answer)
    monkeypatch.setattr(Audience, "attach", let_in)


def conflate_past_a_session_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value from before the end of a session gives way to one from after it."""
    supersede = Outbox._supersede

    def past(self: Outbox, held: object, latest: object) -> None:
        if held.event is None or held.event.draft.kind != "session":  # type: ignore[attr-defined]
            supersede(self, held, latest)  # type: ignore[arg-type]

    monkeypatch.setattr(Outbox, "_supersede", past)


def forget_a_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is repaired goes on in one of its rooms as if it had got one event more."""
    repair = Streams.repair

    def forgetful(self: Streams) -> None:
        for subscription in list(self._subscriptions.values())[:1]:
            subscription.cursor += 1
        repair(self)

    monkeypatch.setattr(Streams, "repair", forgetful)


def acknowledge_before_it_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says that an event is safe before it is: with the process the last one of each room goes."""
    lose = LateLog.lose

    def forget_the_last(self: LateLog, written: int = 0) -> None:
        for room in self._inner._shelves.values():
            if room.events and room.top == room.events[-1].offset:
                room.top = room.events[-1].prev
                del room.events[-1]
        lose(self, written)

    monkeypatch.setattr(LateLog, "lose", forget_the_last)


@pytest.mark.parametrize(
    "plant",
    [
        attach_after_replying,
        conflate_past_a_session_event,
        forget_a_cursor,
        acknowledge_before_it_is_durable,
    ],
)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these mistakes shows in some history."""
    plant(monkeypatch)
    first_violation()


def first_violation() -> int:
    for seed in range(FINDS_WITHIN):
        if live(seed):
            return seed
    raise AssertionError(f"{FINDS_WITHIN} histories show nothing")
