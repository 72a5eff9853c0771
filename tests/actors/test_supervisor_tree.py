"""Supervisor: failures go up the tree as far as they must, starts may fail, and the end comes in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pykka
import pytest

from actors.child import Backoff, ChildSpec
from actors.errors import Escalation
from actors.mailbox import Exit, Mailbox
from actors.messages import Restart, Shutdown, StartChild
from actors.supervisor import Supervisor, SupervisorStart

from .fake_clock import settled
from .family import NO_WAIT, Boom, Fail, Family, Worker
from .house import fail_once

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
async def family(nothing_left: None) -> AsyncIterator[Family]:
    family = Family()
    yield family
    await family.end()


# --- what it was asked when it failed


@pytest.mark.parametrize("after", [False, True])
async def test_a_child_is_started_though_its_supervisor_failed_on_that(
    family: Family, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """Nobody asks twice for an actor, so whoever follows a supervisor does what it was asked."""
    fail_once(monkeypatch, Supervisor, StartChild, after=after)
    worker = await family.worker("w")
    family.start_parent()
    await settled()
    assert worker.occupied
    assert family.notes == ["w start"]


@pytest.mark.parametrize("after", [False, True])
async def test_a_supervisor_that_failed_on_its_shutdown_ends_all_the_same(
    family: Family, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    worker = await family.worker("w")
    fail_once(monkeypatch, Supervisor, Shutdown, after=after)
    await family.tell(family.parent, Shutdown())
    family.start_parent()
    await settled()
    assert not worker.occupied
    assert not family.parent.occupied


# --- escalation


async def test_a_child_without_a_give_up_takes_its_supervisor_with_it(family: Family) -> None:
    worker = await family.worker("w", intensity=1, backoff=NO_WAIT)
    await family.fail(worker, 2)
    (how,) = family.ended
    assert isinstance(how.cause, Escalation)
    assert str(how.cause) == "w failed again after 1 restarts in 5 s"


async def test_the_supervisor_that_follows_brings_the_dead_back_and_leaves_the_living_alone(family: Family) -> None:
    bad = await family.worker("bad", intensity=0)
    good = await family.worker("good")
    await family.fail(bad)
    assert not bad.occupied
    family.start_parent()
    await settled()
    await family.tell(good, "still here")
    assert bad.occupied
    assert family.notes == ["bad start", "good start", "bad start", "good still here"]


async def test_children_of_a_failed_supervisor_are_watched_by_the_one_that_follows(family: Family) -> None:
    bad, good = await family.worker("bad", intensity=0), await family.worker("good")
    await family.fail(bad)
    family.start_parent()
    await family.fail(good)
    assert good.occupied


async def test_a_child_that_fails_while_nobody_supervises_is_brought_back_once(
    family: Family, logged: list[dict[str, Any]]
) -> None:
    """Its failure is on record with the supervisor that follows; it does not count as a second one."""
    bad, good = await family.worker("bad", intensity=0), await family.worker("good")
    await family.fail(bad)
    await family.fail(good)
    assert not good.occupied
    family.start_parent()
    await settled()
    assert good.occupied
    assert family.notes.count("good start") == 2
    assert [line["actor"] for line in logged if line["event"] == "actor_failed"] == ["bad", "good"]


async def test_a_late_restart_brings_nobody_back_who_was_brought_back_before_and_has_stopped(family: Family) -> None:
    """The timer of a supervisor that failed runs out when its successor has restarted the child long since."""
    bad = await family.worker("bad", intensity=0)
    worker = await family.worker("w", restart="transient", backoff=Backoff(draw=lambda _low, high: high))
    await family.fail(worker)
    await family.tell(worker, Fail(Boom("again")))  # the second restart waits
    await family.fail(bad)
    family.start_parent()
    await settled()
    assert worker.occupied
    worker.stop()
    family.parent.tell(Restart(worker))
    await settled()
    assert not worker.occupied
    assert worker.closed


async def test_a_child_that_stopped_while_nobody_supervised_is_not_brought_back(family: Family) -> None:
    """It has ended in an orderly way: its mailbox is closed, and the registry knows of nobody who lives there."""
    bad, done = await family.worker("bad", intensity=0), await family.worker("done", restart="transient")
    await family.fail(bad)
    done.stop()
    await settled()
    family.start_parent()
    await settled()
    assert done.closed
    assert list(family.children) == [bad]
    assert family.notes.count("done start") == 1
    assert [ref.actor_inbox for ref in pykka.ActorRegistry.get_by_class(Worker)] == [bad]


async def test_a_child_that_stops_in_the_turn_in_which_its_supervisor_fails_is_not_brought_back(
    family: Family,
) -> None:
    """The supervisor that fails has not heard of the stop, and the one that follows hears of it in its mailbox."""
    bad, done = await family.worker("bad", intensity=0), await family.worker("done", restart="transient")
    bad.tell(Fail(Boom("it broke")))
    done.stop()
    await settled()
    family.start_parent()
    await settled()
    await family.tell(bad, "here")
    assert done.closed
    assert list(family.children) == [bad]
    assert family.notes == ["bad start", "done start", "done stop", "bad start", "bad here"]
    assert [ref.actor_inbox for ref in pykka.ActorRegistry.get_by_class(Worker)] == [bad]


async def test_a_permanent_child_that_stopped_while_nobody_supervised_is_brought_back(family: Family) -> None:
    bad, keeper = await family.worker("bad", intensity=0), await family.worker("keeper", restart="permanent")
    await family.fail(bad)
    keeper.stop()
    await settled()
    family.start_parent()
    await settled()
    await family.tell(keeper, "here")
    assert family.notes.count("keeper start") == 2
    assert family.notes[-1] == "keeper here"


async def test_a_temporary_child_that_failed_while_nobody_supervised_is_given_up(
    family: Family, logged: list[dict[str, Any]]
) -> None:
    """Whoever waits to hear of it hears of it, and so do operators."""
    given_up: list[Exit] = []
    bad = await family.worker("bad", intensity=0)
    brief = await family.worker("brief", restart="temporary", on_give_up=given_up.append)
    await family.fail(bad)
    await family.fail(brief)
    family.start_parent()
    await settled()
    assert brief.closed
    assert [str(how.cause) for how in given_up] == ["it broke"]
    assert [line["actor"] for line in logged if line["event"] == "actor_failed"] == ["bad", "brief"]


async def test_an_escalation_stops_at_the_parent_that_can_bear_it(family: Family) -> None:
    """The root restarts a supervisor, which brings its own children back; siblings of that supervisor live on."""
    start = SupervisorStart("team", family.clock)
    team = await family.worker("team", start, stop=SupervisorStart.stop)
    other = await family.worker("other")
    member = Mailbox(name="member")
    spec = ChildSpec("member", lambda box: Worker.start(family.notes, "member", mailbox=box), intensity=0)
    await family.tell(team, StartChild(spec, member))
    await family.fail(member)
    assert member.occupied
    assert team.occupied
    assert family.ended == []
    await family.tell(other, "calm")
    assert family.notes == ["other start", "member start", "member start", "other calm"]


async def test_a_child_that_rests_is_started_again_in_the_same_mailbox(family: Family) -> None:
    """Nobody else notices, and it may fail as often again."""
    given_up: list[Exit] = []
    worker = await family.worker("w", intensity=1, backoff=NO_WAIT, on_give_up=given_up.append, rest_s=1.0)
    await family.fail(worker, 2)
    assert (worker.occupied, worker.closed, len(given_up)) == (False, False, 1)
    worker.tell("early")
    await family.clock.advance(0.9)
    assert not worker.occupied
    await family.clock.advance(0.1)
    assert family.notes[-2:] == ["w start", "w early"]
    await family.fail(worker)
    assert worker.occupied
    assert family.ended == []


async def test_who_is_given_up_over_and_over_rests_twice_as_long_each_time(family: Family) -> None:
    """Five seconds at most, and after a good minute as long as at first."""
    worker = await family.worker("w", intensity=0, on_give_up=lambda _how: None, rest_s=1.0)
    rests: list[float] = []
    for _ in range(5):
        await family.fail(worker)
        rests.append(family.clock.waits[-1])
        await family.clock.advance(rests[-1])
    await family.clock.advance(61.0)
    await family.fail(worker)
    assert [*rests, family.clock.waits[-1]] == [1.0, 2.0, 4.0, 5.0, 5.0, 1.0]


async def test_a_child_that_rests_does_not_hold_up_the_end(family: Family) -> None:
    worker = await family.worker("w", intensity=0, on_give_up=lambda _how: None, rest_s=1.0)
    await family.fail(worker)
    await family.tell(family.parent, Shutdown())
    assert family.ended[0].cause is None
    assert worker.closed


# --- start


async def test_a_start_that_raises_counts_as_a_failure(family: Family) -> None:
    given_up: list[Exit] = []

    def start(_mailbox: Mailbox) -> None:
        family.notes.append("tried")
        raise Boom("no way in")

    worker = await family.worker("w", start, intensity=2, backoff=NO_WAIT, on_give_up=given_up.append)
    assert family.notes == ["tried"] * 3
    assert worker.closed
    assert str(given_up[0].cause) == "no way in"


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError()])
async def test_a_start_may_raise_anything_without_harm_to_the_supervisor(family: Family, error: BaseException) -> None:
    def start(_mailbox: Mailbox) -> None:
        raise error

    given_up: list[Exit] = []
    await family.worker("w", start, intensity=1, backoff=NO_WAIT, on_give_up=given_up.append)
    assert given_up[0].cause is error
    assert family.ended == []


async def test_a_start_that_fails_once_is_tried_again(family: Family) -> None:
    tries: list[Mailbox] = []

    def start(mailbox: Mailbox) -> None:
        tries.append(mailbox)
        if len(tries) == 1:
            raise Boom
        Worker.start(family.notes, "w", mailbox=mailbox)

    worker = await family.worker("w", start)
    assert worker.occupied
    assert len(tries) == 2


async def test_a_failing_on_start_is_heard_of(family: Family) -> None:
    class Stillborn(Worker):
        def on_start(self) -> None:
            raise Boom("stillborn")

    given_up: list[Exit] = []
    await family.worker(
        "w",
        lambda box: Stillborn.start([], "w", mailbox=box),
        intensity=2,
        backoff=NO_WAIT,
        on_give_up=given_up.append,
    )
    (how,) = given_up
    assert str(how.cause) == "stillborn"
    assert how.message is None


async def test_mail_that_comes_before_the_child_is_there_waits_for_it(family: Family) -> None:
    opened: list[Mailbox] = []
    worker = await family.worker("w", opened.append)
    await family.tell(worker, "early")
    Worker.start(family.notes, "w", mailbox=opened[0])
    await settled()
    assert family.notes == ["w start", "w early"]


# --- the end


async def test_children_are_stopped_in_the_reverse_order_of_their_start(family: Family) -> None:
    for name in ("first", "second", "third"):
        await family.worker(name)
    await family.tell(family.parent, Shutdown())
    assert family.notes[3:] == ["third stop", "second stop", "first stop"]
    (how,) = family.ended
    assert how.cause is None


async def test_what_was_in_a_childs_mailbox_is_handled_before_it_stops(family: Family) -> None:
    worker = await family.worker("w")
    worker.tell("last words")
    await family.tell(family.parent, Shutdown())
    assert family.notes[1:] == ["w last words", "w stop"]


async def test_a_supervisor_without_children_just_stops(family: Family) -> None:
    await family.tell(family.parent, Shutdown())
    assert family.ended[0].cause is None


async def test_a_child_that_waits_for_its_restart_does_not_hold_up_the_end(family: Family) -> None:
    worker = await family.worker("w", backoff=Backoff(draw=lambda _low, high: high))
    await family.fail(worker, 2)
    await family.tell(family.parent, Shutdown())
    await family.clock.advance(10.0)
    assert family.ended[0].cause is None
    assert worker.closed


async def test_a_child_that_fails_while_it_is_stopped_is_not_brought_back(family: Family) -> None:
    worker = await family.worker("w")
    worker.tell(Fail(Boom()))
    await family.tell(family.parent, Shutdown())
    assert worker.closed
    assert family.notes == ["w start"]
    assert family.ended[0].cause is None


async def test_supervisors_below_stop_their_own_children(family: Family) -> None:
    team = await family.worker("team", SupervisorStart("team", family.clock), stop=SupervisorStart.stop)
    member = Mailbox(name="member")
    spec = ChildSpec("member", lambda box: Worker.start(family.notes, "member", mailbox=box))
    await family.tell(team, StartChild(spec, member))
    await family.tell(family.parent, Shutdown())
    assert family.notes == ["member start", "member stop"]
    assert family.ended[0].cause is None


async def test_nobody_is_started_any_more_while_the_others_stop(family: Family) -> None:
    """Else the end would wait for ever for a child that nobody tells to stop."""

    class LastMinute(Worker):
        def on_stop(self) -> None:
            family.parent.tell(StartChild(ChildSpec("late", late), late_mailbox))

    def late(mailbox: Mailbox) -> None:
        Worker.start(family.notes, "late", mailbox=mailbox)

    late_mailbox = Mailbox(name="late")
    await family.worker("w", lambda box: LastMinute.start(family.notes, "w", mailbox=box))
    other = await family.worker("other")
    await family.tell(family.parent, Shutdown())
    assert family.ended[0].cause is None
    assert late_mailbox.closed
    assert other.closed
    assert "late start" not in family.notes


async def test_a_child_that_is_told_to_a_supervisor_that_stops_is_not_started(family: Family) -> None:
    """It could not be stopped any more; who asks it something hears that it is not there."""
    worker, late = await family.worker("w"), Mailbox(name="late")
    asked = late.ask("are you there")
    spec = ChildSpec("late", lambda box: Worker.start(family.notes, "late", mailbox=box))
    family.parent.tell(Shutdown())
    family.parent.tell(StartChild(spec, late))
    await settled()
    assert late.closed
    with pytest.raises(pykka.ActorDeadError):
        await asked
    assert worker.closed
    assert not family.parent.occupied
    assert [how.cause for how in family.ended] == [None]
    assert family.children == {}
    assert family.notes == ["w start", "w stop"]
