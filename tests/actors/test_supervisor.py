"""Supervisor: a child that fails is brought back, one that fails too often is given up, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.child import Backoff, ChildSpec
from actors.errors import Escalation
from actors.mailbox import Exit, Mailbox
from actors.messages import Shutdown, StartChild
from actors.supervisor import SupervisorStart

from .fake_clock import settled
from .family import NO_WAIT, Boom, Fail, Family, Worker

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
async def family(nothing_left: None) -> AsyncIterator[Family]:
    family = Family()
    yield family
    await family.end()


# --- what is restarted


async def test_a_child_that_fails_is_brought_back_at_once(family: Family) -> None:
    worker = await family.worker("w")
    await family.tell(worker, "one", Fail(Boom()), "two")
    assert family.notes == ["w start", "w one", "w start", "w two"]


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_a_failure_ends_only_a_temporary_child(family: Family, restart: Any) -> None:
    worker = await family.worker("w", restart=restart)
    await family.fail(worker)
    assert worker.occupied == (restart != "temporary")
    assert worker.closed == (restart == "temporary")


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_after_an_orderly_stop_only_a_permanent_child_comes_back(family: Family, restart: Any) -> None:
    worker = await family.worker("w", restart=restart)
    worker.stop()
    await settled()
    assert worker.occupied == (restart == "permanent")
    assert worker.closed == (restart != "permanent")


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
async def test_any_exception_is_a_failure_of_that_child_alone(family: Family, error: BaseException) -> None:
    first, second = await family.worker("first"), await family.worker("second")
    await family.tell(first, Fail(error))
    await family.tell(second, "well")
    assert first.occupied
    assert family.notes == ["first start", "second start", "first start", "second well"]


async def test_a_failure_is_nothing_to_its_siblings(family: Family) -> None:
    first, second = await family.worker("first"), await family.worker("second")
    for _ in range(3):
        await family.tell(second, "before")
        await family.fail(first)
    assert family.notes.count("second start") == 1
    assert family.notes.count("second before") == 3


# --- too often


async def test_a_child_may_be_restarted_as_often_as_its_intensity_says(family: Family) -> None:
    given_up: list[Exit] = []
    worker = await family.worker("w", intensity=3, backoff=NO_WAIT, on_give_up=given_up.append)
    await family.fail(worker, 3)
    assert worker.occupied
    assert given_up == []


async def test_past_its_intensity_a_child_is_given_up(family: Family) -> None:
    given_up: list[Exit] = []
    worker = await family.worker("w", intensity=3, backoff=NO_WAIT, on_give_up=given_up.append)
    await family.fail(worker, 4)
    assert worker.closed
    assert family.notes == ["w start"] * 4
    (how,) = given_up
    assert isinstance(how.cause, Boom)
    assert isinstance(how.message, Fail)


async def test_restarts_longer_ago_than_the_window_do_not_count(family: Family) -> None:
    worker = await family.worker("w", intensity=2, within_s=5.0, backoff=NO_WAIT)
    for _ in range(10):
        await family.fail(worker)
        await family.clock.advance(2.5)
    assert worker.occupied


async def test_restarts_just_within_the_window_count(family: Family) -> None:
    given_up: list[Exit] = []
    worker = await family.worker("w", intensity=2, within_s=5.0, backoff=NO_WAIT, on_give_up=given_up.append)
    for _ in range(3):
        await family.fail(worker)
        await family.clock.advance(2.4)
    assert len(given_up) == 1


async def test_a_jump_of_the_wall_clock_opens_no_window(family: Family) -> None:
    given_up: list[Exit] = []
    worker = await family.worker("w", intensity=1, backoff=NO_WAIT, on_give_up=given_up.append)
    await family.fail(worker)
    family.clock.jump_wall(3600)
    await family.fail(worker)
    assert len(given_up) == 1


async def test_an_intensity_of_zero_gives_up_at_the_first_failure(family: Family) -> None:
    given_up: list[Exit] = []
    await family.fail(await family.worker("w", intensity=0, on_give_up=given_up.append))
    assert len(given_up) == 1


async def test_who_waits_for_an_answer_of_a_child_that_is_given_up_gets_an_error(family: Family) -> None:
    worker = await family.worker("w", intensity=0, on_give_up=lambda _how: None)
    worker.tell(Fail(Boom()))
    answer = worker.ask("still there?")
    with pytest.raises(Exception, match="is closed"):
        await answer


# --- back-off


async def test_the_second_restart_waits_and_each_one_after_up_to_twice_as_long(family: Family) -> None:
    bounds: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    worker = await family.worker("w", intensity=9, within_s=60.0, backoff=Backoff(0.05, 0.3, draw))
    for _ in range(6):
        await family.fail(worker)
        await family.clock.advance(1.0)
    assert bounds == [(0.0, 0.05), (0.0, 0.1), (0.0, 0.2), (0.0, 0.3), (0.0, 0.3)]
    assert family.clock.waits == [0.05, 0.1, 0.2, 0.3, 0.3]


async def test_while_it_waits_the_child_is_down_and_its_mail_is_kept(family: Family) -> None:
    worker = await family.worker("w", backoff=Backoff(draw=lambda _low, high: high))
    await family.fail(worker, 2)
    await family.tell(worker, "hello")
    await family.clock.advance(0.04)
    assert not worker.occupied
    await family.clock.advance(0.02)
    assert family.notes == ["w start", "w start", "w start", "w hello"]


async def test_after_a_quiet_window_the_restart_is_immediate_again(family: Family) -> None:
    worker = await family.worker("w", backoff=Backoff(draw=lambda _low, high: high))
    await family.fail(worker, 2)
    await family.clock.advance(10.0)
    await family.fail(worker)
    assert worker.occupied


@given(restarts=st.integers(0, 200), first_s=st.floats(0.001, 10), most_s=st.floats(0.001, 100))
def test_the_wait_is_drawn_between_nothing_and_a_doubling_bound(restarts: int, first_s: float, most_s: float) -> None:
    assert 0.0 <= Backoff(first_s, most_s).wait_s(restarts) <= min(most_s, first_s * 2.0 ** max(0, restarts - 1))


def test_waits_are_spread_over_the_whole_bound() -> None:
    waits = [Backoff(1.0, 1.0).wait_s(1) for _ in range(2000)]
    assert min(waits) < 0.1
    assert max(waits) > 0.9
    assert 0.4 < sum(waits) / len(waits) < 0.6


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


async def test_an_escalation_stops_at_the_parent_that_can_bear_it(family: Family) -> None:
    """The root restarts a supervisor, which brings its own children back; siblings of that supervisor live on."""
    start = SupervisorStart("team", family.clock)
    team = await family.worker("team", start)
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
    team = await family.worker("team", SupervisorStart("team", family.clock))
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


# --- what operators read


async def test_a_failure_is_one_log_line_that_says_what_where_and_on_which_message(
    family: Family, logged: list[dict[str, Any]]
) -> None:
    worker = await family.worker("w")
    for message in (Fail(Boom("it broke")), "one", "two"):
        worker.tell(message)
    await settled()
    (line,) = [line for line in logged if line["event"] == "actor_failed"]
    assert line.pop("traceback").endswith("Boom: it broke\n")
    assert len(line.pop("traceback_hash")) == 12
    assert line == {
        "event": "actor_failed",
        "log_level": "error",
        "supervisor": "parent",
        "actor": "w",
        "actor_class": "Worker",
        "message_type": "Fail",
        "exception_type": "Boom",
        "error": "it broke",
        "mailbox_depth": 2,
    }


async def test_failures_at_the_same_place_have_the_same_hash(family: Family, logged: list[dict[str, Any]]) -> None:
    worker = await family.worker("w", backoff=NO_WAIT)
    await family.tell(worker, Fail(Boom("one")))
    await family.tell(worker, Fail(Boom("two")))
    await family.tell(worker, Fail(ValueError("three")))
    first, second, third = [line["traceback_hash"] for line in logged if line["event"] == "actor_failed"]
    assert first == second != third


async def test_a_restart_is_one_log_line_with_its_number_and_wait(family: Family, logged: list[dict[str, Any]]) -> None:
    worker = await family.worker("w", backoff=Backoff(draw=lambda _low, high: high))
    await family.fail(worker, 2)
    await family.clock.advance(6.0)
    await family.fail(worker)
    common = {
        "event": "actor_restarted",
        "log_level": "warning",
        "supervisor": "parent",
        "actor": "w",
        "of": 3,
        "within_s": 5.0,
    }
    assert [line for line in logged if line["event"] == "actor_restarted"] == [
        {**common, "restart": 1, "restarts_in_all": 1, "backoff_ms": 0.0},
        {**common, "restart": 2, "restarts_in_all": 2, "backoff_ms": 50.0},
        {**common, "restart": 1, "restarts_in_all": 3, "backoff_ms": 0.0},
    ]


@pytest.mark.parametrize("escalates", [True, False])
async def test_giving_up_is_one_log_line(family: Family, logged: list[dict[str, Any]], escalates: bool) -> None:
    on_give_up = None if escalates else lambda _how: None
    worker = await family.worker("w", intensity=1, backoff=NO_WAIT, on_give_up=on_give_up)
    await family.fail(worker, 2)
    (line,) = [line for line in logged if line["event"] == "actor_given_up"]
    assert line == {
        "event": "actor_given_up",
        "log_level": "error",
        "supervisor": "parent",
        "actor": "w",
        "restarts": 1,
        "within_s": 5.0,
        "escalates": escalates,
    }


async def test_an_orderly_stop_is_no_news(family: Family, logged: list[dict[str, Any]]) -> None:
    worker = await family.worker("w", restart="transient")
    worker.stop()
    await settled()
    assert logged == []
