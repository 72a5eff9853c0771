"""Share: how much of old events the answers of one turn hold. Rooms' answers in; those that wait for a later turn out.

A client that comes back into a hundred rooms asks for all of them at once, and what it missed in each is part of the
answer (`Codec.tells_old_events`). Together that may be more than its outbox may hold.
"""

from __future__ import annotations

from .ledger import ConnectionState
from .old_events import ANSWER_BYTES

__all__ = ["Share"]


class Share:
    """Lets as much of old events out in a turn as one answer may hold; the other rooms are asked once more, in order.

    Nothing is kept of what waits but which rooms these are: their events stay in their histories.

    Args:
        state: The connection's state.
    """

    __slots__ = ("_left", "_state")

    def __init__(self, state: ConnectionState) -> None:
        self._state = state
        self._left = ANSWER_BYTES

    def take(self, room: str, size: int) -> bool:
        """Return whether a room's answer, with so many bytes of old events, may go out now; else the room is late."""
        if size and (self._state.wire.paused or size > self._left or self._behind_another(room)):
            self._state.late[room] = size
            return False
        self._left -= size
        return True

    def renew(self) -> list[str]:
        """Begin another turn, with an empty outbox; return the late rooms whose answers it has room for."""
        state, self._left = self._state, ANSWER_BYTES
        again: list[str] = []
        left = ANSWER_BYTES
        for room in state.pending if state.late else ():
            left -= state.late.get(room, 0)
            if left < 0:
                break
            if room in state.late:
                again.append(room)
        return again

    def _behind_another(self, room: str) -> bool:
        """Return whether a room that was asked before this one is late."""
        if not self._state.late:
            return False
        first = next(each for each in self._state.pending if each in self._state.late or each == room)
        return first != room
