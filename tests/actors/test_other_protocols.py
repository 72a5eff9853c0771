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
from actors.identity import Identity
from actors.messages import Close, Fail
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


# --- more to tell than fits into a turn


class WholeCodec(TellingCodec):
    """One that tells old events with all that is in them."""

    def encode(self, reply: replies.Reply) -> bytes:
        if isinstance(reply, replies.Subscribed) and isinstance(reply.old, replies.OldEvents):
            data = [bytes(memoryview(event.draft.data)).decode() for event in reply.old.events]
            return _frame(type="told", id=reply.id, data=data, **_told(reply))
        return super().encode(reply)


WHOLE = WholeCodec()
MANY = 20
LARGE = {"text": "x" * 60_000}
"""Two of these are about half of what the answers of a turn may hold, and all of them twice an outbox."""


def a_room(number: int) -> str:
    return f"team:{number}"


async def with_much_to_recover(hall: Hall, many: int = MANY, token: str | None = None) -> Client:
    """Open a connection that has missed 120 KB in each of so many rooms."""
    for number in range(many):
        for _ in range(2):
            await hall.house.publish(a_room(number), data=LARGE)
    client = hall.client()
    client.state.speak(WHOLE)
    await client.ask("hello", **({} if token is None else {"token": token}))
    return client


def come_back(client: Client, many: int = MANY) -> None:
    """Ask for all that was missed in these rooms; the command for room n has id 100 + n."""
    for number in range(many):
        client.say("subscribe", id=100 + number, room=a_room(number), history=2)


def answers(client: Client) -> list[int]:
    """The numbers of the rooms whose answers the client has, in order."""
    return [message["id"] - 100 for message in client.wire.of("told")]


def errors(client: Client) -> dict[int, str]:
    return {message["id"] - 100: message["code"] for message in client.wire.of("error")}


async def read_all(client: Client, turns: int = 3 * MANY) -> None:
    for _ in range(turns):
        client.wire.go_on()
        await settled()


async def test_who_recovers_much_in_many_rooms_is_not_closed_for_it(hall: Hall) -> None:
    """Each turn brings as much as one answer may hold, in the order of the commands, when the client has taken it."""
    client = await with_much_to_recover(hall)
    client.wire.fills_up = True
    come_back(client)
    most = 0
    for turn in range(3 * MANY):
        await settled()
        most = max(most, client.state.outbox.size)
        assert len(answers(client)) <= 2 * (turn + 1)
        client.wire.go_on()
    assert client.wire.closed is None
    assert most <= ANSWER_BYTES
    assert answers(client) == list(range(MANY))
    assert all(message["offsets"] == [1, 2] for message in client.wire.of("told"))
    await hall.house.publish(a_room(MANY - 1))
    assert pushed(client) == [3]


async def test_who_reads_gets_all_that_was_missed_without_asking_for_more(hall: Hall) -> None:
    client = await with_much_to_recover(hall)
    come_back(client)
    await settled()
    assert answers(client) == list(range(MANY))
    assert max(len(write) for write in client.wire.writes) <= 2


async def test_an_answer_with_nothing_old_does_not_wait(hall: Hall) -> None:
    """Nor does anything else that is asked for."""
    client = await with_much_to_recover(hall, 4)
    client.wire.paused = True
    come_back(client, 4)
    client.say("subscribe", id=200, room="team:new")
    client.say("ping", id=201)
    await settled()
    client.wire.fills_up = True
    client.wire.go_on()
    await settled()
    assert answers(client) == [100]
    assert len(client.wire.of("pong")) == 1
    await read_all(client)
    assert answers(client) == [100, 0, 1, 2, 3]


async def test_while_the_client_takes_nothing_old_events_wait_in_their_rooms(hall: Hall) -> None:
    client = await with_much_to_recover(hall)
    client.wire.paused = True
    come_back(client)
    await settled()
    assert client.wire.closed is None
    assert client.state.outbox.size == 0
    for number in range(MANY):
        await hall.house.publish(a_room(number), data=LARGE)
    assert client.state.outbox.size == 0
    await read_all(client)
    assert answers(client) == list(range(MANY))
    assert all(message["offsets"] == [2, 3] for message in client.wire.of("told")), "as of the answer"
    assert pushed(client) == []


async def test_who_unsubscribes_while_its_answer_waits_gets_both_answers_and_no_events(hall: Hall) -> None:
    client = await with_much_to_recover(hall, 4)
    client.wire.fills_up = True
    come_back(client, 4)
    await settled()
    client.say("unsubscribe", id=203, room=a_room(3))
    await settled()
    await read_all(client)
    assert answers(client) == [0, 1, 2]
    assert errors(client) == {3: ErrorCode.NOT_SUBSCRIBED}
    assert [message["id"] for message in client.wire.of("unsubscribed")] == [203]
    assert hall.house.ledger.subscribers(a_room(3)) == 0
    assert (await client.ask("subscribe", room=a_room(3), history=1))["offsets"] == [2]


async def test_who_unsubscribes_and_subscribes_again_and_again_piles_up_nothing(hall: Hall) -> None:
    client = await with_much_to_recover(hall, 1)
    client.wire.paused = True
    for number in range(50):
        client.say("subscribe", id=1000 + number, room=a_room(0), history=2)
        await settled()
        client.say("unsubscribe", room=a_room(0))
        await settled()
        assert not client.state.late
    await read_all(client, 3)
    assert [message["id"] for message in client.wire.of("error")] == list(range(1000, 1050))
    assert not client.wire.of("told")


async def test_answers_that_wait_outlive_a_failure(hall: Hall) -> None:
    """Each comes once."""
    client = await with_much_to_recover(hall)
    client.wire.fills_up = True
    come_back(client)
    await settled()
    client.mailbox.tell(Fail("an operator"))
    await settled()
    assert client.state.restarts == 1
    await read_all(client)
    assert answers(client) == list(range(MANY))
    assert errors(client) == {}


async def test_answers_that_wait_for_a_room_that_fails_come_from_its_successor(hall: Hall) -> None:
    client = await with_much_to_recover(hall, 4)
    client.wire.fills_up = True
    come_back(client, 4)
    await settled()
    hall.house.directory.room(a_room(3)).tell(Fail("an operator"))
    await hall.clock.advance(1.0)
    await read_all(client)
    assert answers(client) == [0, 1, 2, 3]
    await hall.house.publish(a_room(3))
    await read_all(client, 2)
    assert pushed(client) == [3]


@pytest.mark.parametrize("how", ["client", "router"])
async def test_who_is_closed_while_answers_wait_is_in_no_room_any_more(hall: Hall, how: str) -> None:
    client = await with_much_to_recover(hall)
    client.wire.fills_up = True
    come_back(client)
    await settled()
    if how == "client":
        await client.hang_up()
    else:
        client.mailbox.tell(Close(CloseCode.OPERATOR, "an operator closed it"))
        client.wire.go_on()
        await settled()
    assert not client.state.late
    assert len(hall.house.ledger) == 0


async def test_who_may_not_read_a_room_any_more_when_its_turn_comes_is_told_so() -> None:
    hall = Hall(anonymous=None)
    hall.authenticator.tokens = {
        "wide": Identity(user="ann", rooms=("team:*",)),
        "narrow": Identity(user="ann", rooms=("team:0", "team:1", "team:2")),
    }
    client = await with_much_to_recover(hall, 4, token="wide")
    client.wire.fills_up = True
    come_back(client, 4)
    await settled()
    client.say("refresh", id=300, token="narrow")
    await settled()
    await read_all(client)
    assert answers(client) == [0, 1, 2]
    assert errors(client) == {3: ErrorCode.FORBIDDEN}
    assert hall.house.ledger.subscribers(a_room(3)) == 0
    await hall.end()


async def test_who_listens_hears_once_that_somebody_came_whose_answer_waited(hall: Hall) -> None:
    listening = await hall.welcomed()
    client = await with_much_to_recover(hall, 4)
    await listening.subscribe(a_room(3), presence=True)
    client.wire.fills_up = True
    come_back(client, 4)
    await settled()
    await read_all(client)
    assert answers(client) == [0, 1, 2, 3]
    assert [each["connection"] for each in listening.wire.of("joined")] == [client.state.id]
    assert listening.wire.of("left") == []
