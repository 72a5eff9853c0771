"""Attendance: who came into a room and who left it in; one message a turn to those who asked to be told out.

What happens here the other routers are told, and what they tell is heard while somebody here has asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .elsewhere import Elsewhere, Hearing, News
from .mailbox import Target
from .replies import MemberJoined, MemberLeft
from .subscription import Subscription

if TYPE_CHECKING:
    from .codec import Codec

__all__ = ["Attendance", "Comings"]

_MOST_NEWS = 64
"""Comings and goings in one message; where a room fills or empties at once the others follow in the next ones."""
_SLICE = 512
"""Who is told before the loop does I/O."""


class Comings:
    """Who came and went in one turn. Immutable but for the cache of its frames.

    Args:
        room: The room's name.
        news: What happened, by connection.
    """

    __slots__ = ("_frames", "_news", "room")

    def __init__(self, room: str, news: Mapping[str, News]) -> None:
        self.room = room
        self._news = news
        self._frames: dict[Codec, tuple[dict[str, bytes], bytes]] = {}

    def __len__(self) -> int:
        return len(self._news)

    def frames(self, codec: Codec, connection: str) -> bytes:
        """Return what a connection is to read of it, which does not hear of itself."""
        if codec not in self._frames:
            apart = {each: codec.encode(reply) for each, reply in self._news.items()}
            self._frames[codec] = apart, b"".join(apart.values())
        apart, whole = self._frames[codec]
        if connection not in apart:
            return whole
        return b"".join(frame for each, frame in apart.items() if each != connection)


class Attendance:
    """Collects who comes and goes over a turn of the room, and tells it a slice at a time.

    Args:
        room: The room's name.
        subscribers: Who is in it already; nobody is told of these.
        elsewhere: The room of this name on other routers.
        mailbox: The room's mailbox, which is told what they tell.
    """

    __slots__ = (
        "_comings", "_elsewhere", "_hearing", "_listeners", "_mailbox", "_news", "_outgoing", "_room", "_waiting",
    )  # fmt: skip

    def __init__(self, room: str, subscribers: Iterable[Subscription], elsewhere: Elsewhere, mailbox: Target) -> None:
        self._room = room
        self._elsewhere = elsewhere
        self._mailbox = mailbox
        self._hearing: Hearing | None = None
        self._listeners = {each.connection: each for each in subscribers if each.presence}
        self._news: dict[str, News] = {}
        self._outgoing: dict[str, News] = {}
        """What the other routers have not been told."""
        self._comings: Comings | None = None
        """What is being told."""
        self._waiting: list[Subscription] = []
        """Who has not been told it yet."""
        self._listen()

    def enter(self, subscription: Subscription, *, again: bool) -> None:
        """Note that a connection is in the room; `again`: it was before."""
        if subscription.presence:
            self._listeners[subscription.connection] = subscription
        else:
            self._listeners.pop(subscription.connection, None)
        self._listen()
        if not again:
            self._note(subscription, MemberJoined)

    def leave(self, subscription: Subscription) -> None:
        """Note that a connection is in the room no more."""
        self._listeners.pop(subscription.connection, None)
        self._listen()
        self._note(subscription, MemberLeft)

    def hear(self, news: Iterable[News]) -> None:
        """Note who came and went on other routers."""
        for each in news:
            _add(self._news, each)

    def close(self) -> None:
        """Hear no more of others."""
        self._listeners = {}
        self._listen()

    def _listen(self) -> None:
        """Hear what other routers tell, while there is somebody to be told."""
        if self._listeners and self._hearing is None:
            self._hearing = self._elsewhere.hear(self._room, self._mailbox)
        elif not self._listeners and self._hearing is not None:
            self._hearing.stop()
            self._hearing = None

    def _note(self, subscription: Subscription, kind: type[MemberJoined | MemberLeft]) -> None:
        news = kind(room=self._room, user=subscription.user, connection=subscription.connection)
        _add(self._news, news)
        _add(self._outgoing, news)

    def go_on(self) -> bool:
        """Tell a slice of those who asked; return whether there is more to tell."""
        if self._comings is None and not self._begin():
            return False
        served, self._waiting = self._waiting[:_SLICE], self._waiting[_SLICE:]
        for subscription in served:
            if self._listeners.get(subscription.connection) is subscription:
                subscription.mailbox.tell(self._comings)
        if not self._waiting:
            self._comings = None
        return bool(self._waiting or self._news)

    def _begin(self) -> bool:
        if self._outgoing:
            outgoing, self._outgoing = list(self._outgoing.values()), {}
            for first in range(0, len(outgoing), _MOST_NEWS):
                self._elsewhere.tell(self._room, outgoing[first : first + _MOST_NEWS])
        if not self._listeners:
            self._news.clear()
        if not self._news:
            return False
        told = list(self._news)[:_MOST_NEWS]
        self._comings = Comings(self._room, {connection: self._news.pop(connection) for connection in told})
        self._waiting = list(self._listeners.values())
        return True


def _add(all_news: dict[str, News], news: News) -> None:
    if all_news.pop(news.connection, None) is None:  # else it came and went, and nobody knows
        all_news[news.connection] = news
