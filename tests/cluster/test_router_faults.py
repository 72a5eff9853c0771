"""A router of a cluster is killed, or stands still; and two services publish to one room through two routers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ..integration.services import in_chain, numbers, position
from ..native_client import NativeClient
from ..nats_server import NatsServer
from .nodes import nodes, publish, publish_until_taken, same_everywhere

ROOM = "doc:1"
STILL_S = 3.0
"""So long that whoever waits for an answer has given up."""


async def test_clients_of_a_killed_router_resume_on_another(server: NatsServer, tmp_path: Path) -> None:
    """With all that they missed, and a retry there of what was published here gets the first receipt."""
    async with nodes(tmp_path, (server.url,), (server.url,)) as (first, second):
        async with NativeClient(first.url) as client:
            joined = await client.subscribe(ROOM)
            receipts = await publish_until_taken(client, ROOM, 1, 2, 3)
            events = await client.events(3)
            assert in_chain(events, joined["offset"]) == receipts[-1]["offset"]
            await first.kill()
            await client.closed()
        async with NativeClient(second.url) as service:
            again = await publish(service, ROOM, 3)
            assert again["duplicate"]
            assert position(again) == position(receipts[-1])
            (receipt,) = await publish_until_taken(service, ROOM, 4)
            assert not receipt["duplicate"]
            # It has seen the first of the three only.
            place = {"epoch": joined["epoch"], "offset": events[0]["offset"]}
            async with NativeClient(second.url, resume={ROOM: place}) as client:
                room = client.welcome["rooms"][ROOM]
                assert (room["recovery"], room["replay"]) == ("full", 3)
                assert position(room) == position(receipt)
                events = await client.events(3)
                assert numbers(events) == [2, 3, 4]
                assert in_chain(events, place["offset"]) == receipt["offset"]
                await first.start()
                async with NativeClient(first.url, resume={ROOM: place}) as other:
                    assert other.welcome["rooms"][ROOM]["recovery"] == "full"
                    assert await other.events(3) == events
                    await publish_until_taken(service, ROOM, 5)
                    (last,) = await same_everywhere(1, ROOM, [client, other])
                    assert in_chain([last], receipt["offset"])


async def test_a_router_that_stood_still_slows_nobody_and_catches_up(server: NatsServer, tmp_path: Path) -> None:
    count = 500
    async with (
        nodes(tmp_path, (server.url,), (server.url,)) as (quick, slow),
        NativeClient(quick.url) as service,
        NativeClient(quick.url) as near,
        NativeClient(slow.url) as far,
    ):
        joined = [await client.subscribe(ROOM) for client in (near, far)]
        assert position(joined[0]) == position(joined[1])
        with slow.standing_still():
            waiting = asyncio.create_task(asyncio.sleep(STILL_S))
            receipts = await publish_until_taken(service, ROOM, *range(1, count + 1))
            assert numbers(await near.events(count)) == list(range(1, count + 1))
            await waiting
        # Who was elsewhere and comes to it now is not told of less than it has already.
        place = {"epoch": joined[0]["epoch"], "offset": receipts[-2]["offset"]}
        async with NativeClient(slow.url, resume={ROOM: place}) as moved:
            assert moved.welcome["rooms"][ROOM]["recovery"] == "full"
            assert numbers(await moved.events(1)) == [count]
        events = await far.events(count)
        assert numbers(events) == list(range(1, count + 1))
        assert in_chain(events, joined[1]["offset"]) == receipts[-1]["offset"]


async def test_two_services_that_publish_through_two_routers_see_one_order(server: NatsServer, tmp_path: Path) -> None:
    """Each service's own events stay in its order; everybody agrees on how they mingle."""
    each = 300
    async with (
        nodes(tmp_path, (server.url,), (server.url,)) as (first, second),
        NativeClient(first.url) as left,
        NativeClient(second.url) as right,
        NativeClient(first.url) as near,
        NativeClient(second.url) as far,
    ):
        joined = [await client.subscribe(ROOM) for client in (near, far)]
        for n in range(1, each + 1):
            both = [(left, {"n": n}), (right, {"n": -n})]
            if n % 10:
                for client, data in both:
                    await client.send("publish", room=ROOM, kind="app.step", data=data)
            else:  # neither gets far ahead of the other
                await asyncio.gather(*(c.ask("publish", room=ROOM, kind="app.step", data=data) for c, data in both))
        events = await same_everywhere(2 * each, ROOM, [near, far])
        assert in_chain(events, joined[0]["offset"])
        came = numbers(events)
        assert [n for n in came if n > 0] == list(range(1, each + 1))
        assert [-n for n in came if n < 0] == list(range(1, each + 1))
        last = (await asyncio.gather(*(client.ask("state", room=ROOM) for client in (near, far))))[0]
        assert last["offset"] == events[-1]["offset"]
        assert last["state"]["counts"] == {"app.step": 2 * each}
