"""An application that does not take its events: memory stays bounded, nothing is lost, nothing hangs."""

from __future__ import annotations

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed

from postroom_client import Backoff, Position, connect

from .scripted_router import BOUND_S, EPOCH, Peer, ScriptedRouter

BUFFER = 8


async def flood(peer: Peer, first: int, last: int) -> None:
    for offset in range(first, last + 1):
        await peer.event(offset, data={"current": offset, "filler": "x" * 8192})


async def test_a_full_buffer_stops_the_reading_of_the_socket(router: ScriptedRouter):
    """The flood is longer than all buffers on the way: it ends only if somebody takes events."""
    total = 3000
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, buffer=BUFFER) as client:
        peer = await opening
        subscribing = asyncio.create_task(client.subscribe("session:1"))
        await peer.subscribed()
        session = await subscribing
        flooding = asyncio.create_task(flood(peer, 1, total))
        done, _ = await asyncio.wait([flooding], timeout=0.5)
        assert not done
        assert len(client._rooms.get("session:1")) <= BUFFER
        for offset in range(1, total + 1):
            assert (await asyncio.wait_for(anext(session), BOUND_S)).offset == offset
        await flooding


async def test_a_command_gets_its_answer_past_a_full_buffer(router: ScriptedRouter):
    """The answer is behind the events; an application that publishes inside its loop must not wait for itself."""
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, buffer=BUFFER, command_timeout_s=BOUND_S) as client:
        peer = await opening
        subscribing = asyncio.create_task(client.subscribe("session:1"))
        await peer.subscribed()
        session = await subscribing
        await flood(peer, 1, BUFFER + 4)
        pinging = asyncio.create_task(client.ping())
        await peer.answer(await peer.expect("ping"), "pong", time="2026-01-02T03:04:05.000Z")
        await pinging
        offsets = [(await anext(session)).offset for _ in range(BUFFER + 4)]
        assert offsets == list(range(1, BUFFER + 5))


async def test_a_buffer_that_grows_behind_a_command_is_detached_and_attached_again_when_drained(
    router: ScriptedRouter,
):
    total = BUFFER * 10
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, buffer=BUFFER, command_timeout_s=BOUND_S) as client:
        peer = await opening
        subscribing = asyncio.create_task(client.subscribe("session:1"))
        await peer.subscribed()
        session = await subscribing
        pinging = asyncio.create_task(client.ping())
        command = await peer.expect("ping")
        await flood(peer, 1, total)
        await peer.answer(command, "pong", time="2026-01-02T03:04:05.000Z")
        await asyncio.wait_for(pinging, BOUND_S)
        stream = client._rooms.get("session:1")
        assert len(stream) == BUFFER * 4
        assert (await peer.expect("unsubscribe"))["room"] == "session:1"

        taking = asyncio.create_task(collect(session, total))
        command = await peer.subscribed(offset=total, recovery="full", replay=total - BUFFER * 4)
        assert command["after"] == {"epoch": EPOCH, "offset": BUFFER * 4}
        await flood(peer, BUFFER * 4 + 1, total)
        assert await asyncio.wait_for(taking, BOUND_S) == list(range(1, total + 1))


async def collect(session, count: int) -> list[int]:
    return [(await anext(session)).offset for _ in range(count)]


async def test_a_detached_buffer_survives_a_break(router: ScriptedRouter, quick: Backoff):
    total = BUFFER * 6
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, buffer=BUFFER, backoff=quick, command_timeout_s=BOUND_S) as client:
        peer = await opening
        subscribing = asyncio.create_task(client.subscribe("session:1"))
        await peer.subscribed()
        session = await subscribing
        pinging = asyncio.create_task(client.ping())
        await peer.expect("ping")
        await flood(peer, 1, total)
        await peer.expect("unsubscribe")
        peer.cut()
        peer = await router.welcomed()
        assert "resume" not in peer.hello
        await peer.answer(await peer.expect("ping"), "pong", time="2026-01-02T03:04:05.000Z")
        await pinging
        taking = asyncio.create_task(collect(session, total))
        await peer.subscribed(offset=total, recovery="full", replay=total - BUFFER * 4)
        await flood(peer, BUFFER * 4 + 1, total)
        assert await asyncio.wait_for(taking, BOUND_S) == list(range(1, total + 1))


async def test_a_client_that_is_closed_with_a_full_buffer_closes_in_time(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, buffer=BUFFER) as client:
        peer = await opening
        subscribing = asyncio.create_task(client.subscribe("session:1"))
        await peer.subscribed()
        session = await subscribing
        flooding = asyncio.create_task(flood(peer, 1, 3000))
        await asyncio.wait([flooding], timeout=0.1)
        await asyncio.wait_for(client.close(), BOUND_S)
        with pytest.raises(ConnectionClosed):
            await flooding
        taken = [event.offset async for event in session]
        assert taken == list(range(1, len(taken) + 1))
        assert session.position == Position(EPOCH, len(taken))


async def test_unsubscribing_a_full_room_lets_the_others_go_on(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, buffer=BUFFER, command_timeout_s=BOUND_S) as client:
        peer = await opening
        subscribing = asyncio.create_task(client.subscribe("session:1"))
        await peer.subscribed()
        full = await subscribing
        subscribing = asyncio.create_task(client.subscribe("session:2"))
        await peer.subscribed("session:2")
        other = await subscribing
        await flood(peer, 1, BUFFER + 1)
        await peer.event(1, room="session:2")
        leaving = asyncio.create_task(full.unsubscribe())
        await peer.answer(await peer.expect("unsubscribe"), "unsubscribed", room="session:1")
        await leaving
        assert await asyncio.wait_for(collect(other, 1), BOUND_S) == [1]


async def test_a_room_that_nobody_takes_from_does_not_stop_a_room_that_somebody_waits_for(router: ScriptedRouter):
    total = BUFFER * 5
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, buffer=BUFFER, command_timeout_s=BOUND_S) as client:
        peer = await opening
        subscribing = asyncio.create_task(client.subscribe("session:1"))
        await peer.subscribed()
        slow = await subscribing
        subscribing = asyncio.create_task(client.subscribe("session:2"))
        await peer.subscribed("session:2")
        other = await subscribing
        await flood(peer, 1, total)
        await peer.event(1, room="session:2")
        assert await asyncio.wait_for(collect(other, 1), BOUND_S) == [1]
        assert (await peer.expect("unsubscribe"))["room"] == "session:1"
        taking = asyncio.create_task(collect(slow, total))
        await peer.subscribed(offset=total, recovery="full", replay=BUFFER)
        await flood(peer, BUFFER * 4 + 1, total)
        assert await asyncio.wait_for(taking, BOUND_S) == list(range(1, total + 1))
