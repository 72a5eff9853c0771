"""Clients that read too slowly, or not at all: they cost a bounded amount of memory and slow nobody."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from actors.ledger import ConnectionState
from actors.outbox import Outbox
from server.app import Router
from server.wire import Wire

from ..conftest import running_router
from ..native_client import Message, NativeClient
from .services import http_service, in_chain, numbers, position, publish, small_client, state_of, wait_until

OUTBOX_BYTES = 256 * 1024
EVENT_BYTES = 30_000
FILLING = "x" * EVENT_BYTES
EVENTS = 400
"""12 MB: more than the kernel takes for a client that does not read."""


async def fill(router: Router, state: ConnectionState, count: int) -> int:
    """Publish `count` large events to `team:1`; return the most that ever waited for the client with this state."""
    worst = 0
    for n in range(count):
        await publish(router, "team:1", "app.count", {"n": n, "filling": FILLING})
        worst = max(worst, state.outbox.size + state.wire.buffered)
    return worst


async def test_a_client_that_pauses_for_a_while_misses_nothing():
    """What waits for a slow client within its bound is sent when it reads again; it need not come back."""
    async with (
        running_router(dev=True, outbox_bytes=2 * EVENTS * EVENT_BYTES) as router,
        small_client(router.addresses.ws_url) as client,
    ):
        await client.subscribe("team:1")
        for number in range(3):
            client.socket.transport.pause_reading()
            assert await fill(router, state_of(router, client), EVENTS) > OUTBOX_BYTES
            client.socket.transport.resume_reading()
            events = await client.events(EVENTS)
            assert numbers(events) == list(range(EVENTS))
            assert in_chain(events, after=number * EVENTS) == (number + 1) * EVENTS
        assert await client.nothing_more() == []


async def test_a_client_that_reads_too_slowly_is_closed_and_resumes_from_where_it_was():
    """Past its bound a client is closed with 4002 when it reads again; the others have got everything meanwhile."""
    async with running_router(dev=True, outbox_bytes=OUTBOX_BYTES) as router:
        url = router.addresses.ws_url
        async with NativeClient(url) as steady, small_client(url) as slow:
            await steady.subscribe("team:1")
            at = position(await slow.subscribe("team:1"))
            state = state_of(router, slow)
            await fill(router, state, 1)
            at["offset"] = in_chain(await slow.events(1))
            slow.socket.transport.pause_reading()
            received, worst = await asyncio.gather(steady.events(1 + EVENTS), fill(router, state, EVENTS))
            assert numbers(received) == [0, *range(EVENTS)]
            assert in_chain(received) == 1 + EVENTS
            assert worst <= OUTBOX_BYTES + 2 * EVENT_BYTES
            await wait_until(lambda: state.wire.stuck, "it has had its chance")
            await publish(router, "team:1", "app.count", {"n": EVENTS})
            received += await steady.events(1)
            await wait_until(lambda: not state.subscriptions, "it has left its rooms")
            assert not state.outbox.size

            slow.socket.transport.resume_reading()
            assert await slow.closed() == (4002, "slow_consumer")
            got = slow.kept()
            at["offset"] = in_chain(got, after=at["offset"])
            assert 1 < at["offset"] < EVENTS
            async with NativeClient(url, resume={"team:1": at}) as back:
                where = back.welcome["rooms"]["team:1"]
                assert (where["recovery"], where["replay"]) == ("full", EVENTS + 2 - at["offset"])
                assert [*received[:1], *got, *await back.events(where["replay"])] == received
                assert await back.nothing_more() == []
                assert await steady.nothing_more() == []


async def test_a_client_that_reads_nothing_any_more_is_cut(logged: list[dict[str, Any]]):
    """A client whose socket took not one byte for `stall_s` seconds is cut without a code; nothing is left of it."""
    async with running_router(dev=True, outbox_bytes=OUTBOX_BYTES, stall_s=0.3) as router:
        url = router.addresses.ws_url
        async with NativeClient(url) as steady, small_client(url) as stalled:
            await steady.subscribe("team:1")
            await stalled.subscribe("team:1")
            state = state_of(router, stalled)
            stalled.socket.transport.pause_reading()
            received, worst = await asyncio.gather(steady.events(EVENTS), fill(router, state, EVENTS))
            assert numbers(received) == list(range(EVENTS))
            assert worst <= OUTBOX_BYTES + 2 * EVENT_BYTES
            await wait_until(lambda: len(router.registry) == 1, "the registry forgets the stalled client")
            stalled.socket.transport.resume_reading()
            assert await stalled.closed() == (None, None)
            await wait_until(lambda: any(line["event"] == "connection_closed" for line in logged), "the log says so")
            (ended,) = [line for line in logged if line["event"] == "connection_closed"]
            assert (ended["connection"], ended["stalled"]) == (state.id, True)
            assert await steady.nothing_more() == []


async def test_a_client_that_only_lags_within_its_bound_is_not_cut_for_it():
    """Not reading is no offence while nothing waits: a silent subscriber of a silent room stays."""
    async with running_router(dev=True, outbox_bytes=OUTBOX_BYTES, stall_s=0.1) as router:
        url = router.addresses.ws_url
        async with NativeClient(url) as steady, small_client(url) as idle:
            await idle.subscribe("team:1")
            await steady.subscribe("team:2")
            idle.socket.transport.pause_reading()
            await publish(router, "team:1", "app.count", {"n": 0})
            reading = asyncio.ensure_future(steady.events(100))  # meanwhile: it is not to lag itself
            for n in range(100):
                await publish(router, "team:2", "app.count", {"n": n})
            await reading
            await asyncio.sleep(0.25)  # more than twice `stall_s`
            idle.socket.transport.resume_reading()
            assert numbers(await idle.events(1)) == [0]


async def test_a_large_answer_to_history_comes_in_parts(router: Router):
    """However large the events are, an answer holds few enough of them, and says that there are more."""
    async with NativeClient(router.addresses.ws_url) as client:
        for n in range(20):
            await publish(router, "team:1", "app.count", {"n": n, "filling": FILLING})
        forward: list[Message] = []
        more = True
        while more:
            answer = await client.ask("history", room="team:1", after=len(forward), limit=300)
            assert 0 < len(answer["events"]) < 10
            forward, more = [*forward, *answer["events"]], answer["more"]
        assert numbers(forward) == list(range(20))
        back: list[Message] = []
        more = True
        while more:
            answer = await client.ask("history", room="team:1", before=21 - len(back), limit=300)
            assert 0 < len(answer["events"]) < 10
            back, more = [*answer["events"], *back], answer["more"]
        assert back == forward


async def test_a_client_that_keeps_up_is_not_cut_in_a_burst(router: Router):
    """A burst larger than the outbox's bound is no offence of those who read it, even if they send many pings."""
    async with NativeClient(router.addresses.ws_url) as client, http_service(router) as service:
        await client.subscribe("team:1")

        events = [{"room": "team:1", "kind": "app.count", "data": {"n": n, "filling": 2 * FILLING}} for n in range(130)]
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(client.events(len(events)))
            publishing = group.create_task(service.publish(*events))
            for _ in range(250):  # of 300 that it may send at once
                if not receiving.done():
                    await client.socket.ping()
                    await asyncio.sleep(0.001)
        assert len(publishing.result()) == len(events)
        assert numbers(receiving.result()) == list(range(len(events)))


async def test_a_burst_puts_no_more_than_the_bound_before_a_client():
    """What is published in one go waits for each client within its bound, and the client gets it all the same."""
    async with running_router(dev=True, outbox_bytes=OUTBOX_BYTES) as router, AsyncExitStack() as stack:
        client = await stack.enter_async_context(small_client(router.addresses.ws_url))
        service = await stack.enter_async_context(http_service(router))
        at = position(await client.subscribe("team:1"))
        state = state_of(router, client)
        waiting = [0]
        write = Wire.write

        def measured(self: Wire, frames: bytes) -> None:
            write(self, frames)
            waiting.append(self.buffered)

        stack.enter_context(pytest.MonkeyPatch.context()).setattr(Wire, "write", measured)
        await service.publish(
            *({"room": "team:1", "kind": "app.count", "data": {"n": n, "filling": FILLING}} for n in range(200))
        )
        assert max(waiting) <= OUTBOX_BYTES + 5 * EVENT_BYTES, "one fan-out may come on top"
        if state.wire.close_code is None:
            assert numbers(await client.events(200)) == list(range(200))
        else:
            assert (await client.closed())[0] == 4002
            at["offset"] = in_chain(client.kept())
            back = await stack.enter_async_context(NativeClient(router.addresses.ws_url, resume={"team:1": at}))
            assert numbers(await back.events(200 - at["offset"])) == list(range(at["offset"], 200))


@pytest.mark.parametrize("command", ["subscribe", "state"])
async def test_large_states_that_nobody_reads_stay_within_the_bound(monkeypatch: pytest.MonkeyPatch, command: str):
    """Each answer may be as large as a state; a client that reads none of them costs its bound and one more."""
    rooms, answer_bytes = 100, 5 * EVENT_BYTES
    async with running_router(dev=True, outbox_bytes=OUTBOX_BYTES) as router, http_service(router) as service:
        url = router.addresses.ws_url
        alert = {"kind": "alert", "data": {"severity": "critical", "title": "t", "filling": FILLING}}
        for n in range(4):
            await service.publish({"rooms": [f"full:{room}" for room in range(rooms)], **alert, "event_id": f"a{n}"})
        async with NativeClient(url) as steady, small_client(url) as hostile:
            await steady.subscribe("team:2")
            state = state_of(router, hostile)
            hostile.socket.transport.pause_reading()
            waiting = [0]
            push = Outbox.push

            def measured(self: Outbox, frames: bytes, *counted: Any) -> None:
                push(self, frames, *counted)
                if self is state.outbox:
                    waiting.append(self.size + state.wire.buffered)

            monkeypatch.setattr(Outbox, "push", measured)
            for room in range(rooms):
                await hostile.send(command, id=room, room=f"full:{room}")
            for n in range(10):
                await publish(router, "team:2", "app.count", {"n": n})
            assert numbers(await steady.events(10)) == list(range(10))
            await wait_until(lambda: state.wire.close_code == 4002, "the client counts as slow")
            assert max(waiting) <= OUTBOX_BYTES + answer_bytes
            assert not state.subscriptions
            hostile.socket.transport.resume_reading()
            assert await hostile.closed() == (4002, "slow_consumer")


async def test_answers_that_nobody_reads_stay_within_the_bound(monkeypatch: pytest.MonkeyPatch):
    """A client that asks for old events again and again and reads no answer costs its bound, not each answer."""
    async with running_router(dev=True, outbox_bytes=OUTBOX_BYTES) as router:
        url = router.addresses.ws_url
        async with NativeClient(url) as steady, small_client(url) as hostile:
            await steady.subscribe("team:2")
            state = state_of(router, hostile)
            await fill(router, state, 100)
            hostile.socket.transport.pause_reading()
            sizes = [0]
            push = Outbox.push

            def measured(self: Outbox, *args: Any, **kwargs: Any) -> None:
                push(self, *args, **kwargs)
                sizes.append(self.size)

            monkeypatch.setattr(Outbox, "push", measured)
            for id in range(300):
                await hostile.send("history", id=id, room="team:1", limit=300)
            for n in range(10):
                await publish(router, "team:2", "app.count", {"n": n})
            assert numbers(await steady.events(10)) == list(range(10))
            await wait_until(lambda: state.wire.close_code == 4002, "the client counts as slow")
            assert max(sizes) <= 4 * OUTBOX_BYTES
            hostile.cut()
