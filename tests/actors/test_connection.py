"""Connection: hello and welcome, and what a token allows for how long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.errors import CloseCode, ErrorCode, Refusal
from actors.ports import ConnectionLimits

from .asking import refused, user
from .client import Hall
from .fake_clock import settled

pytestmark = pytest.mark.usefixtures("nothing_left")
OWN_ROOMS = {"user:anonymous", "role:admin", "broadcast", "system"}


# --- hello


async def test_the_welcome_holds_the_rooms_that_are_joined_by_themselves(hall: Hall) -> None:
    client = hall.client()
    welcome = await client.ask("hello")
    assert welcome["type"] == "welcome"
    assert set(welcome["rooms"]) == OWN_ROOMS
    assert (welcome["user"], welcome["role"], welcome["protocol"]) == ("anonymous", "admin", 1)
    assert welcome["expires_at"] is None
    assert welcome["limits"] == {"message_bytes": 65536, "rooms": 128, "outbox_bytes": 1048576}


async def test_the_welcome_is_the_first_thing_that_is_heard(hall: Hall) -> None:
    client = hall.client()
    client.say("hello")
    await hall.house.publish("broadcast", "system")
    assert client.wire.told[0]["type"] == "welcome"


async def test_events_that_come_while_hello_is_answered_are_not_lost(hall: Hall) -> None:
    client = hall.client()
    hall.house.directory.room("broadcast")
    await settled()
    client.say("hello")
    for _ in range(5):
        await hall.house.publish("broadcast")
    chain = client.wire.chains["broadcast"]
    assert chain.position == 5


async def test_commands_that_come_with_hello_are_obeyed_after_the_welcome(hall: Hall) -> None:
    client = hall.client()
    client.say("hello", id=1)
    client.say("ping", id=2)
    await settled()
    assert [message["type"] for message in client.wire.told] == ["welcome", "pong"]
    assert client.wire.under_way == 0


async def test_rooms_are_resumed_in_the_hello(hall: Hall) -> None:
    first = await hall.welcomed()
    epoch = (await first.subscribe("team:1"))["epoch"]
    for _ in range(4):
        await hall.house.publish("team:1")
    back = hall.client()
    welcome = await back.ask("hello", resume={"team:1": {"epoch": epoch, "offset": 1}})
    resumed = welcome["rooms"]["team:1"]
    assert (resumed["recovery"], resumed["offset"], resumed["replay"]) == ("full", 4, 3)
    assert back.offsets("team:1") == [2, 3, 4]


async def test_a_room_that_may_not_be_resumed_is_revoked_and_the_others_are_joined(hall: Hall) -> None:
    client = hall.client()
    position = {"epoch": "e", "offset": 1}
    await client.ask("hello", token=user(hall), resume={"team:1": position, "broadcast": position})
    assert [(message["room"], message["reason"]) for message in client.wire.of("revoked")] == [("team:1", "forbidden")]
    assert client.wire.of("welcome")[0]["rooms"]["broadcast"]["recovery"] == "none"


async def test_no_more_rooms_are_resumed_than_may_be_subscribed_to(open_hall: Callable[..., Hall]) -> None:
    client = open_hall(limits=ConnectionLimits(rooms=2)).client()
    position = {"epoch": "e", "offset": 0}
    welcome = await client.ask("hello", resume={f"team:{n}": position for n in range(4)})
    assert set(welcome["rooms"]) - OWN_ROOMS == {"team:0", "team:1"}
    assert {message["reason"] for message in client.wire.of("revoked")} == {"too_many_rooms"}


async def test_what_is_no_room_name_is_not_resumed(hall: Hall) -> None:
    """With the right to read everything, any text at all would open a room."""
    client = hall.client()
    assert await refused(client, "hello", resume={"no room": {"epoch": "e", "offset": 0}}) == "bad_message"
    assert not hall.house.directory.known("no room")


async def test_hello_is_said_once(hall: Hall) -> None:
    client = await hall.welcomed()
    assert await refused(client, "hello") == "bad_message"


async def test_before_hello_everything_else_is_refused(hall: Hall) -> None:
    client = hall.client()
    assert await refused(client, "ping") == "unauthenticated"
    assert await refused(client, "subscribe", room="broadcast") == "unauthenticated"


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (ErrorCode.UNAUTHENTICATED, CloseCode.UNAUTHENTICATED),
        (ErrorCode.TOKEN_EXPIRED, CloseCode.TOKEN_EXPIRED),
    ],
)
async def test_a_token_that_does_not_count_closes_the_connection(
    hall: Hall, refusal: ErrorCode, code: CloseCode
) -> None:
    hall.authenticator.tokens["bad"] = Refusal(refusal, "no")
    client = hall.client()
    assert await refused(client, "hello", token="bad") == refusal
    assert client.wire.closed == (code, refusal)


async def test_without_a_token_a_guarded_router_closes(open_hall: Callable[..., Hall]) -> None:
    client = open_hall(anonymous=None).client()
    assert await refused(client, "hello") == "unauthenticated"
    assert client.wire.closed == (CloseCode.UNAUTHENTICATED, "unauthenticated")


async def test_while_tokens_cannot_be_checked_hello_can_be_said_again(hall: Hall) -> None:
    hall.authenticator.tokens["later"] = Refusal(ErrorCode.BUSY, "no keys yet")
    client = hall.client()
    assert await refused(client, "hello", token="later") == "busy"
    assert client.wire.closed is None
    assert (await client.ask("hello", token=user(hall)))["type"] == "welcome"


async def test_the_token_of_the_handshake_serves_where_hello_has_none(hall: Hall) -> None:
    client = hall.client(offered_token=user(hall))
    assert (await client.ask("hello"))["user"] == "ann"


async def test_who_may_not_stay_is_told_why_in_the_close(hall: Hall) -> None:
    hall.admission.refusal = "user ann has 20 connections"
    client = hall.client()
    await client.ask("hello", token=user(hall))
    assert client.wire.closed == (CloseCode.TOO_MANY_CONNECTIONS, "user ann has 20 connections")


@pytest.mark.parametrize("role", ["user", "service", "admin"])
async def test_services_and_admins_are_read_from_faster(hall: Hall, role: str) -> None:
    assert (await hall.welcomed(user(hall, role=role))).wire.trusted == (role != "user")


# --- deadlines


async def test_without_hello_in_time_the_connection_is_closed(hall: Hall) -> None:
    client = hall.client()
    await hall.clock.advance(9.9)
    assert client.wire.closed is None
    await hall.clock.advance(0.2)
    assert client.wire.closed == (CloseCode.NO_HELLO, "no hello within 10 s")


async def test_a_hello_that_was_said_in_time_may_wait_for_its_key(hall: Hall) -> None:
    """The identity provider is slow, not the client."""
    token = user(hall)
    hall.authenticator.slow = True
    client = hall.client()
    client.say("hello", token=token)
    await hall.clock.advance(60.0)
    assert client.wire.closed is None
    hall.authenticator.waiting.pop()()
    await settled()
    assert client.wire.of("welcome")


async def test_a_hello_that_may_be_said_again_is_waited_for_again(hall: Hall) -> None:
    """Who is told so late that tokens cannot be checked now has as long as before, and not for ever."""
    hall.authenticator.tokens["ann"] = Refusal(ErrorCode.BUSY, "the identity provider cannot be reached")
    hall.authenticator.slow = True
    client = hall.client()
    client.say("hello", token="ann")
    await hall.clock.advance(60.0)
    hall.authenticator.waiting.pop()()
    await hall.clock.advance(9.9)
    assert [message["code"] for message in client.wire.of("error")] == ["busy"]
    assert client.wire.closed is None
    await hall.clock.advance(0.2)
    assert client.wire.closed == (CloseCode.NO_HELLO, "no hello within 10 s")


async def test_after_the_welcome_no_hello_is_waited_for(hall: Hall) -> None:
    client = await hall.welcomed()
    await hall.clock.advance(1000.0)
    assert client.wire.closed is None


async def test_a_token_is_warned_of_and_then_ends_the_connection(hall: Hall) -> None:
    client = await hall.welcomed(user(hall, expires_at=hall.clock.time() + 100.0))
    await hall.clock.advance(39.0)
    assert client.wire.of("notice") == []
    await hall.clock.advance(2.0)
    (notice,) = client.wire.of("notice")
    assert (notice["code"], notice["expires_at"]) == ("token_expiring", "2023-11-14T22:15:00.000Z")
    await hall.clock.advance(83.0)
    assert client.wire.closed is None
    await hall.clock.advance(2.0)
    assert client.wire.closed == (CloseCode.TOKEN_EXPIRED, "token_expired")


@pytest.mark.parametrize(("jump_s", "closed"), [(36_000.0, True), (-36_000.0, False)])
async def test_a_tokens_warning_is_a_timer_and_its_end_is_read_from_the_wall_clock(
    hall: Hall, jump_s: float, closed: bool
) -> None:
    """When that is set forward by hours the token is over, and when it is set back it is not."""
    client = await hall.welcomed(user(hall, expires_at=hall.clock.time() + 100.0))
    hall.clock.jump_wall(jump_s)
    await hall.clock.advance(39.0)
    assert client.wire.of("notice") == []
    await hall.clock.advance(2.0)
    assert len(client.wire.of("notice")) == 1
    await hall.clock.advance(85.0)
    assert (client.wire.closed == (CloseCode.TOKEN_EXPIRED, "token_expired")) == closed


async def test_a_refreshed_token_goes_on(hall: Hall) -> None:
    client = await hall.welcomed(user(hall, expires_at=hall.clock.time() + 100.0))
    new = user(hall, "new", expires_at=hall.clock.time() + 1000.0)
    assert (await client.ask("refresh", token=new))["expires_at"] == "2023-11-14T22:30:00.000Z"
    await hall.clock.advance(500.0)
    assert client.wire.closed is None
    assert client.wire.of("notice") == []


async def test_a_refused_refresh_changes_nothing(hall: Hall) -> None:
    client = await hall.welcomed(user(hall))
    assert await refused(client, "refresh", token="unknown") == "unauthenticated"
    assert (await client.ask("ping"))["type"] == "pong"


async def test_a_refresh_is_not_a_way_to_become_somebody_else(hall: Hall) -> None:
    client = await hall.welcomed(user(hall))
    assert await refused(client, "refresh", token=user(hall, "bob", user="bob", role="admin")) == "forbidden"
    assert await refused(client, "subscribe", room="team:1") == "forbidden"


@pytest.mark.parametrize("role", ["admin", "service"])
async def test_a_refresh_is_not_a_way_to_another_role(hall: Hall, role: str) -> None:
    """A connection is in its role's room, and is held to its role's limits, from the welcome on."""
    client = await hall.welcomed(user(hall, rooms=("team:*",), expires_at=hall.clock.time() + 1000.0))
    await client.subscribe("team:1")
    identity, rooms = client.state.identity, set(client.state.subscriptions)
    new = user(hall, "new", role=role, expires_at=hall.clock.time() + 2000.0)
    assert await refused(client, "refresh", token=new) == "forbidden"
    assert "role user" in client.wire.told[-1]["message"]
    assert role in client.wire.told[-1]["message"]
    assert client.state.identity is identity
    assert set(client.state.subscriptions) == rooms
    assert not client.wire.trusted
    assert await refused(client, "subscribe", room="other:1") == "forbidden"
    await hall.clock.advance(1100.0)
    assert client.wire.closed == (CloseCode.TOKEN_EXPIRED, "token_expired")


async def test_an_admin_does_not_become_a_user_by_a_refresh(hall: Hall) -> None:
    """It would stay in the admins' room."""
    client = await hall.welcomed(user(hall, role="admin"))
    assert await refused(client, "refresh", token=user(hall, "new")) == "forbidden"
    assert client.state.identity is not None
    assert client.state.identity.role == "admin"
    assert "role:admin" in client.state.subscriptions


async def test_a_refresh_with_fewer_rights_ends_what_they_allowed(hall: Hall) -> None:
    client = await hall.welcomed(user(hall, rooms=("team:*",)))
    await client.subscribe("team:1")
    await client.ask("refresh", token=user(hall, "new"))
    assert [message["room"] for message in client.wire.of("revoked")] == ["team:1"]
    await hall.house.publish("team:1")
    assert client.offsets("team:1") == []
