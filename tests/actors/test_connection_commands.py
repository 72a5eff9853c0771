"""Connection: the commands of a client that was welcomed, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.errors import CloseCode
from actors.messages import Close
from actors.ports import ConnectionLimits

from .asking import refused, user
from .client import Hall
from .fake_clock import settled

ALERT = {"severity": "critical", "title": "disk full"}

pytestmark = pytest.mark.usefixtures("nothing_left")


# --- rooms


async def test_a_subscriber_gets_the_rooms_events(hall: Hall) -> None:
    client = await hall.welcomed()
    answer = await client.subscribe("team:1")
    assert (answer["offset"], answer["recovery"], answer["replay"]) == (0, "fresh", 0)
    await hall.house.publish("team:1", data={"n": 1}, event_id="mine")
    (event,) = client.wire.of("event")
    assert (event["room"], event["offset"], event["prev"], event["id"], event["data"]) == (
        "team:1",
        1,
        0,
        "mine",
        {"n": 1},
    )


async def test_nobody_subscribes_twice(hall: Hall) -> None:
    client = await hall.welcomed()
    client.say("subscribe", room="team:1")
    assert await refused(client, "subscribe", room="team:1") == "already_subscribed"
    assert await refused(client, "subscribe", room="broadcast") == "already_subscribed"


async def test_subscriptions_are_counted_without_those_joined_by_themselves(open_hall: Callable[..., Hall]) -> None:
    client = await open_hall(limits=ConnectionLimits(rooms=2)).welcomed()
    client.say("subscribe", room="team:1")
    client.say("subscribe", room="team:2")
    assert await refused(client, "subscribe", room="team:3") == "too_many_rooms"
    await client.ask("unsubscribe", room="team:1")
    await client.subscribe("team:3")


async def test_a_refused_subscription_leaves_its_place_free(open_hall: Callable[..., Hall]) -> None:
    hall = open_hall(limits=ConnectionLimits(rooms=1))
    await hall.house.publish("session:1", kind="session", data={"status": "started", "owner": "bob"})
    client = await hall.welcomed(user(hall, rooms=("team:*",)))
    assert await refused(client, "subscribe", room="session:1") == "forbidden"
    await client.subscribe("team:1")


async def test_who_has_unsubscribed_hears_nothing_more(hall: Hall) -> None:
    client = await hall.welcomed()
    await client.subscribe("team:1")
    assert (await client.ask("unsubscribe", room="team:1"))["type"] == "unsubscribed"
    await hall.house.publish("team:1")
    assert client.wire.of("event") == []
    assert await refused(client, "unsubscribe", room="team:1") == "not_subscribed"


async def test_a_filter_keeps_the_chain_whole(hall: Hall) -> None:
    client = await hall.welcomed()
    await client.subscribe("team:1", kinds=["app.wanted"])
    for number in range(20):
        await hall.house.publish("team:1", kind="app.wanted" if number % 7 == 0 else "app.other")
    assert client.offsets("team:1") == [1, 8, 15]


@pytest.mark.parametrize(
    "kinds", [[f"app.kind{number}" for number in range(33)], ["app.thing", "app." + "x" * 197], []], ids=len
)
async def test_a_filter_that_is_too_large_is_a_bad_message(hall: Hall, kinds: list[str]) -> None:
    """Each connection's filters are kept for as long as it is in its rooms."""
    client = await hall.welcomed()
    answer = await client.ask("subscribe", room="team:1", kinds=kinds)
    assert answer["code"] == "bad_message"
    assert "kinds" in answer["message"]
    assert "team:1" not in client.state.subscriptions


async def test_a_filter_may_name_32_kinds_of_200_characters(hall: Hall) -> None:
    """The bounds themselves are inside."""
    client = await hall.welcomed()
    kinds = [f"app.{number:0196}" for number in range(32)]
    await client.subscribe("team:1", kinds=kinds)
    await hall.house.publish("team:1", kind=kinds[31])
    assert client.offsets("team:1") == [1]


async def test_the_owner_of_a_session_may_read_it_and_others_may_not(hall: Hall) -> None:
    await hall.house.publish("session:1", kind="session", data={"status": "started", "owner": "ann"})
    ann, bob = await hall.welcomed(user(hall)), await hall.welcomed(user(hall, "bob", user="bob"))
    await ann.subscribe("session:1")
    assert await refused(bob, "subscribe", room="session:1") == "forbidden"
    assert await refused(bob, "subscribe", room="session:never-used") == "forbidden"
    assert not hall.house.directory.known("session:never-used")


# --- other commands


async def test_a_publish_is_answered_with_its_receipt(hall: Hall) -> None:
    client = await hall.welcomed()
    answer = await client.ask("publish", room="team:1", kind="app.thing", data={}, event_id="mine")
    assert (answer["type"], answer["offset"], answer["event_id"], answer["duplicate"]) == (
        "published",
        1,
        "mine",
        False,
    )
    assert client.wire.under_way == 0


async def test_without_an_id_only_errors_are_answered(hall: Hall) -> None:
    client = await hall.welcomed()
    told = len(client.wire.told)
    client.say("publish", room="team:1", kind="app.thing", data={})
    await settled()
    assert len(client.wire.told) == told
    client.say("publish", room="team:1", kind="nonsense", data={})
    await settled()
    (error,) = client.wire.told[told:]
    assert error["code"] == "invalid_event"
    assert "id" not in error
    assert client.wire.under_way == 0


async def test_publishing_takes_the_right_to(hall: Hall) -> None:
    client = await hall.welcomed(user(hall, publish=("team:*",)))
    assert await refused(client, "publish", room="user:ann", kind="app.thing", data={}) == "forbidden"
    assert (await client.ask("publish", room="team:1", kind="app.thing", data={}))["type"] == "published"


async def test_questions_are_answered_by_the_room(hall: Hall) -> None:
    client = await hall.welcomed()
    await client.subscribe("team:1")
    await hall.house.publish("team:1")
    assert (await client.ask("state", room="team:1"))["state"]["counts"] == {"app.thing": 1}
    assert [event["offset"] for event in (await client.ask("history", room="team:1"))["events"]] == [1]
    assert (await client.ask("presence", room="team:1"))["count"] == 1


@pytest.mark.parametrize("command", ["state", "history", "presence"])
async def test_a_room_that_was_never_used_is_not_found_and_not_opened(hall: Hall, command: str) -> None:
    client = await hall.welcomed()
    assert await refused(client, command, room="team:1") == "not_found"
    assert not hall.house.directory.known("team:1")


async def test_an_alert_is_acknowledged(hall: Hall) -> None:
    await hall.house.publish("team:1", kind="alert", data={"severity": "critical", "title": "t"}, event_id="a1")
    client = await hall.welcomed()
    answer = await client.ask("ack", room="team:1", event_id="a1")
    assert (answer["type"], answer["room"], answer["event_id"]) == ("acknowledged", "team:1", "a1")
    assert await refused(client, "ack", room="team:1", event_id="a1") == "not_found"


async def test_acknowledging_tells_nobody_which_rooms_there_are(hall: Hall) -> None:
    """Where nothing may be read, a room that exists and one that does not look the same."""
    client = await hall.welcomed(user(hall, rooms=("team:*",)))
    for room in ("other:1", "session:1"):
        await hall.house.publish(room, kind="alert", data=ALERT, event_id="a1")
    for room in ("other:1", "session:1", "other:never", "session:never"):
        assert await refused(client, "ack", room=room, event_id="a1") == "forbidden"
    assert not hall.house.directory.known("other:never")
    assert not hall.house.directory.known("session:never")
    assert await refused(client, "ack", room="team:never", event_id="a1") == "not_found"
    await hall.house.publish("team:1", kind="alert", data=ALERT, event_id="a1")
    assert (await client.ask("ack", room="team:1", event_id="a1"))["type"] == "acknowledged"


async def test_users_are_held_to_a_rate_and_told_when_to_go_on(open_hall: Callable[..., Hall]) -> None:
    hall = open_hall(limits=ConnectionLimits(commands_per_s=10, commands_burst=2))
    client = await hall.welcomed(user(hall))
    answers = [await client.ask("ping") for _ in range(3)]
    assert [answer["type"] for answer in answers] == ["pong", "pong", "error"]
    assert (answers[2]["code"], answers[2]["retry_after_ms"]) == ("rate_limited", 100)
    await hall.clock.advance(0.1)
    assert (await client.ask("ping"))["type"] == "pong"


async def test_services_are_held_to_no_rate(open_hall: Callable[..., Hall]) -> None:
    hall = open_hall(limits=ConnectionLimits(commands_per_s=1, commands_burst=1))
    client = await hall.welcomed(user(hall, role="service"))
    assert {(await client.ask("ping"))["type"] for _ in range(20)} == {"pong"}


async def test_a_bad_message_gets_an_error_and_the_connection_goes_on(hall: Hall) -> None:
    client = await hall.welcomed()
    client.put('{"type": "subscribe", "id": 77}')
    client.put("nonsense")
    await settled()
    assert [error.get("id") for error in client.wire.of("error")] == [77, None]
    assert (await client.ask("ping"))["type"] == "pong"


async def test_ten_bad_messages_in_a_minute_close_the_connection(hall: Hall) -> None:
    client = await hall.welcomed()
    for _ in range(10):
        assert client.wire.closed is None
        client.put("nonsense")
        await settled()
    assert client.wire.closed == (CloseCode.BAD_MESSAGES, "too many bad messages")


async def test_what_is_said_after_the_close_is_not_obeyed(hall: Hall) -> None:
    """The socket is read until the client answers the close: it must not publish meanwhile."""
    client = await hall.welcomed()
    client.mailbox.tell(Close(CloseCode.OPERATOR, "closed by an operator"))
    client.say("publish", room="team:1", kind="app.thing", data={})
    client.say("subscribe", room="team:2")
    await settled()
    assert client.wire.closed == (CloseCode.OPERATOR, "closed by an operator")
    assert not hall.house.directory.known("team:1")
    assert not hall.house.directory.known("team:2")
    assert client.wire.under_way == 0


async def test_who_hangs_up_is_in_no_room_any_more(hall: Hall) -> None:
    client = await hall.welcomed()
    await client.subscribe("team:1")
    await client.hang_up()
    assert len(hall.house.ledger) == 0
    assert not client.mailbox.occupied


@pytest.mark.parametrize("said", [("hello",), ("hello", "subscribe")])
async def test_who_hangs_up_while_a_room_lets_it_in_is_not_left_there(hall: Hall, said: tuple[str, ...]) -> None:
    client = hall.client()
    for command in said:
        client.say(command, **({"room": "team:1"} if command == "subscribe" else {}))
    await client.hang_up()
    assert len(hall.house.ledger) == 0


async def test_who_hangs_up_right_after_a_subscribe_is_not_left_there(hall: Hall) -> None:
    client = await hall.welcomed()
    client.say("subscribe", room="team:1")
    await client.hang_up()
    assert len(hall.house.ledger) == 0


async def test_of_a_connection_one_log_line_says_that_it_opened(hall: Hall, logged: list[dict[str, Any]]) -> None:
    await hall.welcomed(client={"name": "cli", "version": "1.2"})
    (line,) = [line for line in logged if line["event"] == "connection_opened"]
    assert (line["connection"], line["user"], line["role"], line["client"]) == ("c1", "anonymous", "admin", "cli 1.2")
