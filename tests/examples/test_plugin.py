"""The plug-in of the examples, in a router of the test's own and as its README.md says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import postroom_client
from examples import plugin
from examples.plugin.machine import ROOM
from examples.plugin.warden import ALERTS, Limits, Memory, Reading, Warden
from postroom_client import Event
from server.app import Router

from ..conftest import running_router
from ..ports import free_port
from .example import running_example

WAIT_S = 20.0


async def events_of(router: Router, room: str, count: int) -> list[Event]:
    """Wait until a room has so many events, and return all of them."""
    async with asyncio.timeout(WAIT_S), postroom_client.connect(router.addresses.ws_url, proxy=None) as client:
        while True:
            with contextlib.suppress(postroom_client.CommandError):  # not found: it has none yet
                events = (await client.history(room)).events
                if len(events) >= count:
                    return list(events)
            await asyncio.sleep(0.02)


def test_it_runs_and_prints_what_its_page_says(tmp_path: Path) -> None:
    """The router adds the percentage to what the plug-in publishes; a proxy for the way out is not for this."""
    proxy = {"http_proxy": f"http://127.0.0.1:{free_port()}"}
    with running_example("plugin", tmp_path, {**os.environ, **proxy}) as example:
        example.prints_what_stands_in("README.md")


async def test_the_actor_is_made_anew_when_a_reading_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot be read once is one failure; the next reading is published."""
    usage, failures = shutil.disk_usage, [OSError("no such disk")]

    def flaky(path: str) -> object:
        if failures:
            raise failures.pop()
        return usage(path)

    monkeypatch.setattr(shutil, "disk_usage", flaky)
    async with running_router(dev=True, plugins=(plugin.start,)) as router:
        disk, *_ = await events_of(router, ROOM, 1)
        load, *_ = await events_of(router, "system", 1)
    assert disk.kind == "progress"
    assert disk.data["unit"] == "MiB"
    assert 0 <= disk.data["percent"] <= 100
    assert load.data["component"] == "machine"
    assert not failures


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have the warden fail on its next event, after it was published."""
    failures: list[Exception] = []
    publish = Warden._publish

    def then_fail(self: Warden, room: str, kind: str, **data: object) -> None:
        publish(self, room, kind, **data)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(Warden, "_publish", then_fail)
    return lambda: failures.append(RuntimeError("on purpose"))


async def test_a_warden_that_fails_judges_the_same_reading_again_and_knows_what_was_said(
    fragile: Callable[[], None],
) -> None:
    """Its memory outlives it: one alert for one full disk, whatever happens to actors."""
    async with running_router(dev=True) as router:
        warden = router.start_actor(Warden, router, Limits(disk=0.5), Memory(), name="warden")
        warden.tell(Reading(load=0.1, disk=0.6))
        (alert,) = await events_of(router, ALERTS, 1)
        assert alert.data["title"] == "The disk is 60% full"
        fragile()
        warden.tell(Reading(load=9.0, disk=0.6))
        warden.tell(Reading(load=0.1, disk=0.6))
        load = await events_of(router, "system", 4)
        assert [each.data["status"] for each in load] == ["operational", "degraded", "degraded", "operational"]
        assert len(await events_of(router, ALERTS, 1)) == 1
