"""Rooms: events once each and in order, through breaks, or a gap that is named. Against a scripted router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest

from postroom_client import (
    Backoff,
    Client,
    CommandError,
    Event,
    Gap,
    GapError,
    Position,
    Revoked,
    Skipped,
    Subscription,
    connect,
)

from .scripted_router import BOUND_S, EPOCH, Peer, ScriptedRouter, attached


async def take(subscription: Subscription, count: int) -> list[int]:
    """Return the offsets of the next events."""
    return [(await asyncio.wait_for(anext(subscription), BOUND_S)).offset for _ in range(count)]


async def subscribe(client: Client, peer: Peer, room: str = "session:1", answer: dict | None = None, **options):
    """Subscribe, and play the router's part."""
    subscribing = asyncio.create_task(client.subscribe(room, **options))
    command = await peer.subscribed(room, **(answer or {}))
    return await subscribing, command


class Connected:
    """A client and the router's end of its connection."""

    def __init__(self, router: ScriptedRouter, client: Client, peer: Peer) -> None:
        self.router = router
        self.client = client
        self.peer = peer

    async def cut(self, rooms: dict | None = None) -> Peer:
        """Break the connection, and welcome the next one."""
        self.peer.cut()
        self.peer = await self.router.welcomed(rooms)
        return self.peer


@pytest.fixture
async def connected(router: ScriptedRouter, quick: Backoff) -> AsyncIterator[Connected]:
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, backoff=quick, command_timeout_s=BOUND_S) as client:
        yield Connected(router, client, await opening)


async def test_a_subscription_holds_what_the_router_said(connected: Connected):
    session, command = await subscribe(connected.client, connected.peer, answer={"offset": 7, "state": {"a": 1}})
    assert {**command, "id": 0} == {"type": "subscribe", "id": 0, "room": "session:1"}
    assert (session.room, session.state, session.recovery) == ("session:1", {"a": 1}, "fresh")
    assert session.position == session.state_position == Position(EPOCH, 7)


async def test_options_reach_the_router(connected: Connected):
    _, command = await subscribe(
        connected.client,
        connected.peer,
        after=Position("e0", 3),
        kinds=["progress"],
        state=False,
        answer={"recovery": "full", "offset": 3, "epoch": "e0"},
    )
    assert command["after"] == {"epoch": "e0", "offset": 3}
    assert command["kinds"] == ["progress"]
    assert command["state"] is False


async def test_events_are_typed_records(connected: Connected):
    class Progress(msgspec.Struct):
        current: int

    session, _ = await subscribe(connected.client, connected.peer)
    await connected.peer.event(1, key="k", delivery="latest", id="x")
    event = await anext(session)
    assert event == Event(
        room="session:1",
        offset=1,
        prev=0,
        id="x",
        kind="progress",
        time=datetime(2026, 1, 2, 3, 4, 5, 678000, UTC),
        data={"current": 1},
        key="k",
        delivery="latest",
    )
    assert event.read(Progress) == Progress(1)
    assert session.position == Position(EPOCH, 1)


async def test_the_position_is_of_the_event_that_was_handed_over_not_of_the_one_received(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    await connected.peer.event(1)
    await connected.peer.event(2)
    assert await take(session, 1) == [1]
    assert session.position == Position(EPOCH, 1)


async def test_duplicates_are_dropped(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    for offset in (1, 1, 2, 1, 2, 3):
        await connected.peer.event(offset)
    assert await take(session, 3) == [1, 2, 3]


async def test_a_history_that_was_asked_for_comes_first(connected: Connected):
    session, command = await subscribe(connected.client, connected.peer, history=2, answer={"offset": 9, "replay": 2})
    assert command["history"] == 2
    for offset in (8, 9, 10):
        await connected.peer.event(offset)
    assert await take(session, 3) == [8, 9, 10]


async def test_skipped_offsets_move_the_position_and_are_told_to_whoever_asks(connected: Connected):
    markers: list[Skipped] = []
    session, _ = await subscribe(connected.client, connected.peer, on_skipped=markers.append)
    await connected.peer.event(1)
    await connected.peer.send("skipped", room="session:1", **{"from": 2, "to": 4}, reason="conflated")
    await connected.peer.event(5)
    assert await take(session, 1) == [1]
    assert markers == []
    assert await take(session, 1) == [5]
    assert markers == [Skipped(room="session:1", first=2, last=4, reason="conflated")]


async def test_after_a_break_the_stream_goes_on_as_if_nothing_had_been(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    await connected.peer.event(1)
    await connected.peer.event(2)
    assert await take(session, 1) == [1]
    peer = await connected.cut({"session:1": attached(offset=4, recovery="full", replay=2, state={"s": 4})})
    assert peer.hello["resume"] == {"session:1": {"epoch": EPOCH, "offset": 2}}
    for offset in (2, 3, 4, 5):
        await peer.event(offset)
    assert await take(session, 4) == [2, 3, 4, 5]
    assert (session.recovery, session.state) == ("full", {"s": 4})


async def test_a_room_with_kinds_comes_back_by_subscribe_for_hello_carries_no_kinds(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer, kinds=["alert"], state=False)
    await connected.peer.event(1, kind="alert")
    peer = await connected.cut()
    assert "resume" not in peer.hello
    command = await peer.subscribed(offset=3, recovery="full", replay=1)
    assert command["after"] == {"epoch": EPOCH, "offset": 1}
    assert (command["kinds"], command["state"]) == (["alert"], False)
    await peer.send("skipped", room="session:1", **{"from": 2, "to": 2}, reason="filtered")
    await peer.event(3, kind="alert")
    assert await take(session, 2) == [1, 3]


async def test_a_room_with_kinds_that_the_router_joins_by_itself_is_left_first(router: ScriptedRouter, quick: Backoff):
    opening = asyncio.create_task(router.welcomed(rooms={"broadcast": attached()}))
    async with connect(router.url, backoff=quick) as client:
        peer = await opening
        subscribing = asyncio.create_task(client.subscribe("broadcast", kinds=["alert"]))
        assert (await peer.expect("unsubscribe"))["room"] == "broadcast"
        await peer.subscribed("broadcast")
        broadcast = await subscribing
        peer.cut()
        peer = await router.welcomed(rooms={"broadcast": attached()})
        await peer.answer(await peer.expect("unsubscribe"), "unsubscribed", room="broadcast")
        command = await peer.subscribed("broadcast", recovery="full")
        assert command["kinds"] == ["alert"]
        await peer.event(1, room="broadcast", kind="alert")
        assert await take(broadcast, 1) == [1]


async def test_events_that_are_gone_raise_a_gap_error_once_and_iterating_goes_on(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    await connected.peer.event(1)
    peer = await connected.cut(
        {"session:1": attached(offset=9, recovery="partial", replay=2, missing={"from": 2, "to": 7})}
    )
    await peer.event(8)
    await peer.event(9)
    assert await take(session, 1) == [1]
    with pytest.raises(GapError, match="events 2 to 7 are missing") as caught:
        await anext(session)
    assert caught.value.gap.reason == "expired"
    assert session.position == Position(EPOCH, 7)
    assert await take(session, 2) == [8, 9]


async def test_a_new_epoch_is_a_gap(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    await connected.peer.event(1)
    assert await take(session, 1) == [1]
    peer = await connected.cut({"session:1": attached(epoch="e2", offset=5, recovery="none")})
    with pytest.raises(GapError) as caught:
        await asyncio.wait_for(anext(session), BOUND_S)
    assert caught.value.gap == Gap(
        room="session:1", reason="new_epoch", last=Position(EPOCH, 1), next=Position("e2", 5)
    )
    await peer.event(6)
    assert await take(session, 1) == [6]
    assert session.position == Position("e2", 6)


async def test_a_gap_is_reported_in_its_place_where_the_caller_chose_so(connected: Connected):
    seen: list[object] = []
    session, _ = await subscribe(connected.client, connected.peer, on_gap=seen.append)
    await connected.peer.event(1)
    peer = await connected.cut(
        {"session:1": attached(offset=8, recovery="partial", replay=1, missing={"from": 2, "to": 7})}
    )
    await peer.event(8)
    for _ in range(2):
        seen += await take(session, 1)
    assert [each if isinstance(each, int) else "gap" for each in seen] == [1, "gap", 8]


async def test_a_position_that_is_too_old_is_a_gap_from_the_start(connected: Connected):
    session, _ = await subscribe(
        connected.client,
        connected.peer,
        after=Position(EPOCH, 3),
        answer={"offset": 9, "recovery": "partial", "replay": 1, "missing": {"from": 4, "to": 8}},
    )
    assert session.recovery == "partial"
    with pytest.raises(GapError):
        await anext(session)
    await connected.peer.event(9)
    assert await take(session, 1) == [9]


async def test_a_broken_chain_heals_itself_from_the_last_good_position(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    peer = connected.peer
    await peer.event(1)
    await peer.event(4)
    await peer.event(5)
    await peer.answer(await peer.expect("unsubscribe"), "unsubscribed", room="session:1")
    command = await peer.subscribed(offset=5, recovery="full", replay=4)
    assert command["after"] == {"epoch": EPOCH, "offset": 1}
    for offset in (2, 3, 4, 5):
        await peer.event(offset)
    assert await take(session, 5) == [1, 2, 3, 4, 5]


async def test_a_chain_that_breaks_again_after_healing_is_a_gap(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    peer = connected.peer
    await peer.event(1)
    await peer.event(4)
    await peer.answer(await peer.expect("unsubscribe"), "unsubscribed", room="session:1")
    await peer.subscribed(offset=4, recovery="full", replay=1)
    await peer.event(4)
    assert await take(session, 1) == [1]
    with pytest.raises(GapError, match="events 2 to 3 are missing"):
        await anext(session)
    assert await take(session, 1) == [4]


async def test_a_revoked_subscription_raises_after_what_was_received(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    await connected.peer.event(1)
    await connected.peer.send("revoked", room="session:1", reason="the owner left")
    assert await take(session, 1) == [1]
    for _ in range(2):
        with pytest.raises(Revoked, match="the owner left"):
            await anext(session)
    peer = await connected.cut()
    assert "resume" not in peer.hello


async def test_a_room_that_is_refused_after_a_break_is_revoked(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    peer = await connected.cut()
    await peer.send("revoked", room="session:1", reason="forbidden")
    await peer.refuse(await peer.expect("subscribe"), "forbidden")
    with pytest.raises(Revoked, match="forbidden"):
        await asyncio.wait_for(anext(session), BOUND_S)


async def test_a_room_that_is_refused_for_now_after_a_break_is_asked_for_again(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    peer = await connected.cut()
    await peer.send("revoked", room="session:1", reason="journal_unavailable")
    await peer.refuse(await peer.expect("subscribe"), "journal_unavailable", temporary=True, retry_after_ms=10)
    command = await peer.subscribed(recovery="full", replay=1)
    assert command["after"] == {"epoch": EPOCH, "offset": 0}
    await peer.event(1)
    assert await take(session, 1) == [1]


async def test_a_break_while_attaching_again_starts_over(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer, kinds=["progress"])
    peer = await connected.cut()
    await peer.expect("subscribe")
    peer = await connected.cut()
    await peer.subscribed(recovery="full", replay=1)
    await peer.event(1)
    assert await take(session, 1) == [1]


async def test_unsubscribing_ends_the_iterator_and_is_not_resumed(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    await connected.peer.event(1)
    waiting = asyncio.create_task(take(session, 2))
    leaving = asyncio.create_task(session.unsubscribe())
    command = await connected.peer.expect("unsubscribe")
    await connected.peer.answer(command, "unsubscribed", room="session:1")
    await leaving
    with pytest.raises(StopAsyncIteration):
        await waiting
    await session.unsubscribe()
    assert [event async for event in session] == []
    peer = await connected.cut()
    assert "resume" not in peer.hello
    again, _ = await subscribe(connected.client, peer)
    assert again is not session


async def test_a_client_keeps_nothing_of_the_rooms_it_left(connected: Connected):
    for number in range(20):
        session, _ = await subscribe(connected.client, connected.peer, f"session:{number}")
        leaving = asyncio.create_task(session.unsubscribe())
        await connected.peer.answer(await connected.peer.expect("unsubscribe"), "unsubscribed", room=session.room)
        await leaving
    assert connected.client.rooms == ()
    assert len(connected.client._subscriptions) <= 1


async def test_a_room_is_subscribed_once(connected: Connected):
    await subscribe(connected.client, connected.peer)
    with pytest.raises(CommandError, match="already_subscribed"):
        await connected.client.subscribe("session:1")


async def test_a_refused_subscription_raises_and_may_be_tried_again(connected: Connected):
    subscribing = asyncio.create_task(connected.client.subscribe("session:1"))
    await connected.peer.refuse(await connected.peer.expect("subscribe"), "forbidden")
    with pytest.raises(CommandError, match="forbidden"):
        await subscribing
    await subscribe(connected.client, connected.peer)


async def test_a_subscription_that_was_given_up_is_left_when_its_answer_comes(connected: Connected):
    subscribing = asyncio.create_task(connected.client.subscribe("session:1"))
    command = await connected.peer.expect("subscribe")
    subscribing.cancel()
    await asyncio.wait([subscribing])
    await connected.peer.answer(command, "subscribed", room="session:1", **attached())
    assert (await connected.peer.expect("unsubscribe"))["room"] == "session:1"


async def test_a_break_before_the_answer_to_subscribe_asks_again_once(connected: Connected):
    subscribing = asyncio.create_task(connected.client.subscribe("session:1"))
    await connected.peer.expect("subscribe")
    peer = await connected.cut()
    assert "resume" not in peer.hello
    await peer.subscribed()
    session = await subscribing
    await peer.event(1)
    assert await take(session, 1) == [1]


async def test_rooms_that_the_router_joins_are_reachable_with_what_came_before(router: ScriptedRouter):
    opening = asyncio.create_task(
        router.welcomed(rooms={"broadcast": attached(offset=3, state={"x": 1}), "user:ada": attached()})
    )
    async with connect(router.url) as client:
        peer = await opening
        assert client.rooms == ("broadcast", "user:ada")
        await peer.event(4, room="broadcast")
        await peer.event(1, room="user:ada")
        user = client.joined("user:ada")
        assert await take(user, 1) == [1]
        broadcast = client.joined("broadcast")
        assert client.joined("broadcast") is broadcast
        assert (broadcast.state, broadcast.position) == ({"x": 1}, Position(EPOCH, 3))
        assert await take(broadcast, 1) == [4]
        with pytest.raises(CommandError, match="not_subscribed"):
            client.joined("session:1")


async def test_subscribing_to_a_room_that_the_router_joined_just_returns_it(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed(rooms={"broadcast": attached()}))
    async with connect(router.url) as client:
        peer = await opening
        broadcast = await client.subscribe("broadcast")
        await peer.event(1, room="broadcast")
        assert await take(broadcast, 1) == [1]


async def test_a_room_that_the_router_joins_while_it_is_being_asked_for_is_left_for_what_was_asked(
    router: ScriptedRouter, quick: Backoff
):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, backoff=quick) as client:
        peer = await opening
        subscribing = asyncio.create_task(client.subscribe("broadcast", history=5))
        await peer.expect("subscribe")
        peer.cut()
        peer = await router.welcomed(rooms={"broadcast": attached(7)})
        await peer.refuse(await peer.expect("subscribe"), "already_subscribed")
        assert (await peer.expect("unsubscribe"))["room"] == "broadcast"
        command = await peer.subscribed("broadcast", offset=7, replay=1)
        assert command["history"] == 5
        await peer.event(7, room="broadcast")
        assert await take(await subscribing, 1) == [7]


async def test_a_room_that_the_router_joined_by_itself_is_attached_again_after_a_broken_chain(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed(rooms={"broadcast": attached(1)}))
    async with connect(router.url) as client:
        peer = await opening
        await peer.event(3, room="broadcast")
        await peer.answer(await peer.expect("unsubscribe"), "unsubscribed", room="broadcast")
        assert (await peer.subscribed("broadcast", offset=3, recovery="full", replay=2))["after"]["offset"] == 1
        await peer.event(2, room="broadcast")
        await peer.event(3, room="broadcast")
        assert await take(client.joined("broadcast"), 2) == [2, 3]


async def test_a_room_that_nobody_claims_keeps_its_newest_events_and_stops_nobody(
    router: ScriptedRouter, quick: Backoff
):
    opening = asyncio.create_task(router.welcomed(rooms={"broadcast": attached(), "user:ada": attached()}))
    async with connect(router.url, buffer=3, backoff=quick) as client:
        peer = await opening
        user = client.joined("user:ada")
        for offset in range(1, 21):
            await peer.event(offset, room="broadcast")
        await peer.event(1, room="user:ada")
        assert await take(user, 1) == [1]
        broadcast = client.joined("broadcast")
        assert broadcast.position == Position(EPOCH, 17)
        assert await take(broadcast, 3) == [18, 19, 20]
        peer.cut()
        peer = await router.welcomed(rooms={"broadcast": attached(20, "full"), "user:ada": attached(1, "full")})
        assert peer.hello["resume"]["broadcast"] == {"epoch": EPOCH, "offset": 20}


async def test_positions_of_an_earlier_run_are_resumed_by_the_first_hello(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed(rooms={"broadcast": attached(offset=9, recovery="full", replay=2)}))
    async with connect(router.url, resume={"broadcast": Position(EPOCH, 7)}) as client:
        peer = await opening
        assert peer.hello["resume"] == {"broadcast": {"epoch": EPOCH, "offset": 7}}
        broadcast = client.joined("broadcast")
        assert broadcast.position == Position(EPOCH, 7)
        await peer.event(8, room="broadcast")
        await peer.event(9, room="broadcast")
        assert await take(broadcast, 2) == [8, 9]


async def test_a_room_that_an_operator_adds_is_reachable(connected: Connected):
    await connected.peer.send("subscribed", room="team:7", **attached(offset=2))
    await connected.peer.event(3, room="team:7")
    pinging = asyncio.create_task(connected.client.ping())
    await connected.peer.answer(await connected.peer.expect("ping"), "pong", time="2026-01-02T03:04:05.000Z")
    await pinging
    assert await take(connected.client.joined("team:7"), 1) == [3]


async def test_two_iterators_at_the_same_time_are_refused(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    first = asyncio.create_task(anext(session))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="iterated twice"):
        await anext(session)
    await connected.peer.event(1)
    assert (await first).offset == 1


async def test_an_iterator_that_was_cancelled_can_be_used_again(connected: Connected):
    session, _ = await subscribe(connected.client, connected.peer)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(session), 0.01)
    await connected.peer.event(1)
    assert await take(session, 1) == [1]
