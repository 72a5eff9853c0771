"""Joining a cluster: settings in; the connection to NATS, the event log in it and the other routers out.

What it needs is an extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actors.clock import Clock
from actors.ledger import Ledger
from actors.report import Report

from .journals.faults import JournalError
from .node import node_name
from .settings import Settings

if TYPE_CHECKING:
    from .cluster.cluster import Cluster
    from .cluster.link import Link
    from .journals.jetstream.log import JetStreamLog

__all__ = ["Joined", "join"]


class Joined(NamedTuple):
    """What a router has in a cluster; stopped in the opposite order."""

    link: Link
    log: JetStreamLog
    cluster: Cluster


async def join(settings: Settings, clock: Clock, report: Report, ledger: Ledger) -> Joined:
    """Connect to NATS; what else there is waits to be started.

    Raises:
        JournalError: It cannot be; says why and what to do.
    """
    try:
        from .cluster.client import Access
        from .cluster.cluster import Cluster
        from .cluster.link import Link, LinkDown
        from .journals.jetstream.layout import Layout
        from .journals.jetstream.log import JetStreamLog
        from .journals.jetstream.streams import Terms
    except ModuleNotFoundError as error:
        raise JournalError(
            f"a cluster needs the package nats-py, and there is no module {error.name!r}: "
            "pip install 'postroom[cluster]'"
        ) from error

    access = Access(
        settings.cluster,
        settings.cluster_user,
        settings.cluster_password,
        settings.cluster_credentials,
        settings.cluster_ca,
        settings.cluster_certificate,
    )
    node = node_name(settings)
    link = Link(access, f"postroom {node}")
    try:
        await link.start()
    except LinkDown as error:
        raise JournalError(
            f"{error}; is it there, and may this router use it? (--cluster) To start one: nats-server --jetstream. "
            "Or let Postroom run its own, for the cores of this machine: postroom serve --workers 2"
        ) from error
    terms = Terms(settings.cluster_replicas, settings.cluster_keep_s, settings.dedupe_s)
    events = JetStreamLog(link, Layout(settings.cluster_name), terms, clock=clock, report=report)
    name = settings.cluster_name
    cluster = Cluster(link, events, name=name, node=node, clock=clock, report=report, ledger=ledger)
    return Joined(link, events, cluster)
