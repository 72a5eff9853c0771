"""Three NATS servers, which keep each event three times: one is lost, then the one that leads, then all but one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ..integration.services import in_chain, numbers
from ..native_client import NativeClient
from ..nats_server import NatsServer
from ..torture.cluster.cluster import leader
from .nodes import event, nodes, publish, publish_until_taken, same_everywhere, until_ready

ROOM = "doc:1"
STILL_S = 2.0
"""Long enough for a router to send once more what nobody has confirmed."""


async def test_a_cluster_that_loses_one_server_and_then_its_leader_loses_no_event(
    servers: list[NatsServer], tmp_path: Path
) -> None:
    """Without two of three nothing is kept, and nothing is acknowledged."""
    urls = tuple(server.url for server in servers)
    async with nodes(tmp_path, urls, urls[::-1], replicas=3) as routers:
        first, second = routers
        async with (
            NativeClient(first.url) as near,
            NativeClient(first.url) as service,
            NativeClient(second.url) as far,
        ):
            joined = [await client.subscribe(ROOM) for client in (near, far)]
            await publish_until_taken(near, ROOM, 1)
            follower = _another(servers, await _leader(servers))
            follower.kill()
            await publish_until_taken(near, ROOM, *range(2, 20))
            follower.start()
            await follower.ready()
            lost = await _leader(servers)
            lost.kill()
            await publish_until_taken(far, ROOM, *range(20, 40))
            assert await _leader([each for each in servers if each is not lost]) is not lost
            follower = _another(servers, await _leader(servers), lost)
            await until_ready(first)
            follower.kill()
            await service.send("publish", id="under way", **event(ROOM, 40))  # nobody can tell yet
            await until_ready(first, ready=False, why="JetStream")
            refused = await publish(near, ROOM, 41)
            assert (refused["type"], refused["code"]) == ("error", "journal_unavailable"), refused
            await asyncio.sleep(STILL_S)
            lost.start()
            follower.start()
            await asyncio.gather(*(server.ready() for server in servers))
            for router in routers:
                await until_ready(router, within_s=60.0)
            receipt = await service.next()
            assert receipt["id"] == "under way"
            # It was refused where the router was on the server that was killed, and knew so.
            taken = receipt["type"] == "published"
            assert (taken, receipt.get("duplicate")) == (True, False) or receipt["code"] == "journal_unavailable"
            receipts = await publish_until_taken(near, ROOM, *range(41 if taken else 40, 50))
            events = await same_everywhere(49, ROOM, [near, far])
            assert numbers(events) == list(range(1, 50))
            assert in_chain(events, joined[0]["offset"]) == receipts[-1]["offset"]


async def _leader(servers: list[NatsServer]) -> NatsServer:
    async with asyncio.timeout(30.0):
        while (found := await leader(servers)) is None:  # noqa: ASYNC110  # another process tells no event of ours
            await asyncio.sleep(0.1)
    return found


def _another(servers: list[NatsServer], *but: NatsServer) -> NatsServer:
    return next(server for server in servers if server not in but)
