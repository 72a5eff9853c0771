"""Questions to a room: `state`, `presence` or `history` and the room's facts in, a reply out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from . import commands, replies
from .history import History, first_within
from .roll import Roll
from .state import RoomState

__all__ = ["RoomFacts", "answer"]

_ANSWER_BYTES = 128 * 1024
"""How much data one answer to `history` holds at most."""


class RoomFacts(NamedTuple):
    """What is known of a room in one turn of it."""

    name: str
    epoch: str
    top: int
    state: RoomState
    history: History
    roll: Callable[[], Roll]
    """Tells who is there; not called unless that is asked."""


def answer(command: commands.Command, room: RoomFacts) -> replies.Reply:
    """Answer a command that asks and changes nothing."""
    if isinstance(command, commands.State):
        return replies.State(id=command.id, room=room.name, epoch=room.epoch, offset=room.top, state=room.state.view())
    if isinstance(command, commands.Presence):
        return replies.Presence(id=command.id, room=room.name, roll=room.roll(), connections=command.connections)
    assert isinstance(command, commands.History)
    return _history(command, room)


def _history(command: commands.History, room: RoomFacts) -> replies.History:
    history = room.history
    if command.after is not None:
        events = first_within(_ANSWER_BYTES, history.after(command.after, command.limit))
        more = bool(events) and events[-1].offset < history.last_offset
    else:
        events = first_within(_ANSWER_BYTES, reversed(history.before(command.before, command.limit)))[::-1]
        more = bool(events) and events[0].offset > history.first_offset
    return replies.History(
        id=command.id, room=room.name, epoch=room.epoch, offset=room.top, events=tuple(events), more=more
    )
