"""A slow line that tears messages apart: events come late, and still in order and whole."""

from __future__ import annotations

import asyncio
import time

import pytest

from server.app import Router

from ..conftest import running_router
from ..native_client import NativeClient
from .network import slow_network
from .services import in_chain, numbers, publish

pytestmark = pytest.mark.alone

DELAY_S = 0.06
TEXT = "Grüße, 世界, \N{WHITE HEAVY CHECK MARK} " * 3


async def test_events_over_a_slow_line_keep_their_order_and_content(router: Router):
    """A subscriber and a publisher behind slow lines lose nothing, though every message arrives in pieces."""
    url, count = router.addresses.ws_url, 300
    async with (
        slow_network(url, delay_s=DELAY_S, seed=1) as far_url,
        NativeClient(far_url) as subscriber,
        NativeClient(far_url) as publisher,
        NativeClient(url) as near,
    ):
        for client in (subscriber, near):
            await client.subscribe("team:1")
        started = time.monotonic()
        for n in range(count):
            await publisher.send("publish", room="team:1", kind="app.count", data={"n": n, "text": TEXT[: n % 60]})
        receipt = await publisher.ask("publish", room="team:1", kind="app.count", data={"n": count, "text": ""})
        assert time.monotonic() - started >= DELAY_S, "there and back takes half the delay each at least"
        assert receipt["offset"] == count + 1

        events = await subscriber.events(count + 1)
        assert numbers(events) == list(range(count + 1))
        assert in_chain(events) == count + 1
        assert all(event["data"]["text"] == TEXT[: event["data"]["n"] % 60] for event in events[:-1])
        assert events == await near.events(count + 1)
        assert await subscriber.nothing_more() == []


async def test_subscribing_over_a_slow_line_while_events_flow_leaves_no_gap(router: Router):
    """Whatever is published while the answer to `subscribe` is under way comes after it, from exactly its position."""
    url = router.addresses.ws_url
    async with slow_network(url, delay_s=DELAY_S, seed=2) as far_url, NativeClient(far_url) as client:
        done = False

        async def keep_publishing() -> int:
            n = 0
            while not done:
                n = (await publish(router, "session:1", "progress", {"current": n + 1}, delivery="keep")).offset
                await asyncio.sleep(0.001)
            return n

        publishing = asyncio.create_task(keep_publishing())
        try:
            for _ in range(3):
                subscribed = await client.subscribe("session:1")
                at = subscribed["offset"]
                if at:
                    assert subscribed["state"]["progress"]["default"]["current"] == at
                events = await client.events(20)
                assert in_chain(events, after=at) == at + 20
                assert events[0]["data"]["current"] == at + 1
                await client.ask("unsubscribe", room="session:1")
                await client.nothing_more()
        finally:
            done = True
            last = await publishing
        subscribed = await client.subscribe("session:1", after={"epoch": subscribed["epoch"], "offset": at + 20})
        events = await client.events(subscribed["replay"])
        assert in_chain(events, after=at + 20) == last


async def test_a_slow_line_is_no_dead_peer():
    """A client that answers pings late, but within the time for it, is not cut."""
    async with (
        running_router(dev=True, heartbeat_s=0.2, pong_timeout_s=0.4) as router,
        slow_network(router.addresses.ws_url, delay_s=DELAY_S, seed=3) as far_url,
        NativeClient(far_url) as client,
    ):
        for _ in range(10):  # longer than a dead peer lasts
            pong = await client.socket.ping()
            await asyncio.wait_for(pong, 5)
        assert (await client.ask("ping"))["type"] == "pong"
        assert len(router.registry) == 1
