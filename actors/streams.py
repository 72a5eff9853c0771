"""Streams: what one client gets of its rooms. Batches and pages in; frames in its outbox, `Attach` to rooms out."""

from __future__ import annotations

from .batch import Batch
from .delivery import deliver, expire
from .ledger import ConnectionState
from .messages import Attach, Attached, Detach, Joined
from .replies import OldEvents
from .subscription import Subscription
from .tracing import log_delivery

__all__ = ["Streams", "leave_all"]

_LARGE = 1024 * 1024
"""So much room is as good as no limit: no batch of live events is larger."""


class Streams:
    """Keeps a client's cursors moving: live events, old ones a page at a time, and the way back after a failure.

    What does not fit into the outbox before the socket has had a chance to take it is left to the room, whose history
    has it: the client gets it as a page, and what left the history meanwhile as a `skipped` marker.

    Args:
        state: The connection's state.
    """

    __slots__ = (
        "_behind",
        "_outbox",
        "_repaired",
        "_repairing",
        "_state",
        "_subscriptions",
        "_wire",
        "replayed",
    )

    def __init__(self, state: ConnectionState) -> None:
        self._state = state
        self._outbox = state.outbox
        self._wire = state.wire
        self._subscriptions = state.subscriptions
        self._behind: set[str] = set()
        """Rooms that have more old events for this client."""
        self._repairing: dict[str, int] | None = None
        """After a failure: the rooms that have not attached this connection again, and from which offset."""
        self._repaired: dict[str, dict[str, int]] = {}
        self.replayed = 0
        """Events that the repair brought."""

    def begin(self, joined: Joined, told: OldEvents | None = None) -> None:
        """Deliver the first old events of a room that was joined, unless the client was `told` them in the answer."""
        subscription, page = joined.subscription, joined.page
        if told is not None and told.position > subscription.cursor:
            subscription.cursor = subscription.told = told.position
            page = None
        self._take_page(subscription, page, joined.more, joined.where.offset)

    def deliver(self, batch: Batch) -> None:
        """Deliver live events; where some before them are missing, have the room go on from the cursor instead."""
        subscription = self._subscriptions.get(batch.room)
        if subscription is None:
            return
        outbox = self._outbox
        hold = self._wire.paused or outbox.held > 0 or self._exceeds(self._wire.room, batch)
        if (hold or outbox.full) and not self._may_hold(hold):
            self._fall_behind(subscription)
        elif not self._deliver(subscription, batch, hold=hold) and not subscription.reattaching:
            self._reattach(subscription)  # a batch was lost with an actor; the room has it still

    def _deliver(self, subscription: Subscription, batch: Batch, *, hold: bool) -> bool:
        after = subscription.cursor
        delivered = deliver(subscription, batch, self._wire.codec, self._outbox, hold=hold)
        if batch.traced and delivered:
            log_delivery(subscription, batch, after, held=hold)
        return delivered

    def _exceeds(self, room: int, batch: Batch) -> bool:
        """Return whether a batch is more than the client may be written at once: then it goes a piece at a time."""
        return room < _LARGE and len(batch.frames(self._wire.codec)) > room

    def _may_hold(self, held: bool) -> bool:
        """Return whether there is room for what a client cannot take yet; where some is `held`, make some."""
        outbox, wire = self._outbox, self._wire
        if held and (wire.stuck or (outbox.full and not wire.writable)):
            outbox.conflate()
        if held and outbox.full and wire.writable:
            outbox.flush(wire.write)  # held for the sake of its pace alone: nobody is cut for that
        return not outbox.full

    def attached(self, message: Attached) -> bool:
        """Deliver what the room has after the cursor; return whether this was part of a repair."""
        room = message.room
        subscription = self._subscriptions.get(room)
        if subscription is None:
            return False
        subscription.reattaching = False
        if not self._state.welcomed:  # the room has failed meanwhile, and the client was not told of it yet
            self._fall_behind(subscription)
            return False
        self._take_page(subscription, message.page, message.more, message.top)
        if self._repairing is None or room not in self._repairing:
            return False
        self._repaired[room] = {"from": self._repairing.pop(room), "to": subscription.cursor}
        self.replayed += len(message.page) if message.page is not None else 0
        return True

    def catch_up(self, room: str) -> None:
        """Have the room go on from the cursor: it has sent events that were not taken."""
        subscription = self._subscriptions.get(room)
        if subscription is not None and not subscription.reattaching:
            self._reattach(subscription)

    def go_on(self) -> None:
        """Ask for the next old events of every room that has some; call it when the client has taken the last ones."""
        if self._behind and self._state.welcomed:
            for room, subscription in self._subscriptions.items():  # none: a closing connection has left them all
                if room in self._behind:
                    self._reattach(subscription)
            self._behind.clear()

    def leave(self, room: str) -> bool:
        """Leave a room; return whether it was being repaired."""
        subscription = self._subscriptions[room]
        subscription.room_mailbox.tell(Detach(self._state.id))
        del self._subscriptions[room]
        subscription.leave()
        self._behind.discard(room)
        return self._repairing is not None and self._repairing.pop(room, None) is not None

    def repair(self) -> None:
        """Have every room attach this connection again, from its cursor."""
        self._repairing = {room: subscription.cursor for room, subscription in self._subscriptions.items()}
        for subscription in self._subscriptions.values():
            self._reattach(subscription)

    def repaired(self) -> dict[str, dict[str, int]] | None:
        """Return from and to which offset each room was repaired, once, when all are attached; until then None."""
        if self._repairing is None or self._repairing:
            return None
        repaired, self._repaired, self._repairing = self._repaired, {}, None
        return repaired

    def _fall_behind(self, subscription: Subscription) -> None:
        subscription.reattaching = True
        self._behind.add(subscription.room)

    def _reattach(self, subscription: Subscription) -> None:
        subscription.reattaching = True
        subscription.room_mailbox.tell(Attach(self._state.id, subscription.cursor))

    def _take_page(self, subscription: Subscription, page: Batch | None, more: bool, top: int) -> None:
        """Deliver old events; when no more are left, everything up to `top` is known or gone."""
        if self._outbox.full or self._wire.paused:
            self._fall_behind(subscription)
            return
        hold = self._outbox.held > 0
        if page is not None:
            self._deliver(subscription, page, hold=hold)
        if more:
            self._behind.add(subscription.room)
        else:
            expire(subscription, top, self._wire.codec, self._outbox, hold=hold)


def leave_all(state: ConnectionState) -> None:
    """Leave every room: the connection is over."""
    for subscription in state.subscriptions.values():
        subscription.direct = False
        subscription.room_mailbox.tell(Detach(state.id))
    state.subscriptions.clear()
    state.late.clear()
    for mailbox, _ in state.pending.values():  # when these rooms answer, nobody may be here any more
        mailbox.tell(Detach(state.id))
