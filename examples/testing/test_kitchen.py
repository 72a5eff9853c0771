"""The kitchen's tests: a real router, and what may happen to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from kitchen import Kitchen

from postroom_client import CommandError, Event
from postroom_client.testing import Postroom, assert_chain, assert_event


@pytest.mark.asyncio
async def test_a_guest_sees_every_dish_and_then_the_meal(postroom: Postroom) -> None:
    order = postroom.room()
    ann = await postroom.client("ann")
    watching = await ann.subscribe(order)
    kitchen = Kitchen(postroom.service())

    kitchen.cook(order, ["soup", "pie"])
    await assert_event(watching, "progress", message="soup is ready", percent=50.0)
    await assert_event(watching, "progress", message="pie is ready", percent=lambda percent: percent > 99)
    await kitchen.serve(order, "ann")
    await assert_event(watching, "session", status="completed")
    await assert_event(ann.joined("user:ann"), "notification", message="Enjoy your meal")


@pytest.mark.asyncio
async def test_a_guest_may_watch_no_order_of_others(postroom: Postroom) -> None:
    bob = await postroom.client("bob", rooms=["session:of-bob"])
    with pytest.raises(CommandError, match="forbidden"):
        await bob.subscribe("session:of-ann")


@pytest.mark.asyncio
async def test_a_meal_is_announced_to_its_guest_alone(postroom: Postroom) -> None:
    bob = await postroom.client("bob")
    mail = bob.joined("user:bob")
    await Kitchen(postroom.service()).serve(postroom.room(), "ann")
    await postroom.assert_no_event(mail, "notification", message="Enjoy your meal")


@pytest.mark.asyncio
async def test_nothing_is_missed_when_the_connection_fails_inside_the_router(postroom: Postroom) -> None:
    order = postroom.room()
    ann = await postroom.client("ann")
    watching = await ann.subscribe(order)
    kitchen = Kitchen(postroom.service())

    kitchen.cook(order, ["soup", "pie"])
    await postroom.kill_connection(ann)
    served = await kitchen.serve(order, "ann")
    events = await assert_chain(watching, up_to=served, skipped=True)
    assert told(events) == ["started", "pie is ready", "completed"]


@pytest.mark.asyncio
async def test_nothing_is_missed_when_the_router_is_killed(postroom_alone: Postroom) -> None:
    order = postroom_alone.room()
    ann = await postroom_alone.client("ann")
    watching = await ann.subscribe(order)
    kitchen = Kitchen(postroom_alone.service())

    kitchen.cook(order, ["soup", "pie"])
    await postroom_alone.restart_router(hard=True)
    served = await kitchen.serve(order, "ann")
    events = await assert_chain(watching, up_to=served, skipped=True)
    assert told(events) == ["started", "pie is ready", "completed"]


def test_a_kitchen_with_threads(postroom_sync: tuple[Postroom, Callable[[Awaitable[Any]], Any]]) -> None:
    postroom, run = postroom_sync
    order = postroom.room()
    ann = run(postroom.client("ann"))
    watching = run(ann.subscribe(order))

    kitchen = Kitchen(postroom.service())
    kitchen.cook(order, ["soup"])
    served = kitchen.serve_sync(order)
    assert told(run(assert_chain(watching, up_to=served))) == ["started", "soup is ready", "completed"]


def told(events: list[Event]) -> list[object]:
    """What a guest knows in the end; one dish may stand for those before it while the guest is away (`skipped`)."""
    words = [event.data.get("status") or event.data["message"] for event in events]
    return [word for word in words if word != "soup is ready" or "pie is ready" not in words]
