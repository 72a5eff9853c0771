"""The clerk: what each user says in a room of their own in, the lobby's messages with their names out.

A client that may publish may write anything into an event's data, somebody else's name too. So nobody publishes to the
lobby but the clerk. `from:ada.5e1f09c2` is the one room that Ada's token lets her publish to, and nobody else's does:
whatever lies in it is hers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from postroom_client import Client, Custom, Event, Gap, PostroomError, Service, Subscription

LOBBY = "chat:lobby"
LONGEST = 500
"""Characters of a message."""
_HISTORY = 300

log = logging.getLogger("chat")


def said_by(user: str) -> str:
    """Name the room that only this user may publish to."""
    return f"from:{user}"


class Clerk:
    """Follows the rooms of users, and copies to the lobby what is fit for it.

    Args:
        client: Reads; its token opens `from:*`.
        service: Publishes to the lobby.
    """

    def __init__(self, client: Client, service: Service) -> None:
        self._client = client
        self._service = service
        self._turn = asyncio.Lock()
        self._at_work: dict[str, tuple[Subscription, asyncio.Task[None]]] = {}

    async def follow(self, user: str) -> None:
        """Copy what the user says from now on, and what was said while no clerk was there."""
        async with self._turn:
            if user in self._at_work and not self._at_work[user][1].done():
                return
            # Some of the history was copied before. A copy has its original's id: the router takes it once.
            said = await self._client.subscribe(said_by(user), history=_HISTORY, kinds=["chat.said"], on_gap=_missed)
            self._at_work[user] = (said, asyncio.create_task(self._copy(user, said)))

    async def leave(self, user: str) -> None:
        """Follow the user no longer."""
        async with self._turn:
            if user in self._at_work:
                said, task = self._at_work.pop(user)
                await said.unsubscribe()  # which ends the task
                await task

    async def _copy(self, user: str, said: Subscription) -> None:
        try:
            async for event in said:
                text = _fit(event)
                if text is not None:
                    self._service.tell(Custom(LOBBY, "chat.message", {"from": user, "text": text}, event_id=event.id))
        except PostroomError as error:  # the buffer is full, for one: the router is away for long
            log.warning("what %s says is not copied until the next token is asked for: %s", user, error)
            with contextlib.suppress(PostroomError):
                await said.unsubscribe()


def _fit(event: Event) -> str | None:
    """Return the text; None: it is nothing to show to others."""
    text = event.data.get("text")
    if not isinstance(text, str) or not 0 < len(text.strip()) <= LONGEST:
        return None
    return text.strip()


def _missed(gap: Gap) -> None:
    log.warning("not everything that was said could be copied: %s", gap)
