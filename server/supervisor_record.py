"""What happened: the history of the room `system:supervisor` in; entries for operators, a page at a time, out."""

from __future__ import annotations

from typing import Any

import msgspec

from actors import commands, replies
from actors.directory import RoomDirectory
from actors.events import Event, decode_data
from actors.identity import ANONYMOUS, SUPERVISOR_ROOM
from actors.supervisor_journal import SUPERVISOR_LIMITS
from actors.times import time_text

from .asking import ask_room

__all__ = ["Entries", "SupervisorRecord"]


class Entries(msgspec.Struct, frozen=True):
    """A page of the record. An entry has `offset`, `time`, `kind`, and the fields of its kind."""

    room: str
    epoch: str
    entries: list[dict[str, Any]]
    """Oldest first."""
    more: bool
    """Whether there are others on the side to which one pages: later ones with `after`, else earlier ones."""


class SupervisorRecord:
    """Reads the record. Used on the event loop.

    Args:
        directory: Finds the room.
    """

    def __init__(self, directory: RoomDirectory) -> None:
        self._directory = directory

    async def page(self, *, after: int | None, actor: str | None, limit: int) -> Entries:
        """Return the first `limit` entries after an offset; None: the last ones of all.

        Args:
            after: The offset.
            actor: Only what happened to the actor, or the supervisor, of this name; None: everything.
            limit: Entries at most.

        Raises:
            Refusal: The room cannot be read now.
        """
        found: list[dict[str, Any]] = []
        before: int | None = None
        while True:
            reply = await self._ask(after, before)
            wanted = [entry for entry in map(_entry, reply.events) if actor is None or _is_about(entry, actor)]
            found = found + wanted if after is not None else wanted + found
            if len(found) >= limit or not reply.more:
                break
            if after is not None:
                after = reply.events[-1].offset
            else:
                before = reply.events[0].offset
        shown = found[:limit] if after is not None else found[-limit:]
        return Entries(SUPERVISOR_ROOM, reply.epoch, shown, reply.more or len(found) > len(shown))

    async def everything(self, node: str | None = None) -> list[dict[str, Any]]:
        """Return all entries, oldest first; raises as `page` does.

        Args:
            node: Only those of this router of the cluster. None: there is one router only.
        """
        entries = (await self.page(after=0, actor=None, limit=SUPERVISOR_LIMITS.history_events)).entries
        return [entry for entry in entries if entry.get("node") == node]

    async def _ask(self, after: int | None, before: int | None) -> replies.History:
        command = commands.History(room=SUPERVISOR_ROOM, after=after, before=before, limit=commands.MOST_HISTORY)
        reply = await ask_room(self._directory.room(SUPERVISOR_ROOM), command, ANONYMOUS)
        assert isinstance(reply, replies.History)
        return reply


def _entry(event: Event) -> dict[str, Any]:
    draft = event.draft
    data = decode_data(draft.data)
    return {"offset": event.offset, "time": time_text(draft.time_ms), "kind": draft.kind, **data}


def _is_about(entry: dict[str, Any], actor: str) -> bool:
    return actor in (entry.get("actor"), entry.get("supervisor"), entry.get("target"))
