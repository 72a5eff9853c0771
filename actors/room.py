"""Room: publishers' drafts in, one order out, to everyone who is in the room.

Append -> event log -> Committed -> state and history -> at the end of the batch, one fan-out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import structlog
from pykka._envelope import Envelope

from .acceptance import Acceptance
from .batch import Batch
from .clock import Clock
from .errors import ErrorCode, Refusal
from .events import ACKNOWLEDGEMENT, ALERT_ACKNOWLEDGED, Draft, Event
from .history import History
from .ledger import Ledger, Subscription
from .log import EventLog, RoomRecord
from .loop import LoopActor, handles
from .mailbox import Exit, Mailbox
from .messages import (
    Acknowledge,
    Append,
    AppendFailed,
    Attach,
    Attached,
    Committed,
    Detach,
    Joined,
    Published,
    Query,
    Receipt,
    Refused,
    Revoke,
    Subscribe,
    Sweep,
)
from .questions import RoomFacts, answer
from .replies import Missing, RoomJoined
from .state import RoomState

__all__ = ["Retiring", "Room", "RoomLimits", "RoomPorts"]

log = structlog.get_logger("postroom.room")

_SNAPSHOT_EVERY = 256
_TRIM_SLACK = 128  # a busy room trims, and writes its state, once in so many events
_FAN_OUT_BYTES = 128 * 1024
"""Data in one answer to `history`: a client that asks for 300 large events gets the first of them, and `more`."""


class RoomLimits(msgspec.Struct, frozen=True):
    """How much a room holds."""

    history_events: int = 1000
    """Events at most."""
    history_s: float = 600.0
    """Seconds at most."""
    idle_s: float = 60.0
    """Seconds without subscribers and events after which a room retires."""


class Retiring(Protocol):
    """Whoever knows which rooms are open."""

    def retire(self, room: str, mailbox: Mailbox) -> bool:
        """Take the room off the list, unless there is mail for it."""


class RoomPorts(msgspec.Struct, frozen=True):
    """What every room works with."""

    log: EventLog
    ledger: Ledger
    clock: Clock
    directory: Retiring
    limits: RoomLimits


class Room(LoopActor):
    """One room: its order, state, history and subscribers.

    Args:
        name: The room's name.
        record: What the log knows of it: where to go on.
        ports: What every room works with.
        mailbox: Where it lives.
    """

    def __init__(self, name: str, record: RoomRecord, ports: RoomPorts, *, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._name = name
        self._epoch = record.epoch
        self._top = record.top
        self._ports = ports
        self._log = ports.log
        limits = ports.limits
        self._history = History(name, record.events, most=limits.history_events, age_s=limits.history_s)
        self._state = RoomState() if record.state is None else msgspec.json.decode(record.state, type=RoomState)
        self._state_offset = record.state_offset
        self._ids: dict[str, Event] = {event.draft.id: event for event in record.events}
        for event in record.events:
            if event.offset > record.state_offset:
                self._state.fold(event)
        self._acceptance = Acceptance(name, self._state)
        self._in_flight = 0
        # Id of a named event that the log has not committed yet, to the retries of it that wait for that.
        self._uncommitted: dict[str, list[Append]] = {}
        self._subscribers = ports.ledger.page(name)
        self._live: dict[str, Mailbox] = {}
        self._fresh: list[Event] = []
        self._fresh_bytes = 0
        self._quiet_since = ports.clock.monotonic()
        self._swept = False

    def on_start(self) -> None:
        """Send every subscriber that the ledger names on from its cursor: there are some if this room failed before."""
        self._keep_within_bounds(slack=0)  # a room that was retired has grown old
        self._revoke_former_owners()
        for subscription in self._subscribers.values():
            self._go_on(subscription, subscription.cursor)

    def on_restart(self, failure: Exit) -> None:
        """Answer who waits for the message on which the room failed."""
        log.info("room_repaired", room=self._name, epoch=self._epoch, top=self._top, subscribers=len(self._subscribers))
        answer = _ANSWER_FAILED.get(type(failure.message))
        if answer is not None:
            answer(self, failure.message)

    def _append_broke_off(self, message: Append) -> None:
        event = self._ids.get(message.draft.id)
        if event is not None:  # it had reached the log
            self._receipt(message, event, duplicate=False)
        else:
            self._refuse(message, _broken_off(f"{self._name} failed on this event; it was not taken"))

    def _subscribe_broke_off(self, message: Subscribe) -> None:
        self._detach(Detach(message.connection))
        message.mailbox.tell(Refused(message.tag, _broken_off(f"{self._name} failed and has repaired itself")))

    def _acknowledge_broke_off(self, message: Acknowledge) -> None:
        refusal = _broken_off(f"{self._name} failed; its `state` says whether the alert is acknowledged")
        message.reply_to.tell(Refused(message.tag, refusal))

    def _query_broke_off(self, message: Query) -> None:
        refusal = _broken_off(f"{self._name} failed and has repaired itself; ask again")
        message.reply_to.tell(Refused(message.command, refusal))

    def on_failure(self, *_exc_info: object) -> None:
        """Put retries that wait for a commit back into the mailbox: the successor knows the event from the log."""
        for waiting in self._uncommitted.values():
            for append in waiting:
                self.mailbox.tell(append)

    # --- events

    @handles(Append)
    def _append(self, message: Append) -> None:
        draft = message.draft
        if message.named:
            first = self._ids.get(draft.id)
            if first is not None:
                self._receipt(message, first, duplicate=True)
                return
            waiting = self._uncommitted.get(draft.id)
            if waiting is not None:
                waiting.append(message)
                return
            self._uncommitted[draft.id] = []
        try:
            accepted = self._acceptance.accept(draft)
        except Refusal as refusal:
            self._refuse(message, refusal)
            return
        if accepted is not draft:
            message = message._replace(draft=accepted)
        self._commit(message)

    def _commit(self, append: Append) -> None:
        self._in_flight += 1
        self._log.append(self._name, append, self.mailbox)

    @handles(Committed)
    def _committed(self, message: Committed) -> None:
        self._in_flight = max(0, self._in_flight - 1)  # it may be one that the actor before this one appended
        if message.event.offset > self._top:  # else it was read from the log after a failure
            event = message.event
            self._top = event.offset
            owner = self._state.owner
            self._state.fold(event)
            if self._state.owner != owner:
                self._revoke_former_owners()
            self._history.add(event)
            self._ids[event.draft.id] = event
            self._fresh.append(event)
            self._fresh_bytes += len(memoryview(event.draft.data))
        self._settle(message)
        if self._fresh_bytes > _FAN_OUT_BYTES:
            self._fan_out()

    @handles(AppendFailed)
    def _append_failed(self, message: AppendFailed) -> None:
        self._in_flight = max(0, self._in_flight - 1)
        self._acceptance.judge_by_state()
        self._refuse(message.append, message.refusal)

    @handles(Acknowledge)
    def _acknowledge(self, message: Acknowledge) -> None:
        if not message.identity.may_acknowledge(self._name, self._state.owner):
            refusal = Refusal(ErrorCode.FORBIDDEN, f"this token may not acknowledge alerts of {self._name}")
        elif message.event_id not in self._state.alerts:
            refusal = Refusal(
                ErrorCode.NOT_FOUND,
                f"{self._name} has no unacknowledged alert {message.event_id!r}; `state` lists those it has",
            )
        else:
            draft = self._acknowledgement(message.event_id, message.identity.user)
            self._append(Append(draft, True, message.reply_to, message.tag))
            return
        message.reply_to.tell(Refused(message.tag, refusal))

    def _acknowledgement(self, event_id: str, user: str) -> Draft:
        return Draft(
            # The same for everyone, so that two who acknowledge at once make one event, and another one for another
            # alert of the same id.
            id=f"{event_id}@{self._state.alerts[event_id]['offset']}{ACKNOWLEDGEMENT}",
            kind=ALERT_ACKNOWLEDGED,
            time_ms=int(self._ports.clock.time() * 1000),
            data=msgspec.Raw(msgspec.json.encode({"event_id": event_id, "user": user})),
        )

    def on_batch_end(self) -> None:
        """Hand the events of this turn to everyone at once."""
        if self._fresh:
            self._fan_out()
            self._quiet_since = self._ports.clock.monotonic()
            self._keep_within_bounds(slack=_TRIM_SLACK)
        if self._swept:
            self._swept = False
            self._retire_if_idle()

    def _fan_out(self) -> None:
        batch, self._fresh, self._fresh_bytes = Batch(self._name, self._fresh), [], 0
        envelope = Envelope(batch)  # one for all: nobody answers it
        for mailbox in self._live.values():
            mailbox.put_here(envelope)

    def _settle(self, message: Committed) -> None:
        event, append = message
        self._receipt(append, event, duplicate=False)
        for again in self._uncommitted.pop(event.draft.id, ()) if append.named else ():
            self._receipt(again, event, duplicate=True)

    def _receipt(self, append: Append, event: Event, *, duplicate: bool) -> None:
        receipt = Receipt(self._name, self._epoch, event.offset, event.draft.id, duplicate)
        append.reply_to.tell(Published(append.tag, receipt))

    def _refuse(self, append: Append, refusal: Refusal) -> None:
        append.reply_to.tell(Refused(append.tag, refusal))
        for again in self._uncommitted.pop(append.draft.id, ()) if append.named else ():
            again.reply_to.tell(Refused(again.tag, refusal))

    # --- subscribers

    @handles(Subscribe)
    def _subscribe(self, message: Subscribe) -> None:
        identity = message.identity
        if not identity.may_subscribe(self._name, self._state.owner):
            refusal = Refusal(ErrorCode.FORBIDDEN, f"this token may not subscribe to {self._name}")
            message.mailbox.tell(Refused(message.tag, refusal))
            return
        recovery, cursor, missing = self._recover(message)
        subscription = Subscription(
            room=self._name,
            room_mailbox=self.mailbox,
            connection=message.connection,
            mailbox=message.mailbox,
            user=identity.user,
            kinds=message.kinds,
            cursor=cursor,
            by_owner=not identity.may_subscribe(self._name),
        )
        self._subscribers[message.connection] = subscription
        page, more = self._history.page(cursor)
        self._set_live(subscription, not more)
        where = RoomJoined(
            epoch=self._epoch,
            offset=self._top,
            recovery=recovery,
            replay=self._history.count_after(cursor, message.kinds),
            missing=msgspec.UNSET if missing is None else missing,
            state=self._state.view() if message.state else msgspec.UNSET,
        )
        message.mailbox.tell(Joined(message.tag, subscription, where, page, more))

    def _recover(self, message: Subscribe) -> tuple[str, int, Missing | None]:
        """Return the kind of recovery, the offset to go on from and what is gone."""
        after = message.after
        if after is None:
            wanted = self._history.before(None, message.history) if message.history else []
            return "fresh", wanted[0].prev if wanted else self._top, None
        if after.epoch != self._epoch or after.offset > self._top:
            return "none", self._top, None
        oldest = self._history.first_prev(self._top)
        if after.offset >= oldest:
            return "full", after.offset, None
        return "partial", oldest, Missing(from_=after.offset + 1, to=oldest)

    @handles(Attach)
    def _attach(self, message: Attach) -> None:
        subscription = self._subscribers.get(message.connection)
        if subscription is not None:
            self._go_on(subscription, message.after)

    def _go_on(self, subscription: Subscription, after: int) -> None:
        page, more = self._history.page(after)
        self._set_live(subscription, not more)
        subscription.mailbox.tell(Attached(self._name, page, more, self._top))

    def _set_live(self, subscription: Subscription, live: bool) -> None:
        if live:
            self._live[subscription.connection] = subscription.mailbox
        else:
            self._live.pop(subscription.connection, None)

    @handles(Detach)
    def _detach(self, message: Detach) -> None:
        self._subscribers.pop(message.connection, None)
        self._live.pop(message.connection, None)
        self._quiet_since = self._ports.clock.monotonic()

    # --- questions

    @handles(Query)
    def _query(self, message: Query) -> None:
        command = message.command
        if not message.identity.may_subscribe(self._name, self._state.owner):
            refusal = Refusal(ErrorCode.FORBIDDEN, f"this token may not read {self._name}")
            message.reply_to.tell(Refused(command, refusal))
        else:
            facts = RoomFacts(
                self._name, self._epoch, self._top, self._state, self._history, self._subscribers.values()
            )
            message.reply_to.tell(answer(command, facts))

    def _revoke_former_owners(self) -> None:
        """Let go of those who are here as the session's owner and are not any more."""
        owner = self._state.owner
        for each in [each for each in self._subscribers.values() if each.by_owner and each.user != owner]:
            if self._fresh:
                self._fan_out()  # what came while it was theirs
            each.mailbox.tell(Revoke(self._name, "the session has another owner"))
            self._detach(Detach(each.connection))

    # --- bounds

    @handles(Sweep)
    def _sweep(self, message: Sweep) -> None:
        self._keep_within_bounds(slack=0)
        self._swept = True  # it may retire when the batch is over: the messages after this one are not in the mailbox

    def _retire_if_idle(self) -> None:
        idle_s = self._ports.clock.monotonic() - self._quiet_since
        if self._subscribers or self._in_flight > 0:
            return
        if self._top and idle_s < self._ports.limits.idle_s:  # where nothing ever happened there is nothing to keep
            return
        if self._ports.directory.retire(self._name, self.mailbox):
            self._snapshot()
            self._log.release(self._name)
            self._ports.ledger.forget(self._name)
            self.stop()

    def _keep_within_bounds(self, slack: int) -> None:
        overdue = self._history.overdue(self._ports.clock.time() * 1000)
        if self._top - self._state_offset >= _SNAPSHOT_EVERY or overdue > slack:
            self._snapshot()
        if overdue > slack:
            for event in self._history.after(0, overdue):
                self._ids.pop(event.draft.id, None)
            self._history.drop(overdue)
            self._log.trim(self._name, self._history.first_prev(self._top) + 1)

    def _snapshot(self) -> None:
        if self._state_offset < self._top:
            self._state_offset = self._top
            self._log.snapshot(self._name, self._top, msgspec.json.encode(self._state))


def _broken_off(message: str) -> Refusal:
    return Refusal(ErrorCode.INTERNAL, message)


_ANSWER_FAILED: dict[type, Callable[[Room, Any], None]] = {
    Append: Room._append_broke_off,
    Committed: Room._settle,
    AppendFailed: Room._append_failed,
    Subscribe: Room._subscribe_broke_off,
    Detach: Room._detach,
    Query: Room._query_broke_off,
    Acknowledge: Room._acknowledge_broke_off,
}
"""What a room that follows a failed one owes to whoever waits for the message on which it failed."""
