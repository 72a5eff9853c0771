"""A publisher gets one answer, and its event is in the room once, wherever on the way an actor fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.connection import Connection
from actors.errors import Refusal
from actors.messages import Append, Committed, Frame, Publish, Published, Receipt, Refused
from actors.room import Room
from actors.source import NotificationSource
from server.app import Router

from ..native_client import WAIT_S, Message, NativeClient
from .faults import Boom, fail_on_message
from .services import http_service, in_chain, numbers, publish, state_of, wait_until

ROOM = "doc:1"
EVENT: Message = {"kind": "app.step", "data": {"n": 1}}
NAMED: Message = {**EVENT, "event_id": "once"}

Say = Callable[[Message], Awaitable[Message]]
"""Publishes an event to `ROOM`; returns the receipt, or `code` and no `offset`."""


@asynccontextmanager
async def by_websocket(router: Router) -> AsyncIterator[Say]:
    """With an id on a WebSocket; at the end no second answer may have come, and nothing counts as under way."""
    async with NativeClient(router.addresses.ws_url) as client:

        async def say(event: Message) -> Message:
            return await client.ask("publish", room=ROOM, **event)

        yield say
        state = state_of(router, client)
        answers = [message for message in await client.nothing_more() if message["type"] != "notice"]
        assert answers == [], "a second answer"
        assert not state.publishing
        await wait_until(lambda: state.wire._under_way == 0, "nothing is under way")


@asynccontextmanager
async def by_http(router: Router) -> AsyncIterator[Say]:
    """One event in one request."""
    async with http_service(router) as service:

        async def say(event: Message) -> Message:
            status, answer = await service.post({"room": ROOM, **event})
            assert status in (200, 500), answer
            return answer["results"][0] if status == 200 else answer

        yield say
        assert router._publishing._under_way == 0


@asynccontextmanager
async def by_ask(router: Router) -> AsyncIterator[Say]:
    """From inside the process, with `ask`."""

    async def say(event: Message) -> Message:
        try:
            async with asyncio.timeout(WAIT_S):
                (receipt,) = await router.source.ask(Publish(rooms=(ROOM,), **event))
        except Refusal as refusal:
            return {"code": refusal.code}
        except Boom:  # an `ask` is answered by the exception itself
            return {"code": "internal"}
        assert isinstance(receipt, Receipt)
        return receipt._asdict()

    yield say


WAYS = {"websocket": by_websocket, "http": by_http, "ask": by_ask}
FAULTS = [(Room, Append), (Room, Committed), (NotificationSource, Publish)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("actor", "message"), FAULTS, ids=[message.__name__ for _, message in FAULTS])
async def test_a_failure_on_the_way_of_an_event_is_answered_once_and_can_be_retried(
    router: Router, monkeypatch: pytest.MonkeyPatch, actor: type, message: type, after: bool, way: str
) -> None:
    """A receipt means that it is there, an error that a retry will tell; either way it is there once after that."""
    async with NativeClient(router.addresses.ws_url) as reader, WAYS[way](router) as say:
        await reader.subscribe(ROOM)
        fault = fail_on_message(monkeypatch, actor, message, after=after)
        answer = await say(NAMED)
        assert fault.struck == 1
        assert "offset" in answer or answer["code"] == "internal", answer
        again = await say(NAMED)
        assert (again["offset"], again["event_id"]) == (1, "once")
        if "offset" in answer:
            assert (answer["offset"], answer["duplicate"], again["duplicate"]) == (1, False, True)
        await publish(router, ROOM, "app.step", {"n": 2})
        events = await reader.events(2)
        assert numbers(events) == [1, 2]
        assert in_chain(events) == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("message", [Append, Committed], ids=lambda message: message.__name__)
async def test_an_event_without_an_id_that_got_its_receipt_is_there_once(
    router: Router, monkeypatch: pytest.MonkeyPatch, message: type, after: bool, way: str
) -> None:
    """And one that was refused is not: its publisher has no id to ask again with."""
    async with NativeClient(router.addresses.ws_url) as reader, WAYS[way](router) as say:
        await reader.subscribe(ROOM)
        fault = fail_on_message(monkeypatch, Room, message, after=after)
        answer = await say(EVENT)
        assert fault.struck == 1
        await publish(router, ROOM, "app.step", {"n": 2})
        taken = "offset" in answer
        assert taken or answer["code"] == "internal", answer
        assert numbers(await reader.events(1 + taken)) == [1, 2][-1 - taken :]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("actor", "message"), FAULTS, ids=[message.__name__ for _, message in FAULTS])
async def test_in_an_array_every_event_gets_its_own_result(
    router: Router, monkeypatch: pytest.MonkeyPatch, actor: type, message: type, after: bool
) -> None:
    """A failure on one of them is no other's, and the receipts are those of the events that are there."""
    async with NativeClient(router.addresses.ws_url) as reader, http_service(router) as service:
        await reader.subscribe(ROOM)
        fault = fail_on_message(monkeypatch, actor, message, after=after)
        status, answer = await service.post([{"room": ROOM, "kind": "app.step", "data": {"n": n}} for n in range(20)])
        assert (status, fault.struck, len(answer["results"])) == (200, 1, 20)
        offsets = [result["offset"] for result in answer["results"] if "offset" in result]
        assert len(offsets) == len(set(offsets)) >= 19
        await publish(router, ROOM, "app.step", {"n": 20})
        events = await reader.events(1)
        while events[-1]["data"]["n"] < 20:
            events += await reader.events(1)
        in_chain(events)
        assert set(offsets) <= {event["offset"] for event in events}
        assert len(set(numbers(events))) == len(events)


@pytest.mark.parametrize(
    ("message", "after"), [(Frame, True), (Published, False), (Published, True), (Refused, False), (Refused, True)]
)
async def test_a_failure_of_its_own_connection_is_answered_once_too(
    router: Router, monkeypatch: pytest.MonkeyPatch, message: type, after: bool
) -> None:
    """The command is answered by the failure or by the room, not by both."""
    event: dict[str, Any] = NAMED if message is not Refused else {"kind": "nonsense", "data": {}}
    async with by_websocket(router) as say:
        fault = fail_on_message(monkeypatch, Connection, message, after=after)
        answer = await say(event)
        assert fault.struck == 1
        assert "offset" in answer or answer["code"] in ("internal", "invalid_event"), answer
        again = await say(event)
        assert again.get("offset") == (1 if event is NAMED else None)
