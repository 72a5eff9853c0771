"""Watch: rooms in which an alert waits for its time are open somewhere. Nodes that come and go in, rooms opened out.

Each such room is one node's, which the others need not agree upon: what two routers do about an alert is done once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from actors.errors import PostroomError
from server.journals.jetstream.log import JetStreamLog

from .peers import Peers

__all__ = ["Watch"]

log = structlog.get_logger("postroom.cluster")

_AGAIN_S = 1.0


class Watch:
    """Opens this node's share of the rooms that are watched.

    Args:
        peers: Says whose a room is.
        events: Says which are watched.
    """

    def __init__(self, peers: Peers, events: JetStreamLog) -> None:
        self._peers = peers
        self._events = events
        self._open: Callable[[str], object] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._again = False

    def start(self, open: Callable[[str], object]) -> None:
        """Open those there are, and from now on those of nodes that go.

        Args:
            open: Opens a room.
        """
        self._open = open
        self._take_share(self._events.watched())
        self._peers.on_change.append(self._look)

    def stop(self) -> None:
        """Open no more."""
        if self._look in self._peers.on_change:
            self._peers.on_change.remove(self._look)
        if self._looking is not None:
            self._looking.cancel()

    def _look(self) -> None:
        """Find out what is watched by now: others know of alerts that this node has never heard of."""
        if self._looking is not None and not self._looking.done():
            self._again = True
        else:
            self._looking = asyncio.get_running_loop().create_task(self._find())

    async def _find(self) -> None:
        while True:
            self._again = False
            try:
                self._take_share(await self._events.look_for_watched())
            except PostroomError as error:
                log.warning("watched_rooms_unknown", reason=str(error), again_in_s=_AGAIN_S)
                self._again = True
            if not self._again:
                return
            await asyncio.sleep(_AGAIN_S)

    def _take_share(self, rooms: Collection[str]) -> None:
        assert self._open is not None
        for room in list(rooms):
            if self._peers.responsible(room):
                self._open(room)
