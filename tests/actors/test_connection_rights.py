"""Rights that change while a client is in its rooms: what ends, ends; what does not end, goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.connection import Connection
from actors.errors import CloseCode
from actors.identity import Identity
from actors.loop import LoopActor
from actors.messages import Recheck, Revoke, Subscribe
from actors.replies import Revoked
from actors.room import Room

from .client import Hall, fail_to_encode_once
from .fake_clock import settled
from .house import fail_once

pytestmark = pytest.mark.usefixtures("nothing_left")
ROOM = "session:1"


def hall_of_ann() -> Hall:
    hall = Hall(anonymous=None)
    hall.authenticator.tokens = {
        "wide": Identity(user="ann", rooms=("session:*", "team:*")),
        "narrow": Identity(user="ann"),
    }
    return hall


async def test_an_owner_stays_in_the_session_when_the_token_stops_naming_it() -> None:
    hall = hall_of_ann()
    await hall.house.append(ROOM, "session", {"status": "started", "owner": "ann"})
    client = await hall.welcomed("wide")
    await client.subscribe(ROOM)
    await client.ask("refresh", token="narrow")
    await settled()
    assert client.wire.of("revoked") == []
    await hall.house.append(ROOM, "session", {"status": "started", "owner": "bob"})
    await settled()
    assert [revoked["room"] for revoked in client.wire.of("revoked")] == [ROOM], "now only ownership allowed it"
    await hall.end()


async def test_who_joined_as_owner_and_has_the_right_now_stays_when_the_owner_changes() -> None:
    hall = hall_of_ann()
    await hall.house.append(ROOM, "session", {"status": "started", "owner": "ann"})
    client = await hall.welcomed("narrow")
    await client.subscribe(ROOM)
    await client.ask("refresh", token="wide")
    await hall.house.append(ROOM, "session", {"status": "started", "owner": "bob"})
    await settled()
    assert client.wire.of("revoked") == []
    assert len(client.wire.of("event")) == 1
    await hall.end()


async def test_a_session_that_is_somebody_elses_is_revoked_when_the_token_stops_naming_it() -> None:
    hall = hall_of_ann()
    await hall.house.append(ROOM, "session", {"status": "started", "owner": "bob"})
    client = await hall.welcomed("wide")
    await client.subscribe(ROOM)
    await client.ask("refresh", token="narrow")
    await settled()
    assert [revoked["room"] for revoked in client.wire.of("revoked")] == [ROOM]
    await hall.house.append(ROOM)
    await settled()
    assert client.wire.of("event") == []
    await hall.end()


async def test_a_refresh_that_failed_half_way_leaves_no_room_that_the_new_token_forbids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hall = hall_of_ann()
    client = await hall.welcomed("wide")
    for room in ("team:1", "team:2"):
        await client.subscribe(room)
    leave, failures = Connection._leave, [1]

    def failing(self: Connection, room: str) -> None:
        if failures:
            failures.pop()
            raise RuntimeError("made to fail")
        leave(self, room)

    monkeypatch.setattr(Connection, "_leave", failing)
    client.say("refresh", id=9, token="narrow")
    await settled()
    await hall.clock.advance(1)
    for room in ("team:1", "team:2"):
        await hall.house.append(room)
    await settled()
    assert sorted(revoked["room"] for revoked in client.wire.of("revoked")) == ["team:1", "team:2"]
    assert client.wire.of("event") == []
    await hall.end()


async def test_a_right_that_ends_during_hello_is_not_spoken_of_before_the_welcome(
    open_hall: Callable[..., Hall], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by an actor that follows one which failed on it either: the welcome comes first."""
    hall = open_hall()
    subscribe, lost = Room._handlers[Subscribe], [1]

    def lose_the_first(self: Room, message: Subscribe) -> None:
        if self._name == "team:1" and lost:
            lost.pop()
        else:
            subscribe(self, message)

    monkeypatch.setitem(Room._handlers, Subscribe, lose_the_first)
    fail_once(monkeypatch, Connection, Revoke)
    client = hall.client()
    client.say("hello", resume={"team:1": {"epoch": "e", "offset": 1}})
    await settled()
    client.mailbox.tell(Revoke("broadcast", "for a test"))
    await settled()
    assert [message["type"] for message in client.wire.told] == ["welcome"]


async def test_a_refresh_on_whose_answers_it_failed_leaves_no_room_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A room that ends is left when its client was told."""
    hall = hall_of_ann()
    client = await hall.welcomed("wide")
    await client.subscribe("team:1")
    fail_to_encode_once(monkeypatch, Revoked)
    client.say("refresh", id=9, token="narrow")
    await settled()
    assert [revoked["room"] for revoked in client.wire.of("revoked")] == ["team:1"]
    assert len(hall.house.ledger.page("team:1")) == 0
    await hall.end()


async def test_a_client_that_is_closed_while_its_rights_are_looked_at_is_no_failure(
    logged: list[dict[str, Any]],
) -> None:
    """It may have too much to read already: then the first room that ends is one answer too many, and all are left."""
    hall = hall_of_ann()
    client = await hall.welcomed("wide")
    for room in ("team:1", "team:2"):
        await client.subscribe(room)
    client.wire.paused = True
    client.state.outbox.limit = 10
    client.say("refresh", id=9, token="narrow")
    await settled()
    assert client.wire.closed is not None
    assert client.wire.closed[0] == CloseCode.SLOW_CONSUMER
    assert [line for line in logged if line["event"] == "actor_failed"] == []
    await hall.end()


@pytest.mark.parametrize(("actor", "message"), [(Room, Recheck), (Connection, Revoke)])
async def test_a_failure_on_the_way_leaves_nobody_in_a_session_that_is_somebody_elses(
    monkeypatch: pytest.MonkeyPatch, actor: type[LoopActor], message: type
) -> None:
    """Nobody looks twice at a right that has ended, so what was asked of an actor that failed is done."""
    hall = hall_of_ann()
    await hall.house.append(ROOM, "session", {"status": "started", "owner": "bob"})
    client = await hall.welcomed("wide")
    await client.subscribe(ROOM)
    fail_once(monkeypatch, actor, message)
    await client.ask("refresh", token="narrow")
    await settled()
    assert [revoked["room"] for revoked in client.wire.of("revoked")] == [ROOM]
    assert ROOM not in client.state.subscriptions
    await hall.end()
