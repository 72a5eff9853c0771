"""Positions: what a client that comes back gets, and that its chain stays whole whatever is left out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from server.app import Router

from ..conftest import running_router
from ..native_client import Message, NativeClient
from .services import publish, wait_until
from .streams import Stream


async def fill(router: Router, room: str, count: int, kind: str = "app.step") -> str:
    """Publish `count` events with `n` from 1 on; return the room's epoch."""
    receipts = await asyncio.gather(*(publish(router, room, kind, {"n": n + 1}) for n in range(count)))
    return receipts[-1].epoch


def place(answer: Message) -> tuple[str, int, int]:
    """Return what an answer says of where the subscription begins."""
    return answer["recovery"], answer["offset"], answer["replay"]


@pytest.mark.parametrize("position", [0, 1, 6, 7])
async def test_a_known_position_is_recovered_in_full(router: Router, position: int) -> None:
    """Everything after it follows, then the live events, without a gap or a repeat."""
    epoch = await fill(router, "doc:1", 7)
    async with NativeClient(router.addresses.ws_url) as client:
        answer = await client.subscribe("doc:1", after={"epoch": epoch, "offset": position})
        assert place(answer) == ("full", 7, 7 - position)
        assert "missing" not in answer
        stream = Stream(client, "doc:1", position)
        await publish(router, "doc:1", "app.step", {"n": 8})
        await stream.until(8)
        assert stream.values == list(range(position + 1, 9))


async def test_a_long_way_back_is_replayed_page_by_page(router: Router) -> None:
    """More events than fit in one page, with live ones coming meanwhile: all of them, once, in order."""
    epoch = await fill(router, "doc:1", 900)
    async with NativeClient(router.addresses.ws_url) as client:
        answer = await client.subscribe("doc:1", after={"epoch": epoch, "offset": 0})
        assert place(answer) == ("full", 900, 900)
        stream = Stream(client, "doc:1")
        await fill(router, "doc:1", 100)
        await stream.until(1000)
        assert len(stream.events) == 1000


async def test_what_left_the_history_is_named_and_the_rest_follows() -> None:
    """`partial` says in `missing` which offsets are gone, both ends included; the chain goes on after them."""
    async with running_router(dev=True, history_events=50) as router:
        epoch = await fill(router, "doc:1", 400)
        async with NativeClient(router.addresses.ws_url) as client:
            answer = await client.subscribe("doc:1", after={"epoch": epoch, "offset": 3})
            missing = answer["missing"]
            assert missing.keys() == {"from", "to"}
            assert missing["from"] == 4
            assert place(answer) == ("partial", 400, 400 - missing["to"])
            assert 50 <= answer["replay"] < 400
            stream = await Stream(client, "doc:1", missing["to"]).until(400)
            assert stream.skipped == []
            await client.ask("unsubscribe", room="doc:1")
            last = await client.subscribe("doc:1", after={"epoch": epoch, "offset": missing["to"]})
            assert last["recovery"] == "full"
            await Stream(client, "doc:1", missing["to"]).until(400)


@pytest.mark.parametrize("after", [{"epoch": "0123456789ab", "offset": 2}, {"epoch": "", "offset": 0}])
async def test_a_position_of_another_epoch_means_nothing(router: Router, after: Message) -> None:
    """`none`: nothing is replayed, and the answer's own position is the one to go on from."""
    epoch = await fill(router, "doc:1", 5)
    async with NativeClient(router.addresses.ws_url) as client:
        answer = await client.subscribe("doc:1", after=after)
        assert place(answer) == ("none", 5, 0)
        assert answer["epoch"] == epoch
        await publish(router, "doc:1", "app.step", {"n": 6})
        await Stream(client, "doc:1", 5).until(6)


@pytest.mark.parametrize("offset", [6, 2**62])
async def test_a_position_from_the_future_is_never_called_full(router: Router, offset: int) -> None:
    """An offset that the room has not reached was not given out by this history."""
    epoch = await fill(router, "doc:1", 5)
    async with NativeClient(router.addresses.ws_url) as client:
        answer = await client.subscribe("doc:1", after={"epoch": epoch, "offset": offset})
        assert place(answer) == ("none", 5, 0)
        await publish(router, "doc:1", "app.step", {"n": 6})
        await Stream(client, "doc:1", 5).until(6)


async def test_the_position_of_a_room_that_was_never_used_is_none(router: Router) -> None:
    """A room's first epoch is not the one that the client brings."""
    async with NativeClient(router.addresses.ws_url) as client:
        answer = await client.subscribe("doc:new", after={"epoch": "0123456789ab", "offset": 3})
        assert place(answer) == ("none", 0, 0)


async def test_a_position_wins_over_history(router: Router) -> None:
    """`history` counts only when there is no `after`."""
    epoch = await fill(router, "doc:1", 5)
    async with NativeClient(router.addresses.ws_url) as client:
        answer = await client.subscribe("doc:1", after={"epoch": epoch, "offset": 4}, history=3)
        assert place(answer) == ("full", 5, 1)


async def test_hello_resumes_rooms_each_with_its_own_outcome(router: Router) -> None:
    """`welcome.rooms` holds the resumed rooms beside those joined by themselves; the replay follows it."""
    one = await fill(router, "doc:1", 3)
    await fill(router, "doc:2", 4)
    broadcast = await fill(router, "broadcast", 2)
    resume = {
        "doc:1": {"epoch": one, "offset": 1},
        "doc:2": {"epoch": "0123456789ab", "offset": 1},
        "broadcast": {"epoch": broadcast, "offset": 1},
    }
    async with NativeClient(router.addresses.ws_url, resume=resume) as client:
        rooms = client.welcome["rooms"]
        assert rooms.keys() == {"user:anonymous", "role:admin", "broadcast", "system", "doc:1", "doc:2"}
        assert place(rooms["doc:1"]) == ("full", 3, 2)
        assert place(rooms["doc:2"]) == ("none", 4, 0)
        assert place(rooms["broadcast"]) == ("full", 2, 1)
        events = await client.events(3)
        assert sorted((event["room"], event["offset"]) for event in events) == [
            ("broadcast", 2),
            ("doc:1", 2),
            ("doc:1", 3),
        ]
        assert (await client.ask("subscribe", room="doc:1"))["code"] == "already_subscribed"


async def test_a_resumed_room_that_may_not_be_read_any_more_is_revoked(
    guarded_router: Router, token: Callable[..., str]
) -> None:
    """The others are resumed all the same; nothing of the forbidden room is told."""
    resume = {room: {"epoch": "e", "offset": 0} for room in ("doc:1", "secret:1", "session:theirs")}
    async with NativeClient(guarded_router.addresses.ws_url, token("ann", rooms=("doc:*",)), resume=resume) as client:
        assert "doc:1" in client.welcome["rooms"]
        revoked = [await client.next(), await client.next()]
        assert {(each["type"], each["room"]) for each in revoked} == {
            ("revoked", "secret:1"),
            ("revoked", "session:theirs"),
        }
        assert not {"secret:1", "session:theirs"} & client.welcome["rooms"].keys()


async def test_a_filter_leaves_kinds_out_and_keeps_the_chain_whole(router: Router) -> None:
    """`skipped` with reason `filtered` stands for the events between two that are wanted."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1", kinds=["app.wanted", "app.too"])
        for n in range(60):
            kind = "app.wanted" if n % 7 == 3 else "app.too" if n % 11 == 5 else "app.other"
            await publish(router, "doc:1", kind, {"n": n})
        await publish(router, "doc:1", "app.wanted", {"n": 60})
        stream = await Stream(client, "doc:1").until(61)
    assert stream.values == [n for n in range(61) if n % 7 == 3 or n % 11 == 5 or n == 60]
    assert {each["reason"] for each in stream.skipped} == {"filtered"}
    assert all(each.keys() == {"type", "room", "from", "to", "reason"} for each in stream.skipped)


async def test_a_filter_holds_for_replayed_events_too(router: Router) -> None:
    """`replay` counts the wanted events only; markers and events together lead to the room's top or close to it."""
    epoch = ""
    for n in range(40):
        epoch = (await publish(router, "doc:1", "app.wanted" if n % 10 == 9 else "app.other", {"n": n})).epoch
    async with NativeClient(router.addresses.ws_url) as client:
        answer = await client.subscribe("doc:1", kinds=["app.wanted"], after={"epoch": epoch, "offset": 0})
        assert place(answer) == ("full", 40, 4)
        stream = await Stream(client, "doc:1").until(40)
        assert stream.values == [9, 19, 29, 39]


async def test_a_filter_that_lets_nothing_through_still_moves_the_position(router: Router) -> None:
    """A client that comes back after thousands of unwanted events is not a thousand offsets behind."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1", kinds=["app.wanted"])
        await fill(router, "doc:1", 900, "app.other")
        stream = await Stream(client, "doc:1").rest()
        assert stream.events == []
        assert stream.position > 900 - 300
        await publish(router, "doc:1", "app.wanted", {"n": 901})
        await stream.until(901)


async def test_the_state_in_the_answer_is_the_state_at_its_offset(router: Router) -> None:
    """While events pour in: `counts` of the snapshot is the offset, and the next event is the one after it."""
    publishing = True

    async def keep_publishing() -> None:
        n = 0
        while publishing:
            n += 1
            await publish(router, "doc:1", "app.step", {"n": n})

    task = asyncio.create_task(keep_publishing())
    async with NativeClient(router.addresses.ws_url) as client:
        for _ in range(40):
            answer = await client.subscribe("doc:1")
            assert answer["state"]["counts"].get("app.step", 0) == answer["offset"]
            stream = Stream(client, "doc:1", answer["offset"])
            while len(stream.events) < 3:
                stream.take(await client.next())
            await client.ask("unsubscribe", room="doc:1")
            await client.nothing_more()
        publishing = False
        await task


async def test_a_room_that_was_retired_comes_back_with_epoch_history_and_state() -> None:
    """Retiring gives memory back; a position from before stays good."""
    async with running_router(dev=True, room_idle_s=0.05) as router:
        epoch = await fill(router, "doc:1", 5)
        await wait_until(lambda: len(router.directory) == 1, "all rooms retire but the supervisor journal")
        async with NativeClient(router.addresses.ws_url) as client:
            answer = await client.subscribe("doc:1", after={"epoch": epoch, "offset": 2})
            assert place(answer) == ("full", 5, 3)
            assert answer["state"]["counts"] == {"app.step": 5}
            assert (await Stream(client, "doc:1", 2).until(5)).values == [3, 4, 5]


async def test_the_same_event_id_is_taken_once_in_a_room(router: Router) -> None:
    """A retry gets the first receipt with `duplicate`, also when both come at once; another room takes it anew."""
    event: Message = {"kind": "app.step", "data": {"n": 1}, "event_id": "e1"}
    async with NativeClient(router.addresses.ws_url) as client, NativeClient(router.addresses.ws_url) as other:
        await client.subscribe("doc:1")
        answers = await asyncio.gather(
            client.ask("publish", room="doc:1", **event), other.ask("publish", room="doc:1", **event)
        )
        again = await client.ask("publish", room="doc:1", **{**event, "data": {"n": 2}})
        assert sorted(answer["duplicate"] for answer in (*answers, again)) == [False, True, True]
        assert {(answer["offset"], answer["event_id"], answer["epoch"]) for answer in (*answers, again)} == {
            (1, "e1", again["epoch"])
        }
        assert (await client.ask("publish", room="doc:2", **event))["duplicate"] is False
        stream = await Stream(client, "doc:1").rest()
        assert stream.values == [1]


async def test_a_retry_is_known_after_the_room_was_retired() -> None:
    """The ids of the retained events come back with them."""
    async with running_router(dev=True, room_idle_s=0.05) as router:
        first = await publish(router, "doc:1", "app.step", {"n": 1}, event_id="e1")
        await wait_until(lambda: len(router.directory) == 1, "all rooms retire but the supervisor journal")
        again = await publish(router, "doc:1", "app.step", {"n": 1}, event_id="e1")
        assert (again.offset, again.epoch, again.duplicate) == (first.offset, first.epoch, True)
