"""Connection: what protocols other than the native one may ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from actors import commands, replies
from actors.codec import BadMessage
from actors.errors import CloseCode, ErrorCode
from actors.events import Event
from actors.messages import Fail
from actors.old_events import ANSWER_BYTES
from server.protocols.frames import text_frame
from server.protocols.native import NativeCodec

from .client import Client, Hall
from .fake_clock import settled

pytestmark = pytest.mark.usefixtures("nothing_left")

ROOM = "team:1"


def _frame(**fields: Any) -> bytes:
    return text_frame(msgspec.json.encode(fields))


class TellingCodec(NativeCodec):
    """A protocol whose answers hold old events; of these and of events it says the offsets."""

    tells_old_events = True

    def decode(self, text: str) -> Sequence[commands.Command]:
        if text == "bye":
            return (commands.Bye(),)
        if text == "what?":
            raise BadMessage(ErrorCode.BAD_MESSAGE, "what?", fatal=True)
        return super().decode(text)

    def encode(self, reply: replies.Reply) -> bytes:
        if isinstance(reply, replies.Welcome):
            return _frame(type="hi", id=reply.id, rooms={name: _told(room) for name, room in reply.rooms.items()})
        if isinstance(reply, replies.Subscribed):
            return _frame(type="told", id=reply.id, **_told(reply))
        if isinstance(reply, replies.Skipped):
            return _frame(type="gap", to=reply.to)
        return super().encode(reply)

    def encode_event(self, room: str, event: Event) -> bytes:
        return _frame(type="pub", offset=event.offset)


def _told(room: replies.RoomJoined | replies.Subscribed) -> dict[str, Any]:
    assert isinstance(room.old, replies.OldEvents)
    return {
        "offsets": [event.offset for event in room.old.events],
        "skipped": [(each.from_, each.to, each.reason) for each in room.old.skipped],
        "position": room.old.position,
        "offset": room.offset,
    }


CODEC = TellingCodec()


def telling(hall: Hall) -> Client:
    """Open a connection that speaks it."""
    client = hall.client()
    client.state.speak(CODEC)
    return client


async def following(hall: Hall, after: int = 0, **fields: Any) -> tuple[Client, dict[str, Any]]:
    """Come back to the room from an offset; return the answer."""
    client = telling(hall)
    await client.ask("hello")
    position = {"epoch": await epoch(hall), "offset": after}
    return client, await client.ask("subscribe", room=ROOM, after=position, **fields)


async def epoch(hall: Hall) -> str:
    answer = await (await hall.welcomed()).ask("state", room=ROOM)
    return str(answer["epoch"])


async def publish(hall: Hall, count: int, **fields: Any) -> None:
    for _ in range(count):
        await hall.house.publish(ROOM, **fields)


def pushed(client: Client) -> list[int]:
    return [message["offset"] for message in client.wire.of("pub")]


async def test_old_events_are_in_the_answer_and_new_ones_follow(hall: Hall) -> None:
    await publish(hall, 5)
    client, answer = await following(hall, after=2)
    assert (answer["offsets"], answer["position"], answer["offset"]) == ([3, 4, 5], 5, 5)
    await publish(hall, 1)
    assert pushed(client) == [6]


async def test_what_an_answer_told_is_not_told_again_after_a_failure(hall: Hall) -> None:
    await publish(hall, 3)
    client, answer = await following(hall)
    assert answer["offsets"] == [1, 2, 3]
    client.mailbox.tell(Fail("an operator"))
    await settled()
    await publish(hall, 1)
    assert client.state.restarts == 1
    assert pushed(client) == [4]


async def test_an_answer_holds_one_page_and_the_others_follow(hall: Hall) -> None:
    await publish(hall, 300)
    client, answer = await following(hall)
    assert answer["offset"] == 300
    assert 0 < answer["position"] < 300
    assert answer["offsets"] == list(range(1, answer["position"] + 1))
    assert pushed(client) == list(range(answer["position"] + 1, 301))


async def test_an_answer_says_what_is_left_out_of_it(hall: Hall) -> None:
    await publish(hall, 3, kind="progress", data={"current": 1})
    await publish(hall, 1, kind="doc.saved", data={})
    client, answer = await following(hall, kinds=["progress"])
    assert answer["offsets"] == [3]
    assert answer["skipped"] == [[1, 2, "conflated"]]
    assert answer["position"] == 4
    assert pushed(client) == []


async def test_the_rooms_of_a_hello_share_what_an_answer_may_hold(hall: Hall) -> None:
    large = {"text": "x" * (ANSWER_BYTES // 6)}
    rooms = [f"team:{number}" for number in range(1, 6)]
    for room in rooms:
        for _ in range(2):
            await hall.house.publish(room, data=large)
    asking = await hall.welcomed()
    resume = {room: {"epoch": (await asking.ask("state", room=room))["epoch"], "offset": 0} for room in rooms}
    client = telling(hall)
    answer = await client.ask("hello", resume=resume)
    told = [answer["rooms"][room]["offsets"] for room in rooms]
    assert told.count([1, 2]) == 2
    assert told.count([]) == 3
    assert pushed(client) == [1, 2] * 3


async def test_a_client_chooses_how_it_speaks_before_its_hello_and_not_after(hall: Hall) -> None:
    class Choosing(NativeCodec):
        def decode(self, text: str) -> Sequence[commands.Command]:
            return (commands.Speak(codec=CODEC), *super().decode(text))

    client = hall.client()
    client.state.speak(Choosing())
    assert (await client.ask("hello"))["type"] == "hi"
    client.state.speak(Choosing())
    await client.ask("ping")
    assert isinstance(client.wire.codec, Choosing)


async def test_who_takes_leave_is_closed_normally(hall: Hall) -> None:
    client = telling(hall)
    await client.ask("hello")
    client.put("bye")
    await settled()
    assert client.wire.closed is not None
    assert client.wire.closed[0] == CloseCode.NORMAL


async def test_a_protocol_may_have_a_connection_closed_for_one_bad_message(hall: Hall) -> None:
    client = telling(hall)
    await client.ask("hello")
    client.put("what?")
    await settled()
    assert client.wire.closed == (CloseCode.BAD_MESSAGES, "bad message")
