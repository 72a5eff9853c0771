"""The demonstration's own clients, on a real router: one is slow, one fails and is repaired, neither is in the way."""

from __future__ import annotations

import aiohttp
import pytest
import structlog

from server import demo_clients
from server.app import Router

from ..conftest import running_router
from ..integration.services import wait_until


def _outbox(router: Router, client: str) -> int:
    return sum(state.outbox.size for state in router.registry.states if state.client.startswith(client))


async def test_one_is_slow_one_is_repaired_and_a_drain_waits_for_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the slow one does not read waits for it alone; both are gone when the router stops, in good order."""
    monkeypatch.setattr(demo_clients, "FIRST_FAILURE_S", 0.1)
    with structlog.testing.capture_logs() as logs:
        async with running_router((demo_clients.plugin,), dev=True, journal="memory", drain_s=10.0) as router:
            await wait_until(lambda: _outbox(router, "demo-slow-reader") > 0, "something to wait for the slow one")
            await wait_until(lambda: any(each["event"] == "connection_repaired" for each in logs), "a repair")
            assert _outbox(router, "demo-failing-client") == 0
    failures = [each["error"] for each in logs if each["event"] == "actor_failed"]
    assert failures == ["'Connection' object has no attribute 'a_failure_that_the_demo_makes'"]
    assert not any(each["event"] == "drain_timed_out" for each in logs)


async def test_who_was_sent_away_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who closes the demonstration's connections sees new ones."""
    monkeypatch.setattr(demo_clients, "COMES_BACK_S", 0.05)
    async with running_router((demo_clients.plugin,), dev=True, journal="memory") as router:
        await wait_until(lambda: len(_named(router)) == 2, "both clients")
        first = _named(router)
        async with aiohttp.ClientSession() as session:
            for connection in first:
                async with session.delete(f"{router.addresses.api_url}/v1/connections/{connection}") as answer:
                    assert answer.status == 200, await answer.text()
        await wait_until(lambda: len(_named(router) - first) == 2, "both clients again")


def _named(router: Router) -> set[str]:
    return {state.id for state in router.registry.states if state.client.startswith("demo-")}
