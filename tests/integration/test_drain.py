"""A drain at size: every client hears its own slot, all are let go in time, and the log does not drown in it."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections import Counter
from collections.abc import Callable

from ..conftest import RouterProcess
from ..raw_client import CLOSE, frame
from .at_size import log_of, report, size
from .crowd import Follower

CLIENTS = size(400, 10_000)
_SLOT = re.compile(rb'"code":"draining","reconnect_in_ms":(\d+)')
_CLOSED = b"\x88\x0a\x03\xe9draining"


class Leaver(Follower):
    """A client that leaves when it is told to."""

    slot: int | None = None
    closed = False

    def data_received(self, data: bytes) -> None:
        """Note the slot, and answer the close."""
        slot = _SLOT.search(data)
        if slot is not None:
            self.slot = int(slot[1])
        if _CLOSED in data:
            self.closed = True
            self.transport.write(frame(CLOSE, b"\x03\xe9"))
        super().data_received(data)


async def test_all_clients_are_let_go_each_with_a_slot_of_its_own(start_router: Callable[..., RouterProcess]) -> None:
    """The slots spread what comes back: evenly, over 2 ms for each client and 10 s at most."""
    process = start_router("--dev", "--journal", "memory")
    clients: list[Leaver] = []
    while len(clients) < CLIENTS:
        more = min(50, CLIENTS - len(clients))
        clients += await asyncio.gather(*(Leaver.join(process.ws_url, []) for _ in range(more)))
    began = time.monotonic()
    process.signal(signal.SIGTERM)
    async with asyncio.timeout(25):
        for client in clients:
            await client.lost
    let_go_s = time.monotonic() - began
    assert await asyncio.to_thread(process.wait, 30) == 0
    ended_s = time.monotonic() - began
    assert all(client.closed for client in clients)
    slots = sorted(client.slot for client in clients if client.slot is not None)
    assert len(slots) == CLIENTS
    spread_ms = min(10_000, 2 * CLIENTS)
    assert 0 <= slots[0] <= slots[-1] <= spread_ms
    fullest = max(Counter(slot * 10 // spread_ms for slot in slots).values())
    assert fullest <= CLIENTS // 10 + 1, "a tenth of the time has more than a tenth of the clients"
    log = log_of(process)
    together = [line for line in log if line["event"] == "connections_closed"]
    singly = [line for line in log if line["event"] == "connection_closed"]
    assert sum(line["count"] for line in together) + len(singly) == CLIENTS
    assert len(together) <= 5
    assert log[-1]["event"] == "router_stopped"
    assert not [line for line in log if line["event"] == "drain_timed_out"]
    report(
        "drain",
        clients=CLIENTS,
        let_go_s=round(let_go_s, 2),
        ended_s=round(ended_s, 2),
        lines=len(together) + len(singly),
    )
