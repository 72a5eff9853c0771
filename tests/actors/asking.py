"""Questions that tests put to a room or, as a client, to a connection, and what came back."""

from __future__ import annotations

from typing import Any

from actors import commands, replies
from actors.batch import Batch
from actors.errors import ErrorCode
from actors.identity import Identity
from actors.messages import Joined, Published, Query, Receipt, Refused

from .client import Client, Hall
from .fake_clock import settled
from .house import Ear, House

__all__ = ["ROOM", "ask", "joined", "offsets", "receipt", "refusal", "refused", "user"]

ROOM = "session:1"


async def receipt(house: House, *args: object, **options: object) -> Receipt:
    """Append to the room and return the receipt."""
    answer = await house.append(ROOM, *args, **options)  # type: ignore[arg-type]
    assert isinstance(answer, Published), answer
    return answer.receipt


async def refusal(house: House, *args: object, **options: object) -> ErrorCode:
    answer = await house.append(ROOM, *args, **options)  # type: ignore[arg-type]
    assert isinstance(answer, Refused), answer
    return answer.refusal.code


async def joined(house: House, ear: Ear, name: str = "c1", **options: object) -> Joined:
    """Subscribe and return the room's answer."""
    house.subscribe(ROOM, ear, name, **options)  # type: ignore[arg-type]
    await settled()
    return ear.of(Joined)[-1]


async def ask(house: House, command: commands.Command, identity: Identity) -> replies.Reply | Refused:
    ear = Ear()
    house.directory.room(ROOM).tell(Query(command, identity, ear))
    await settled()
    (answer,) = ear.heard
    return answer


def offsets(ear: Ear) -> list[int]:
    """The offsets of all live events that were heard."""
    return [event.offset for batch in ear.of(Batch) for event in batch.events]


def user(hall: Hall, token: str = "ann", **fields: Any) -> str:
    """Make a token of a user."""
    hall.authenticator.tokens[token] = Identity(**{"user": "ann", **fields})
    return token


async def refused(client: Client, type: str, **fields: Any) -> str:
    """Say something that is refused; return the code."""
    answer = await client.ask(type, **fields)
    assert answer["type"] == "error", answer
    assert answer["temporary"] is ErrorCode(answer["code"]).temporary
    return str(answer["code"])
