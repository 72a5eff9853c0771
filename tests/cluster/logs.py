"""Event logs of a cluster, as the routers of it have them, without the routers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from actors.mailbox import Mailbox
from server.clock import SystemClock
from server.cluster.client import Access
from server.cluster.link import Link
from server.journals.jetstream.layout import Layout
from server.journals.jetstream.log import JetStreamLog
from server.journals.jetstream.streams import Terms

from ..actors.fake_clock import settled

__all__ = ["jetstream_log", "new_cluster", "until"]

_WAIT_S = 30.0


def new_cluster() -> str:
    """Return the name of a cluster that nobody else uses."""
    return f"c{secrets.token_hex(4)}"


@asynccontextmanager
async def jetstream_log(
    *urls: str, cluster: str | None = None, replicas: int = 1, keep_s: float = 86_400.0, dedupe_s: float = 600.0
) -> AsyncIterator[JetStreamLog]:
    """Open the log of a cluster; None: of a new one."""
    link = Link(Access(urls), "test")
    await link.start()
    log = JetStreamLog(
        link,
        Layout(cluster or new_cluster()),
        Terms(replicas, keep_s, dedupe_s),
        clock=SystemClock(asyncio.get_running_loop()),
    )
    mailboxes: list[Mailbox] = []

    def start_child(name: str, mailbox: Mailbox, start: Callable[[Mailbox], object]) -> None:
        mailboxes.append(mailbox)
        start(mailbox)

    try:
        await log.start(start_child)
        yield log
    finally:
        await log.stop()
        await link.stop()
        for mailbox in mailboxes:
            mailbox.stop()
        await settled()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so that nobody tells of."""
    async with asyncio.timeout(_WAIT_S):
        while not condition():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.005)
