"""Commands and their answers, against a scripted router."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from postroom_client import (
    Backoff,
    Client,
    CommandError,
    CommandTimeout,
    Event,
    Member,
    Position,
    Receipt,
    connect,
)

from .scripted_router import EPOCH, Peer, ScriptedRouter, event


async def test_publish_gives_a_receipt(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url) as client:
        peer = await opening
        publishing = asyncio.create_task(
            client.publish("session:1", "a.b", {"x": 1}, event_id="mine", delivery="latest", key="k")
        )
        command = await peer.expect("publish")
        assert {**command, "id": 0} == {
            "type": "publish",
            "id": 0,
            "room": "session:1",
            "kind": "a.b",
            "data": {"x": 1},
            "event_id": "mine",
            "delivery": "latest",
            "key": "k",
        }
        await peer.answer(
            command, "published", room="session:1", epoch=EPOCH, offset=4, event_id="mine", duplicate=False
        )
        receipt = await publishing
        assert receipt == Receipt("session:1", EPOCH, 4, "mine", False)
        assert receipt.position == Position(EPOCH, 4)


async def test_questions_get_typed_answers(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url) as client:
        peer = await opening

        asking = asyncio.create_task(client.state("session:1"))
        command = await peer.expect("state")
        await peer.answer(command, "state", room="session:1", epoch=EPOCH, offset=3, state={"status": "started"})
        state = await asking
        assert (state.position, state.state) == (Position(EPOCH, 3), {"status": "started"})

        asking = asyncio.create_task(client.history("session:1", before=9, limit=2))
        command = await peer.expect("history")
        assert (command["before"], command["limit"], "after" in command) == (9, 2, False)
        await peer.answer(command, "history", room="session:1", epoch=EPOCH, events=[event(7), event(8)], more=True)
        page = await asking
        assert ([each.offset for each in page.events], page.more) == ([7, 8], True)
        assert all(isinstance(each, Event) for each in page.events)

        asking = asyncio.create_task(client.presence("session:1"))
        command = await peer.expect("presence")
        await peer.answer(command, "presence", room="session:1", members=[{"user": "ada", "connections": 2}], count=1)
        presence = await asking
        assert (presence.members, presence.count) == ((Member("ada", 2),), 1)

        asking = asyncio.create_task(client.ack("session:1", "id-7"))
        command = await peer.expect("ack")
        await peer.answer(command, "acknowledged", room="session:1", event_id="id-7")
        assert await asking is None


async def test_a_refused_command_raises_what_the_router_said(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url) as client:
        peer = await opening
        asking = asyncio.create_task(client.state("session:1"))
        await peer.refuse(await peer.expect("state"), "rate_limited", temporary=True, retry_after_ms=250)
        with pytest.raises(CommandError, match="rate_limited: no") as caught:
            await asking
        assert (caught.value.code, caught.value.temporary, caught.value.retry_after_ms) == ("rate_limited", True, 250)


async def test_answers_find_their_own_commands_in_any_order(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url) as client:
        peer = await opening
        asking = [asyncio.create_task(client.state(f"session:{number}")) for number in range(3)]
        commands = [await peer.expect("state") for _ in asking]
        for command in reversed(commands):
            await peer.answer(command, "state", room=command["room"], epoch=EPOCH, offset=1, state={})
        assert [(await each).room for each in asking] == ["session:0", "session:1", "session:2"]


@pytest.mark.parametrize(
    ("ask", "kind", "answer"),
    [
        (lambda client: client.state("r:1"), "state", {"room": "r:1", "epoch": EPOCH, "offset": 1, "state": {}}),
        (lambda client: client.ack("r:1", "id-1"), "ack", {"room": "r:1", "event_id": "id-1"}),
        (
            lambda client: client.publish("r:1", "a.b", {}),
            "publish",
            {"room": "r:1", "epoch": EPOCH, "offset": 2, "event_id": "x", "duplicate": True},
        ),
    ],
)
async def test_a_command_without_an_answer_is_sent_again_on_the_next_connection(
    router: ScriptedRouter,
    quick: Backoff,
    ask: Callable[[Client], Awaitable[object]],
    kind: str,
    answer: dict,
):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, backoff=quick) as client:
        first = await opening
        asking = asyncio.ensure_future(ask(client))
        before = await first.expect(kind)
        first.cut()
        second = await router.welcomed()
        again = await second.expect(kind)
        assert again == before
        if kind == "publish":
            assert again["event_id"]
        await second.answer(again, {"publish": "published", "ack": "acknowledged"}.get(kind, kind), **answer)
        await asking


async def test_commands_given_between_connections_wait_and_keep_their_order(router: ScriptedRouter, quick: Backoff):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, backoff=quick) as client:
        first = await opening
        first.cut()
        asking = [asyncio.create_task(client.state(f"session:{number}")) for number in range(5)]
        second = await router.welcomed()
        rooms = []
        for _ in asking:
            command = await second.expect("state")
            rooms.append(command["room"])
            await second.answer(command, "state", room=command["room"], epoch=EPOCH, offset=1, state={})
        await asyncio.gather(*asking)
        assert rooms == [f"session:{number}" for number in range(5)]


async def test_a_command_without_an_answer_in_time_says_how_to_repeat_it(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url, command_timeout_s=0.05) as client:
        peer = await opening
        with pytest.raises(CommandTimeout) as caught:
            await client.publish("session:1", "a.b", {}, event_id="mine")
        assert (caught.value.event_id, caught.value.command) == ("mine", "publish")
        assert isinstance(caught.value, TimeoutError)
        await late_answer_is_ignored(peer, client)


async def late_answer_is_ignored(peer: Peer, client: Client) -> None:
    command = await peer.expect("publish")
    await peer.answer(command, "published", room="session:1", epoch=EPOCH, offset=1, event_id="mine", duplicate=False)
    assert client.connected


async def test_a_message_over_the_routers_limit_is_refused_here_for_there_it_would_end_the_client(
    router: ScriptedRouter,
):
    opening = asyncio.create_task(router.welcomed(limits={"message_bytes": 300}))
    async with connect(router.url) as client:
        await opening
        with pytest.raises(CommandError, match="too_large"):
            await client.publish("session:1", "a.b", {"x": "y" * 300})


async def test_data_that_is_no_json_is_refused_here(router: ScriptedRouter):
    opening = asyncio.create_task(router.welcomed())
    async with connect(router.url) as client:
        await opening
        with pytest.raises(TypeError):
            await client.publish("session:1", "a.b", {"x": object()})
