"""Supervisor: what operators read: one log line for each failure, restart and child given up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.child import Backoff

from .fake_clock import settled
from .family import NO_WAIT, Boom, Fail, Family

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
async def family(nothing_left: None) -> AsyncIterator[Family]:
    family = Family()
    yield family
    await family.end()


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
    assert line.pop("incident")
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
        "traceparent": None,
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
    lines = [line for line in logged if line["event"] == "actor_restarted"]
    assert len({line.pop("incident") for line in lines}) == 3
    assert lines == [
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
    assert line.pop("incident") == logged[-2]["incident"]
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
