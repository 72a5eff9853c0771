"""Every role, verb and room against each other, in a whole router but for its sockets: what is not allowed is denied.

The rules themselves are in test_identity.py; here is whether every verb asks them, for the right room.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.identity import ROLES, Identity

from .client import Client, Hall
from .oracle import GRANTS, ROOMS, USERS, expected

FORBIDDEN = "forbidden"
OWNERS = st.fixed_dictionaries({room: st.none() | st.sampled_from(USERS) for room in ROOMS if "session" in room})
READING: dict[str, dict[str, Any]] = {"subscribe": {}, "state": {}, "history": {"limit": 5}, "presence": {}}


@settings(max_examples=40, deadline=None)
@given(
    identity=st.builds(
        Identity, user=st.sampled_from(USERS), role=st.sampled_from(ROLES), rooms=GRANTS, publish=GRANTS
    ),
    owners=OWNERS,
)
def test_every_verb_in_every_room_is_allowed_to_whom_the_protocol_allows_it_and_to_nobody_else(
    identity: Identity, owners: dict[str, str | None]
) -> None:
    """Reading in four ways, publishing, acknowledging, resuming; what is refused has changed nothing."""
    asyncio.run(_try_everything(identity, owners))


async def _try_everything(identity: Identity, owners: dict[str, str | None]) -> None:
    hall = Hall(anonymous=None)
    hall.authenticator.tokens["mine"] = identity
    for room in ROOMS:
        owner = owners.get(room)
        if owner is not None:
            await hall.house.publish(room, kind="session", data={"status": "started", "owner": owner})
        alert = {"severity": "critical", "title": "disk full"}
        await hall.house.publish(room, kind="alert", data=alert, event_id="alert-1")
    client = await hall.welcomed("mine")
    for room in ROOMS:
        await _try_room(client, room, identity, owners.get(room))
    resumed = await hall.welcomed("mine", resume={room: {"epoch": "x", "offset": 0} for room in ROOMS})
    joined = set(resumed.wire.told[0]["rooms"])
    readable = {room for room in ROOMS if expected("subscribe", identity, room, owners.get(room))}
    assert joined & set(ROOMS) == readable
    assert {each["room"] for each in resumed.wire.told if each["type"] == "revoked"} == set(ROOMS) - readable
    await client.hang_up()
    await resumed.hang_up()
    await hall.end()


async def _try_room(client: Client, room: str, identity: Identity, owner: str | None) -> None:
    may_read = expected("subscribe", identity, room, owner)
    for verb, fields in READING.items():
        answer = await client.ask(verb, room=room, **fields)
        assert (answer.get("code") != FORBIDDEN) == may_read, (verb, room, answer)
        if not may_read:
            assert set(answer) <= {"id", "type", "code", "message", "temporary"}, "it tells more than that"

    before = await _top(client, room, may_read)
    answer = await client.ask("publish", room=room, kind="app.thing", data={})
    may_publish = expected("publish", identity, room, owner)
    assert (answer["type"] == "published") == may_publish, (room, answer)
    assert may_publish or answer["code"] == FORBIDDEN
    assert await _top(client, room, may_read) == before + (may_publish and may_read)

    answer = await client.ask("ack", room=room, event_id="alert-1")
    may_acknowledge = expected("acknowledge", identity, room, owner)
    assert (answer["type"] == "acknowledged") == may_acknowledge, (room, answer)
    assert may_acknowledge or answer["code"] == FORBIDDEN
    assert await _top(client, room, may_read) == before + ((may_publish + may_acknowledge) if may_read else 0)


async def _top(client: Client, room: str, may_read: bool) -> int:
    """Return the room's last offset, as far as the client may see it."""
    return int((await client.ask("state", room=room))["offset"]) if may_read else 0
