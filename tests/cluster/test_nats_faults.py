"""NATS is killed, stands still, or cannot be reached by one router: what the routers say of it, and what they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ..integration.network import Relay
from ..integration.services import in_chain, numbers
from ..native_client import NativeClient
from ..nats_server import NatsServer
from .nodes import event, logged, nodes, publish, publish_until_taken, same_everywhere, until_ready

ROOM = "doc:1"
FOUND_OUT_S = 20.0
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
                await until_ready(router, ready=False, why=server.url.removeprefix("nats://"), within_s=FOUND_OUT_S)
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
        NativeClient(cut_off.url) as service,
    ):
        joined = [await client.subscribe(ROOM) for client in (near, far)]
        await publish_until_taken(far, ROOM, 1)
        line.stop(both=both)
        # The router does not know yet.
        await service.send("publish", id="under way", **event(ROOM, 2))
        await until_ready(cut_off, ready=False, why=line.url.removeprefix("nats://"), within_s=FOUND_OUT_S)
        assert logged(cut_off, "cluster_link_lost")
        refused = await publish(far, ROOM, 3)
        assert (refused["code"], refused["temporary"]) == ("journal_unavailable", True)
        await until_ready(whole)
        await publish_until_taken(near, ROOM, *range(4, 50))
        line.go_on()
        await until_ready(cut_off)
        assert logged(cut_off, "cluster_link_up")
        assert not logged(whole, "cluster_link_lost")
        # What was under way counts once, whether NATS had it or not.
        receipt = await service.next()
        assert (receipt["type"], receipt["id"]) == ("published", "under way"), receipt
        again, *_, last = await publish_until_taken(far, ROOM, 2, 3, 50)
        assert (again["offset"], again["duplicate"]) == (receipt["offset"], True)
        events = await same_everywhere(50, ROOM, [near, far])
        assert in_chain(events, joined[0]["offset"]) == last["offset"]
        came = numbers(events)
        assert sorted(came) == list(range(1, 51))
        assert [n for n in came if n not in (2, 3)] == [1, *range(4, 51)]
        assert (came.index(2) == 1) == (not both), "it went out, or it did not"
