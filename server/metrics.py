"""Metrics: a router's vitals in, Prometheus's families of samples out. One table says what each of them is.

Nothing is counted here, so that what nobody scrapes costs nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Literal, NamedTuple, TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from actors.histogram import Histogram

from . import __version__
from .census import QUANTILES, Census, Spread
from .vitals import Vitals

__all__ = ["METRICS", "Measure", "Samples", "VitalsCollector"]

Samples: TypeAlias = Mapping[tuple[str, ...], float | Histogram]
"""Values by the values of their labels."""


class Measure(NamedTuple):
    """One metric."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    meaning: str
    labels: tuple[str, ...]
    read: Callable[[Vitals, Census], Samples]


def _one(value: float | Histogram) -> Samples:
    return {(): value}


def _by(values: Mapping[str, float]) -> Samples:
    return {(key,): value for key, value in values.items()}


def _by_both(values: Mapping[tuple[str, str], float]) -> Samples:
    return {keys: value for keys, value in values.items()}


def _quantiles(spread: Spread) -> Samples:
    return {(f"{part:g}",): value for part, value in zip(QUANTILES, spread.quantiles, strict=True)}


METRICS = (
    Measure(
        "postroom_build_info", "gauge", "", "Always 1; the label says which version runs.", ("version",),
        lambda vitals, census: {(__version__,): 1},
    ),
    Measure(
        "postroom_connections", "gauge", "connections", "WebSocket clients that are connected.", (),
        lambda vitals, census: _one(len(vitals.registry)),
    ),
    Measure(
        "postroom_connections_opened_total", "counter", "connections", "WebSocket clients that were let in.", (),
        lambda vitals, census: _one(vitals.meters.opened),
    ),
    Measure(
        "postroom_connections_closed_total", "counter", "connections",
        "WebSocket clients that are gone: with which close code, and who closed, `router` or `client`.",
        ("code", "by"),
        lambda vitals, census: _by_both(vitals.meters.closed),
    ),
    Measure(
        "postroom_rooms", "gauge", "rooms", "Rooms that are open.", (),
        lambda vitals, census: _one(len(vitals.directory)),
    ),
    Measure(
        "postroom_subscriptions", "gauge", "subscriptions", "Clients in rooms: one client in three rooms is three.", (),
        lambda vitals, census: _one(len(vitals.ledger)),
    ),
    Measure(
        "postroom_events_in_total", "counter", "events",
        "Events that rooms took, each once however often it was sent. `custom` stands for every kind that publishers "
        "name themselves, `supervisor` for the supervisor journal's own.",
        ("kind",),
        lambda vitals, census: _by(vitals.meters.events_in),
    ),
    Measure(
        "postroom_deliveries_total", "counter", "events",
        "Events that were written to clients: one event for three clients is three.", (),
        lambda vitals, census: _one(vitals.meters.deliveries),
    ),
    Measure(
        "postroom_conflated_total", "counter", "events",
        "Events that waited for a client that lags and gave way to a newer value, so that they were not written.", (),
        lambda vitals, census: _one(vitals.meters.conflated),
    ),
    Measure(
        "postroom_skipped_total", "counter", "markers",
        "`skipped` markers that told a client which offsets do not come, by the reason that they name.", ("reason",),
        lambda vitals, census: _by(vitals.meters.skipped),
    ),
    Measure(
        "postroom_publish_to_write_seconds", "histogram", "seconds",
        "From the moment in which a live event was handed in to its write to a client's socket, the commit counted in; "
        "one value for each delivery, by the first event of those that were written together.", (),
        lambda vitals, census: _one(vitals.meters.latency_s),
    ),
    Measure(
        "postroom_rejected_total", "counter", "refusals",
        "What was refused: where, on a `websocket`, in a `handshake` or over `http`, and for which reason, an error "
        "code mostly.", ("where", "reason"),
        lambda vitals, census: _by_both(vitals.meters.rejected),
    ),
    Measure(
        "postroom_connection_lag_events", "gauge", "events",
        "Events that a client is behind in the room where that is most: so many clients in a hundred are no further "
        "behind.", ("quantile",),
        lambda vitals, census: _quantiles(census.lag),
    ),
    Measure(
        "postroom_connection_outbox_bytes", "gauge", "bytes",
        "Bytes that wait for a client: for so many clients in a hundred no more wait.", ("quantile",),
        lambda vitals, census: _quantiles(census.outbox_bytes),
    ),
    Measure(
        "postroom_outbox_bytes", "gauge", "bytes", "Bytes that wait for all clients together.", (),
        lambda vitals, census: _one(census.outbox_bytes.total),
    ),
    Measure(
        "postroom_actors", "gauge", "actors",
        "Actors by class; `starting`: not there yet, as its room is being read or its back-off runs.",
        ("actor_class",),
        lambda vitals, census: _by({name: crew.size for name, crew in census.crews.items()}),
    ),
    Measure(
        "postroom_mailbox_messages", "gauge", "messages", "Messages that wait in the mailboxes of these actors.",
        ("actor_class",),
        lambda vitals, census: _by({name: crew.mailbox_depth for name, crew in census.crews.items()}),
    ),
    Measure(
        "postroom_messages_handled_total", "counter", "messages", "Messages that these actors took.", ("actor_class",),
        lambda vitals, census: _by({name: work.handled for name, work in vitals.work.items()}),
    ),
    Measure(
        "postroom_turn_seconds", "histogram", "seconds",
        "How long a turn of one of these actors took, in which it handles what is in its mailbox.", ("actor_class",),
        lambda vitals, census: {(name,): work.turns_s for name, work in vitals.work.items()},
    ),
    Measure(
        "postroom_actor_failures_total", "counter", "failures", "Actors that failed, by class.", ("actor_class",),
        lambda vitals, census: _by(vitals.meters.failures),
    ),
    Measure(
        "postroom_restarts_total", "counter", "restarts", "Actors that were restarted, by their supervisor.",
        ("supervisor",),
        lambda vitals, census: _by(vitals.meters.restarts),
    ),
    Measure(
        "postroom_given_up_total", "counter", "actors", "Actors that failed too often, by their supervisor.",
        ("supervisor",),
        lambda vitals, census: _by(vitals.meters.given_up),
    ),
    Measure(
        "postroom_quarantined_total", "counter", "messages",
        "Messages that went to quarantine because an actor failed on them again.", (),
        lambda vitals, census: _one(vitals.meters.quarantined),
    ),
    Measure(
        "postroom_journal_commit_seconds", "histogram", "seconds",
        "How long a transaction of the journal took, the sync to the disk counted in.", (),
        lambda vitals, census: {} if vitals.journal is None else _one(vitals.journal.commits_s),
    ),
    Measure(
        "postroom_journal_waiting_events", "gauge", "events", "Events that wait for the disk.", (),
        lambda vitals, census: {} if vitals.journal is None else _one(vitals.journal.waiting[0]),
    ),
    Measure(
        "postroom_journal_waiting_bytes", "gauge", "bytes", "Data that waits for the disk.", (),
        lambda vitals, census: {} if vitals.journal is None else _one(vitals.journal.waiting[1]),
    ),
    Measure(
        "postroom_journal_available", "gauge", "", "1 while the journal can be written, else 0.", (),
        lambda vitals, census: {} if vitals.journal is None else _one(vitals.journal.trouble is None),
    ),
    Measure(
        "postroom_cluster_nodes", "gauge", "routers",
        "Routers of the cluster that this one knows of, itself counted in.", (),
        lambda vitals, census: {} if vitals.peers is None else _one(len(vitals.peers.nodes)),
    ),
    Measure(
        "postroom_cluster_link_up", "gauge", "", "1 while there is a connection to NATS, else 0.", (),
        lambda vitals, census: {} if vitals.peers is None else _one(vitals.peers.link_up),
    ),
    Measure(
        "postroom_cluster_unanswered_total", "counter", "answers",
        "Answers of other routers that did not come in time: what was asked for went without their part.", (),
        lambda vitals, census: {} if vitals.peers is None else _one(vitals.peers.unanswered),
    ),
    Measure(
        "postroom_loop_lag_seconds", "histogram", "seconds",
        "How late the event loop came to a timer of its own, four times a second.", (),
        lambda vitals, census: _one(vitals.lag.lags_s),
    ),
)  # fmt: skip
"""Every metric of ours."""


class VitalsCollector(Collector):
    """Hands a registry the samples of a router and of its process.

    Args:
        vitals: What it reads.
    """

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals
        self._census = Census(Spread(), Spread(), {})
        self._process: list[Metric] = []
        self._process_collector = ProcessCollector(registry=None)
        self.registry = CollectorRegistry()
        """This router's own."""
        self.registry.register(self)

    async def look(self) -> None:
        """Find out what takes a while; call it before each collection."""
        # In a thread: of 10,000 sockets the system makes a list that takes it 10 ms.
        self._process = await asyncio.to_thread(lambda: list(self._process_collector.collect()))
        self._census = await self._vitals.census()

    def describe(self) -> Iterator[Metric]:
        """Return the families without samples, so that nobody has to collect to know their names."""
        return (_family(measure, {}) for measure in METRICS)

    def collect(self) -> Iterator[Metric]:
        """Return the families as they are now."""
        yield from (_family(measure, measure.read(self._vitals, self._census)) for measure in METRICS)
        yield from self._process


def _family(measure: Measure, samples: Samples) -> Metric:
    family = _FAMILIES[measure.kind](measure.name, measure.meaning, labels=measure.labels)
    for labels, value in samples.items():
        if isinstance(family, HistogramMetricFamily):
            assert isinstance(value, Histogram)
            family.add_metric(labels, _buckets(value), value.total)
        else:
            assert not isinstance(value, Histogram)
            family.add_metric(labels, value)
    return family


_FAMILIES: dict[str, type[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True))
