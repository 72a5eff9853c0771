"""Joining a cluster: settings in, a connection to NATS and the event log in it out. What it needs is an extra."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.clock import Clock
from actors.report import Report

from .journals.faults import JournalError
from .settings import Settings

if TYPE_CHECKING:
    from .cluster.link import Link
    from .journals.jetstream.log import JetStreamLog

__all__ = ["join"]


async def join(settings: Settings, clock: Clock, report: Report) -> tuple[Link, JetStreamLog]:
    """Connect to NATS.

    Raises:
        JournalError: It cannot be; says why and what to do.
    """
    try:
        from .cluster.link import Access, Link, LinkDown
        from .journals.jetstream.layout import Layout
        from .journals.jetstream.log import JetStreamLog
        from .journals.jetstream.streams import Terms
    except ModuleNotFoundError as error:
        raise JournalError(f"a cluster needs {error.name}: pip install 'postroom[cluster]'") from error

    access = Access(
        settings.cluster,
        settings.cluster_user,
        settings.cluster_password,
        settings.cluster_credentials,
        settings.cluster_ca,
        settings.cluster_certificate,
    )
    link = Link(access, f"postroom {settings.node or ''}".strip())
    try:
        await link.start()
    except LinkDown as error:
        raise JournalError(f"{error}; is it there, and may this router use it? (--cluster)") from error
    terms = Terms(settings.cluster_replicas, settings.cluster_keep_s, settings.dedupe_s)
    return link, JetStreamLog(link, Layout(settings.cluster_name), terms, clock=clock, report=report)
