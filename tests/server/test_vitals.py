"""What is told of a router: the last seconds, its connections and actors, its disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.histogram import Histogram
from actors.ledger import Ledger
from actors.supervisor import SupervisorStart
from server.census import CensusTaker, Crew
from server.recent import Recent
from server.registry import Registry
from tests.actors.client import Hall
from tests.actors.fake_clock import FakeClock

from .journals.keeping import keeper


def test_quantiles_are_of_the_last_ticks_alone() -> None:
    """What is older than they look back has gone."""
    histogram = Histogram((1.0, 2.0, 4.0))
    recent = Recent(histogram, ticks=3)
    assert recent.quantile(0.5) is None
    histogram.observe(0.5, times=100)
    assert recent.quantile(0.5) == pytest.approx(0.5)
    for _ in range(3):
        recent.tick()
    assert recent.quantile(0.5) is None
    histogram.observe(3.0, times=10)
    assert recent.quantile(0.5) == pytest.approx(3.0)
    assert recent.quantile(1.0) == pytest.approx(4.0)


def test_a_quantile_lies_within_its_bucket_and_is_never_above_the_last_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    recent = Recent(histogram)
    histogram.observe(1.5, times=4)
    assert recent.quantile(0.25) == pytest.approx(1.25)
    histogram.observe(50.0, times=96)
    assert recent.quantile(0.99) == 2.0


def test_it_forgets_nothing_before_it_has_looked_back_so_far() -> None:
    histogram = Histogram((1.0,))
    recent = Recent(histogram, ticks=3)
    histogram.observe(0.5)
    for _ in range(2):
        recent.tick()
    assert recent.quantile(0.5) is not None


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    hall = Hall()
    yield hall
    await hall.end()


async def test_a_census_looks_at_each_connection_and_each_actor_and_lets_others_in_between(hall: Hall) -> None:
    """By the class that lives there; what is down counts as starting. A census is fresh for a second."""
    clients = [await hall.welcomed() for _ in range(600)]
    registry = Registry(most=1000, per_user=0, per_address=0)
    for client in clients:
        registry.add(client.state, "10.0.0.1")
    clients[0].state.outbox.push(b"x" * 100)
    away = clients[1].mailbox._actor
    clients[1].mailbox.vacate()
    taker = CensusTaker(registry, hall.house.ledger, hall.connections_start, hall.clock)
    between: list[int] = []
    taking = asyncio.ensure_future(taker.take())
    while not taking.done():
        between.append(0)
        await asyncio.sleep(0)
    census = taking.result()
    assert len(between) > 6
    assert census.crews == {"Connection": Crew(599, 0), "starting": Crew(1, 0)}
    waiting = census.outbox_bytes
    assert (waiting.total, waiting.quantiles[-1], waiting.quantiles[0]) == (100, 100, 0)
    clients[0].state.outbox.clear()
    assert (await taker.take()).outbox_bytes.total == 100
    await hall.clock.advance(1.0)
    assert (await taker.take()).outbox_bytes.total == 0
    assert away is not None
    clients[1].mailbox.occupy(away)


async def test_a_census_of_nobody_is_all_zeros() -> None:
    clock = FakeClock()
    registry = Registry(most=1, per_user=0, per_address=0)
    census = await CensusTaker(registry, Ledger(), SupervisorStart("root", clock), clock).take()
    assert (census.lag.total, set(census.lag.quantiles), census.crews) == (0, {0}, {})


async def test_each_transaction_with_events_is_one_commit(tmp_path: Path) -> None:
    """What only reads is none."""
    async with keeper(tmp_path / "journal.db") as kept:
        await kept.record()
        assert sum(kept.log.commits_s.counts) == 0
        for id in ("a", "b", "c"):
            await kept.append(id)
        assert sum(kept.log.commits_s.counts) == 3
        assert kept.log.commits_s.total > 0
        assert kept.log.waiting == (0, 0)
