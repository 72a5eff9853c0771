"""Questions to rooms from outside the actors: a command in, the room's reply out, awaited for a while."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from actors import commands, replies
from actors.errors import ErrorCode, Refusal
from actors.future import LoopFuture
from actors.identity import Identity
from actors.mailbox import Mailbox
from actors.messages import Query, Refused

__all__ = ["answered", "ask_room"]

T = TypeVar("T")

_PATIENCE_S = 5.0


async def ask_room(
    room: Mailbox, command: commands.State | commands.History | commands.Presence, identity: Identity
) -> replies.Reply:
    """Return the room's reply.

    Raises:
        Refusal: The room's own, or `busy` when it does not answer within 5 s.
    """
    answer: LoopFuture[replies.Reply | Refused] = LoopFuture()
    room.tell(Query(command, identity, answer))
    return await answered(answer, command.room)


async def answered(answer: LoopFuture[T | Refused], who: str) -> T:
    """Return what an actor answers; raises as `ask_room` does.

    Args:
        answer: What the actor was given to tell its answer to.
        who: Whom it is waited for, for the refusal.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reply = await answer
    except TimeoutError:
        raise Refusal(ErrorCode.BUSY, f"{who} does not answer; ask again in a while") from None
    if isinstance(reply, Refused):
        raise reply.refusal
    return reply
