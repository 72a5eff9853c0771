"""NATS is killed, stands still, or cannot be reached by one router: what the routers say of it, and what they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ..integration.network import Relay
from ..integration.services import in_chain, numbers
from ..native_client import NativeClient
from ..nats_server import NatsServer
from .nodes import logged, nodes, publish, publish_until_taken, same_everywhere, until_ready

ROOM = "doc:1"
FOUND_OUT_S = 6.0
"""How long a router may take to find out that NATS does not answer."""


@pytest.mark.parametrize(
    ("take_away", "bring_back"),
    [(NatsServer.kill, NatsServer.start), (NatsServer.freeze, NatsServer.thaw)],
    ids=["killed", "stands still"],
)
async def test_without_nats_events_are_refused_and_nobody_is_sent_away(
    server: NatsServer,
    tmp_path: Path,
    take_away: Callable[[NatsServer], None],
    bring_back: Callable[[NatsServer], None],
) -> None:
    async with nodes(tmp_path, (server.url,), (server.url,)) as routers:
        first, second = routers
        async with NativeClient(first.url) as near, NativeClient(second.url) as far:
            joined = [await client.subscribe(ROOM) for client in (near, far)]
            await publish_until_taken(near, ROOM, 1, 2)
            take_away(server)
            for router in routers:
                said = await until_ready(router, ready=False, within_s=FOUND_OUT_S)
                assert server.url.removeprefix("nats://") in said["reason"], said
                assert logged(router, "cluster_link_lost")
            refused = await publish(far, ROOM, 3)
            assert (refused["type"], refused["code"], refused["temporary"]) == ("error", "journal_unavailable", True)
            bring_back(server)
            for router in routers:
                await until_ready(router)
                assert logged(router, "cluster_link_up")
            await publish_until_taken(far, ROOM, 3)
            await publish_until_taken(near, ROOM, 4)
            events = await same_everywhere(4, ROOM, [near, far])
            assert numbers(events) == [1, 2, 3, 4]
            assert in_chain(events, joined[0]["offset"])


@pytest.mark.parametrize("both", [True, False], ids=["no way", "one way"])
async def test_a_router_that_is_cut_off_from_nats_says_so_and_catches_up(
    server: NatsServer, tmp_path: Path, both: bool
) -> None:
    """The other one is not concerned. Where the line is dead in one way only, events go out that nobody confirms."""
    async with (
        Relay(server.url) as line,
        nodes(tmp_path, (server.url,), (line.url,)) as (whole, cut_off),
        NativeClient(whole.url) as near,
        NativeClient(cut_off.url) as far,
    ):
        joined = [await client.subscribe(ROOM) for client in (near, far)]
        await publish_until_taken(far, ROOM, 1)
        line.stop(both=both)
        # It does not know yet: whether this one is taken it cannot say.
        unknown = await publish(far, ROOM, 2)
        assert unknown["type"] == "error"
        assert unknown["code"] in ("internal", "journal_unavailable")
        said = await until_ready(cut_off, ready=False, within_s=FOUND_OUT_S)
        assert line.url.removeprefix("nats://") in said["reason"], said
        assert logged(cut_off, "cluster_link_lost")
        refused = await publish(far, ROOM, 3)
        assert (refused["code"], refused["temporary"]) == ("journal_unavailable", True)
        await until_ready(whole)
        await publish_until_taken(near, ROOM, *range(4, 50))
        line.go_on()
        await until_ready(cut_off)
        assert logged(cut_off, "cluster_link_up")
        assert not logged(whole, "cluster_link_lost")
        # What it could not say is told now: the same id counts once.
        receipts = await publish_until_taken(far, ROOM, 2, 3, 50)
        events = await same_everywhere(50, ROOM, [near, far])
        assert in_chain(events, joined[0]["offset"]) == receipts[-1]["offset"]
        assert sorted(numbers(events)) == list(range(1, 51))
        if unknown["code"] == "journal_unavailable":
            assert not receipts[0]["duplicate"], "it was refused for good, and taken"
