"""Layout: a cluster's name in; the names of its streams, and the subject of everything that a room has there, out.

<cluster>.room.<room>            its events, one a message              stream <CLUSTER>_EVENTS
<cluster>.live.<room>            each of them once more, as it is stored
<cluster>.state.<room>           the last snapshot                      stream <CLUSTER>_ROOMS
<cluster>.kept.<room>.<offset>   an old event that matters still
<cluster>.watched.<room>         there: something in it waits for its time
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote

__all__ = ["Layout"]

_FOR_STREAMS = re.compile(r"[^A-Z0-9-]")


class Layout:
    """Where things are.

    Args:
        cluster: The cluster's name.
    """

    def __init__(self, cluster: str) -> None:
        upper = _FOR_STREAMS.sub("-", cluster.upper())
        self.events = f"{upper}_EVENTS"
        """The stream of the events."""
        self.rooms = f"{upper}_ROOMS"
        """The stream of what else there is of rooms."""
        self.all_events = f"{cluster}.room.>"
        self.all_live = f"{cluster}.live.>"
        self.all_of_rooms = (f"{cluster}.state.>", f"{cluster}.kept.>", f"{cluster}.watched.>")
        self._cluster = cluster

    def event(self, room: str) -> str:
        """Return the subject of a room's events."""
        return f"{self._cluster}.room.{_token(room)}"

    def live(self, room: str) -> str:
        """Return the subject on which they are heard of as they are stored."""
        return f"{self._cluster}.live.{_token(room)}"

    def state(self, room: str) -> str:
        """Return the subject of the room's snapshot."""
        return f"{self._cluster}.state.{_token(room)}"

    def kept(self, room: str, offset: int | None = None) -> str:
        """Return the subject of an old event; None: of all of the room's."""
        return f"{self._cluster}.kept.{_token(room)}.{'*' if offset is None else offset}"

    def watched(self, room: str | None = None) -> str:
        """Return the subject that says that a room is watched; None: that any is."""
        return f"{self._cluster}.watched.{'*' if room is None else _token(room)}"

    @staticmethod
    def room(subject: str) -> str:
        """Return the room of a subject, its third part."""
        return unquote(subject.split(".", 3)[2])


@lru_cache(maxsize=4096)
def _token(room: str) -> str:
    """Return a room's name as one part of a subject: a dot would divide it."""
    return quote(room, safe=":").replace(".", "%2E")
