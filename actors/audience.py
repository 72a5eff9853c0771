"""Audience: who is in one room. Subscribers come in with a position, batches go out to all who are up to date.

The list is the ledger's, so that a room which follows a failed one finds it; who is up to date is found out anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from .attendance import Attendance
from .batch import Batch
from .elsewhere import NOWHERE, Elsewhere, News
from .errors import CloseCode
from .fan_out import FanOut
from .history import History
from .mailbox import Mailbox
from .messages import Attached, Close, Joined, Revoke, Subscribe
from .meters import Meters
from .replies import Missing, RoomJoined
from .roll import Roll
from .state import StateView
from .subscription import Subscription
from .tracing import Tracing

__all__ = ["Audience"]


class Audience:
    """The subscribers of one room.

    Args:
        room: The room's name.
        mailbox: The room's mailbox.
        epoch: The room's epoch.
        history: What those who come back get.
        page: The room's page of the ledger.
        tracing: Is told of events that belong to a trace.
        meters: Count what is written.
        first: See there.
        elsewhere: The room of this name on other routers.
    """

    def __init__(
        self,
        room: str,
        mailbox: Mailbox,
        epoch: str,
        history: History,
        page: dict[str, Subscription],
        tracing: Tracing,
        meters: Meters,
        first: int = 1,
        elsewhere: Elsewhere = NOWHERE,
    ) -> None:
        self._room = room
        self._mailbox = mailbox
        self._epoch = epoch
        self._history = history
        self.first = first
        """Offset of the first event of this history: before it, but for 0, there may have been others."""
        self._subscribers = page
        self._live: dict[str, Subscription] = {}
        """Who gets events as they come; the others are on their way through the history."""
        self._fan_out = FanOut(tracing, meters)
        self._attendance = Attendance(room, page.values(), elsewhere, mailbox)
        self._roll: Roll | None = None
        """Who is there, for those who ask in this turn; None: nobody has, or somebody came or went since."""

    def __len__(self) -> int:
        return len(self._subscribers)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(list(self._subscribers.values()))

    def roll(self) -> Roll:
        """Return who is there: the same roll until somebody comes or goes, or the turn ends."""
        if self._roll is None:
            self._roll = Roll(self._subscribers.values())
        return self._roll

    def forget_roll(self) -> None:
        """Let go of the roll, and of what was written of it: the turn ends."""
        self._roll = None

    def join(self, message: Subscribe, *, top: int, by_owner: bool, state: StateView | None) -> None:
        """Let a connection in and tell it `Joined`: its position, the state at it, and the first old events."""
        recovery, cursor, missing = self._recover(message, top)
        conflate_to = top if message.after is not None else 0
        replay = self._history.count_after(cursor, conflate_to, message.kinds)
        if recovery == "fresh" and not replay:
            cursor = top  # of the last events none is wanted: the answer's offset is the position
        subscription = Subscription(
            room=self._room,
            room_mailbox=self._mailbox,
            connection=message.connection,
            mailbox=message.mailbox,
            user=message.identity.user,
            kinds=message.kinds,
            cursor=cursor,
            by_owner=by_owner,
            epoch=self._epoch,
            conflate_to=conflate_to,
            presence=message.presence,
        )
        again = message.connection in self._subscribers
        self._subscribers[message.connection] = subscription
        self._roll = None
        self._attendance.enter(subscription, again=again)
        page, more = self._history.page(cursor, subscription.conflate_to)
        self._set_live(subscription, not more)
        where = RoomJoined(
            epoch=self._epoch,
            offset=top,
            recovery=recovery,
            replay=replay,
            missing=msgspec.UNSET if missing is None else missing,
            state=msgspec.UNSET if state is None else state,
        )
        message.mailbox.tell(Joined(message.tag, subscription, where, page, more))

    def attach(self, connection: str, after: int, top: int) -> None:
        """Have a connection go on after an offset: the next page, and live from there on unless there is more."""
        subscription = self._subscribers.get(connection)
        if subscription is not None:
            self._go_on(subscription, after, top)

    def resume(self, top: int) -> None:
        """Have everyone go on from where they are: the room follows one that failed.

        Where it came back under another epoch their positions mean nothing any more: they are sent away, come back with
        those positions, and are told so.
        """
        for subscription in self:
            if subscription.epoch == self._epoch:
                self._go_on(subscription, subscription.cursor, top)
            else:
                subscription.mailbox.tell(Close(CloseCode.GIVEN_UP, f"the history of {self._room} was lost"))
                self.leave(subscription.connection)

    def fan_out(self, batch: Batch) -> None:
        """Begin to hand live events to all who are up to date: `go_on` does it."""
        self._fan_out.add(batch)

    def go_on(self) -> bool:
        """Hand out as much of what was begun as may be done in one go; return whether there is more."""
        return self._fan_out.go_on(self._live.values())

    def tell_attendance(self) -> bool:
        """Tell some of those who asked who came and went; return whether there is more to tell."""
        return self._attendance.go_on()

    def hear(self, news: Iterable[News]) -> None:
        """Note who came into the room, and left it, on other routers."""
        self._attendance.hear(news)

    def close(self) -> None:
        """Hear no more of other routers: the actor ends, or another audience follows."""
        self._attendance.close()

    def leave(self, connection: str) -> None:
        """Let a connection go."""
        subscription = self._subscribers.pop(connection, None)
        self._live.pop(connection, None)
        if subscription is not None:
            self._roll = None
            self._attendance.leave(subscription)

    def revoke(self, unwanted: Callable[[Subscription], bool], reason: str) -> None:
        """Send away those for whom `unwanted` holds."""
        for subscription in self:
            if unwanted(subscription):
                subscription.mailbox.tell(Revoke(self._room, reason))
                self.leave(subscription.connection)

    def note_rights(self, connection: str, *, by_owner: bool) -> None:
        """Note whether only the ownership of the session allows a connection to be here."""
        subscription = self._subscribers.get(connection)
        if subscription is not None:
            subscription.by_owner = by_owner

    def _recover(self, message: Subscribe, top: int) -> tuple[str, int, Missing | None]:
        """Return the kind of recovery, the offset to go on from and what is gone."""
        after = message.after
        if after is None:
            wanted = self._history.before(None, message.history) if message.history else []
            return "fresh", wanted[0].prev if wanted else top, None
        if after.epoch != self._epoch or after.offset > top:
            return "none", top, None
        lost = self._history.lost
        if 0 < after.offset < self.first:  # of a history that the log may have forgotten, as far as it can tell
            lost = max(lost, self.first - 1)
        if after.offset >= lost:
            return "full", after.offset, None
        return "partial", lost, Missing(from_=after.offset + 1, to=lost)

    def _go_on(self, subscription: Subscription, after: int, top: int) -> None:
        page, more = self._history.page(after, subscription.conflate_to)
        self._set_live(subscription, not more)
        subscription.mailbox.tell(Attached(self._room, page, more, top))

    def _set_live(self, subscription: Subscription, live: bool) -> None:
        if live:
            self._live[subscription.connection] = subscription
        else:
            self._live.pop(subscription.connection, None)
