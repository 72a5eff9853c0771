"""`GET /metrics` for Prometheus and `GET /v1/stats` for the console: a router's vitals in, text or JSON out."""

from __future__ import annotations

import time
from collections import Counter

import msgspec
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from actors.times import time_text
from server.census import QUANTILES, Crew, Spread
from server.metrics import VitalsCollector
from server.recent import Recent
from server.vitals import Vitals

from .calls import Asked, Call

__all__ = ["ActorStats", "LagStats", "MetricsCalls", "QuantileStats", "Stats"]


class LagStats(msgspec.Struct, frozen=True):
    """Events that clients are behind."""

    p50: int
    p99: int
    max: int


class QuantileStats(msgspec.Struct, frozen=True):
    """Milliseconds over the last seconds; null where nothing happened."""

    p50: float | None
    p99: float | None


class ActorStats(msgspec.Struct, frozen=True):
    """All actors of one class."""

    count: int
    mailbox_depth: int
    handled: int
    """Messages."""
    busy_s: float


class Stats(msgspec.Struct, frozen=True):
    """What `/v1/stats` answers. Counters are since the start of the router."""

    time: str
    uptime_s: float
    connections: int
    rooms: int
    subscriptions: int
    handshakes: int
    """Connections that were let in."""
    events_in: dict[str, int]
    """By kind."""
    deliveries: int
    conflated: int
    skipped: int
    restarts: int
    given_up: int
    quarantined: int
    rejected: dict[str, int]
    """By reason, wherever it was."""
    outbox_bytes: int
    lag: LagStats
    latency_ms: QuantileStats
    """From publisher to write."""
    loop_lag_ms: float
    """At worst within the last two seconds."""
    commit_ms: QuantileStats
    actors: dict[str, ActorStats]
    """By class."""


class MetricsCalls:
    """Answers who watches the router.

    Args:
        vitals: How it is doing.
    """

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals
        self._collector = VitalsCollector(vitals)
        self._started = time.monotonic()

    def calls(self) -> list[Call]:
        """Return what it answers."""
        return [
            Call("GET", "/metrics", "Metrics for Prometheus, as text.", self._metrics, roles=()),
            Call("GET", "/v1/stats", "Counters and the last seconds, for a console.", self._stats, answer=Stats),
        ]

    async def _metrics(self, asked: Asked[None]) -> web.Response:
        await self._collector.look()
        try:
            encode, content_type = choose_encoder(asked.request.headers.get("Accept", ""))
        except (TypeError, ValueError):  # a version that is no number: what is meant by it the library cannot tell
            encode, content_type = choose_encoder("")
        return web.Response(body=encode(self._collector.registry), headers={"Content-Type": content_type})

    async def _stats(self, _asked: Asked[None]) -> Stats:
        vitals, census = self._vitals, await self._vitals.census()
        meters, work = vitals.meters, vitals.work
        rejected: Counter[str] = Counter()
        for (_, reason), count in meters.rejected.items():
            rejected[reason] += count
        return Stats(
            time=time_text(round(time.time() * 1000)),
            uptime_s=round(time.monotonic() - self._started, 3),
            connections=len(vitals.registry),
            rooms=len(vitals.directory),
            subscriptions=len(vitals.ledger),
            handshakes=meters.opened,
            events_in=meters.events_in,
            deliveries=meters.deliveries,
            conflated=meters.conflated,
            skipped=sum(meters.skipped.values()),
            restarts=meters.restarts.total(),
            given_up=meters.given_up.total(),
            quarantined=meters.quarantined,
            rejected=rejected,
            outbox_bytes=census.outbox_bytes.total,
            lag=_lag(census.lag),
            latency_ms=_quantiles_ms(vitals.recent_latency),
            loop_lag_ms=round(vitals.lag.recent_s * 1000, 1),
            commit_ms=_quantiles_ms(vitals.recent_commits),
            actors={
                name: ActorStats(
                    count=crew.size,
                    mailbox_depth=crew.mailbox_depth,
                    handled=work[name].handled if name in work else 0,
                    busy_s=round(work[name].turns_s.total, 3) if name in work else 0.0,
                )
                for name in sorted({*census.crews, *work})
                for crew in (census.crews.get(name, Crew()),)
            },
        )


def _lag(spread: Spread) -> LagStats:
    at = dict(zip(QUANTILES, spread.quantiles, strict=True))
    return LagStats(p50=at[0.5], p99=at[0.99], max=at[1.0])


def _quantiles_ms(recent: Recent | None) -> QuantileStats:
    p50, p99 = (None, None) if recent is None else (recent.quantile(0.5), recent.quantile(0.99))
    return QuantileStats(*(None if value is None else round(value * 1000, 2) for value in (p50, p99)))
