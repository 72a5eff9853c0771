"""Room: publishers' drafts in, one order out, to everyone who is in the room.

Append -> event log -> Committed -> state and history -> at the end of the batch, one fan-out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import msgspec
import structlog

from .acceptance import Acceptance
from .alarm import ADMIN_ROOM, Alarm, Due
from .audience import Audience
from .batch import Batch
from .clearing import Clearing
from .errors import ErrorCode, LogUnavailable, PostroomError, Refusal
from .events import ACKNOWLEDGEMENT, ALERT_ACKNOWLEDGED, ALERT_ESCALATED, Draft, Event, decode_data
from .history import History
from .loop import LoopActor, handles
from .mailbox import Exit, Mailbox
from .messages import (
    Acknowledge,
    AlertDue,
    Append,
    AppendFailed,
    Arrived,
    Attach,
    CaughtUp,
    Committed,
    Detach,
    Duplicated,
    Emptied,
    Forget,
    Forgotten,
    Heard,
    Published,
    Query,
    Receipt,
    Recheck,
    Refused,
    Renewed,
    Subscribe,
    Sweep,
)
from .poison import of_append
from .questions import RoomFacts, answer
from .receipts import Receipts
from .record import PastId, RoomRecord
from .replies import Presence
from .restoring import restore
from .roll import Roll
from .room_ports import RoomPorts

__all__ = ["Room"]

log = structlog.get_logger("postroom.room")

_ALARMING = frozenset({ALERT_ACKNOWLEDGED, ALERT_ESCALATED})
_TRIM_SLACK = 256
"""A busy room trims once in so many events."""
_FAN_OUT_BYTES = 128 * 1024
"""Data of the events that leave together: more than that in one turn leaves in parts."""


class Room(LoopActor):
    """One room: its order, state, history and subscribers.

    Args:
        name: The room's name.
        record: What the log knows of it: where to go on.
        ports: What every room works with.
        mailbox: Where it lives.
    """

    retried: ClassVar[tuple[type, ...]] = (Append,)

    def __init__(self, name: str, record: RoomRecord, ports: RoomPorts, *, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._name = name
        self._ports = ports
        self._log = ports.log
        self._note = ports.ledger.note(name)
        self._clearing: Clearing | None = None
        """While it is being forgotten."""
        self._ahead: list[Subscribe] = []
        """Who waits until this room knows what they have seen."""
        self._newest_at = 0.0
        """When the last event of this batch was handed in."""
        self._started_at = ports.clock.monotonic()
        """What was handed in before that waited for the disk or a restart, not for others."""
        self._swept = False
        self._begin(record)

    def _begin(self, record: RoomRecord) -> None:
        """Take up a history, at the start or after the one before was forgotten."""
        name, ports, mailbox = self._name, self._ports, self.mailbox
        limits = ports.limits
        self._epoch = record.epoch
        self._top = record.top
        self._history = History(
            name,
            record.events,
            gone=record.gone,
            lost=record.lost,
            most=limits.history_events,
            age_s=limits.history_s,
        )
        self._state = restore(record)
        self._state_offset = record.state_offset
        ids = [PastId(event.draft.id, event.offset, event.draft.time_ms) for event in record.events]
        self._receipts = Receipts([*record.past_ids, *ids], window_s=limits.dedupe_s)
        self._acceptance = Acceptance(name, self._state)
        self._alarm = Alarm(name, self._state, ports.clock, mailbox, after_s=limits.escalate_after_s)
        self._watched = name in ports.log.watched()
        """Whether the log may have this room opened at the next start."""
        self._in_flight: dict[int, Draft] = {}
        """What this actor has handed to the log and not heard of yet, by the append's identity."""
        self._begun: Append | None = None
        """The last event that the log or its publisher was told of."""
        self._judge_anew = False
        """Whether something that was accepted will not be committed."""
        # Id of a named event that the log has not committed yet, to the retries of it that wait for that.
        self._uncommitted: dict[str, list[Append]] = {}
        page = ports.ledger.page(name)
        self._audience = Audience(
            name, mailbox, self._epoch, self._history, page, ports.tracing, ports.meters, record.first, ports.elsewhere
        )
        self._fresh: list[Event] = []
        self._fresh_bytes = 0
        self._fresh_at = 0.0
        """When the first of them was handed in."""
        self._quiet_since = ports.clock.monotonic()

    def on_start(self) -> None:
        """Send every subscriber that the ledger names on from its cursor: there are some if this room failed before."""
        self._keep_within_bounds(slack=0)  # a room that was retired has grown old
        self._revoke_former_owners()
        self._audience.resume(self._top)
        self._alarm.set()
        self._write_note()

    def on_restart(self, failure: Exit) -> None:
        """Answer who waits for the message on which the room failed, unless it is tried once more."""
        facts = {"epoch": self._epoch, "top": self._top, "subscribers": len(self._audience)}
        log.info("room_repaired", room=self._name, **facts, incident=failure.incident)
        self._ports.report(
            "repaired", incident=failure.incident, actor=self.mailbox.name, **facts, noticed=_noticed(failure)
        )
        if failure.then == "quarantine":
            poison = of_append(failure.message, self._name, self._ports.directory, self._ports.clock)
            self._refuse(failure.message, self._ports.quarantine.add(self.mailbox.name, failure, poison))
        elif failure.then == "answer":
            answer = _ANSWER_FAILED.get(type(failure.message))
            if answer is not None:
                answer(self, failure.message)

    def can_retry(self, message: Any) -> bool:
        """Tell whether neither the log nor its publisher has been told of an event yet."""
        return message is not self._begun

    def on_stop(self) -> None:
        """Leave no timer behind, and nobody who tells it anything."""
        self._alarm.cancel()
        self._audience.close()

    def _append_broke_off(self, message: Append) -> None:
        offset = self._offset_of(message.draft.id)
        if offset is not None:  # it had reached the log
            self._receipt(message, offset, duplicate=False)
        elif message.draft.delivery == "ephemeral":  # the log does not say
            self._refuse(message, _broken_off(f"{self._name} failed on this event, which may have been taken"))
        else:
            self._refuse(message, _broken_off(f"{self._name} failed on this event; it was not taken"))

    def _committed_broke_off(self, message: Committed) -> None:
        if message.event.offset <= self._top:  # else it is of a history that was forgotten since
            self._settle(message)
        else:
            self._refuse(message.append, _broken_off(f"{self._name} was deleted, and this event with it"))

    def _subscribe_broke_off(self, message: Subscribe) -> None:
        self._detach(Detach(message.connection))
        message.mailbox.tell(Refused(message.tag, _broken_off(f"{self._name} failed and has repaired itself")))

    def _acknowledge_broke_off(self, message: Acknowledge) -> None:
        refusal = _broken_off(f"{self._name} failed; its `state` says whether the alert is acknowledged")
        message.reply_to.tell(Refused(message.tag, refusal))

    def _query_broke_off(self, message: Query) -> None:
        refusal = _broken_off(f"{self._name} failed and has repaired itself; ask again")
        message.reply_to.tell(Refused(message.command, refusal))

    def _forget_broke_off(self, message: Forget) -> None:
        message.reply_to.tell(
            Refused(None, _broken_off(f"{self._name} failed and has repaired itself; order it again"))
        )

    def on_failure(self, *_exc_info: object) -> None:
        """Put retries that wait for a commit back into the mailbox: the successor knows the event from the log."""
        self._alarm.cancel()
        while self._audience.tell_attendance():  # the successor finds who is there, not who has just come
            pass
        self._audience.close()
        if self._clearing is not None:
            self._clearing.give_back(self.mailbox)
            self._clearing.break_off(self.mailbox)
        for waiting in self._uncommitted.values():
            for append in waiting:
                self.mailbox.tell(append)
        for subscribe in self._ahead:
            self.mailbox.tell(subscribe)

    # --- events

    @handles(Append)
    def _append(self, message: Append) -> None:
        if self._clearing is not None:
            self._begun = message  # it waits, and comes again
            self._clearing.held.append(message)
            return
        draft = message.draft
        if message.at:
            self._newest_at = message.at
        if message.named:
            first = self._offset_of(draft.id)
            if first is not None:
                self._begun = message
                self._receipt(message, first, duplicate=True)
                return
            waiting = self._uncommitted.get(draft.id)
            if waiting is not None:
                self._begun = message
                waiting.append(message)
                return
            poison = self._ports.quarantine.refuse(self._name, draft.id, message.reply_to)
            if poison is not None:
                self._begun = message
                self._refuse(message, poison)
                return
            self._uncommitted[draft.id] = []
        if self._judge_anew:
            self._judge_anew = False
            self._acceptance.judge_anew(self._in_flight.values())
        try:
            accepted = self._acceptance.accept(draft)
        except Refusal as refusal:
            self._begun = message
            self._refuse(message, refusal)
            return
        self._begun = message
        if accepted is not draft:
            message = message._replace(draft=accepted)
        self._commit(message)

    def _commit(self, append: Append) -> None:
        self._in_flight[id(append)] = append.draft
        try:
            self._log.append(self._name, append, self.mailbox)
        except PostroomError:  # the log's own word that it has not taken it
            self._begun = None
            raise

    @handles(Committed)
    def _committed(self, message: Committed) -> None:
        own = self._in_flight.pop(id(message.append), None) is not None
        if message.event.offset > self._top and not own:  # of a history that was forgotten while this actor started
            self._refuse(message.append, _broken_off(f"this event is gone with the history of {self._name}"))
            return
        self._take_in(message.event, named=message.append.named, at=message.append.at)
        self._settle(message)

    @handles(Arrived)
    def _arrived(self, message: Arrived) -> None:
        self._take_in(message.event, named=message.named)

    def _take_in(self, event: Event, *, named: bool, at: float = 0.0) -> None:
        """Fold a committed event into the state, and have it handed out."""
        if event.offset <= self._top:  # it was read from the log after a failure
            return
        if not self._top:
            self._audience.first = event.offset
        self._top = event.offset
        owner = self._state.owner
        self._state.fold(event)
        if self._state.owner != owner:
            self._revoke_former_owners()
        self._history.add(event)
        if named:
            self._receipts.add(event.draft.id, event.offset, event.draft.time_ms)
        if event.draft.ack or event.draft.kind in _ALARMING:
            self._watched = self._watched or event.draft.ack
            self._alarm.set()
        if event.draft.traceparent is not None:
            self._ports.tracing.committed(self._name, event)
        if not self._fresh:
            self._fresh_at = at or self._taken_at(event.draft)
        self._fresh.append(event)
        self._fresh_bytes += len(memoryview(event.draft.data))
        if self._fresh_bytes > _FAN_OUT_BYTES:
            self._fan_out()

    @handles(Duplicated)
    def _duplicated(self, message: Duplicated) -> None:
        offset, append = message
        self._in_flight.pop(id(append), None)
        for again in (append, *(self._uncommitted.pop(append.draft.id, ()) if append.named else ())):
            if append.draft.kind == ALERT_ACKNOWLEDGED and not self._acknowledged_by(again.draft):
                self._refuse_second(again)
            else:
                self._receipt(again, offset, duplicate=True)

    def _acknowledged_by(self, acknowledgement: Draft) -> bool:
        """Tell whether an acknowledgement says what happened: its alert is acknowledged, by this user."""
        data = decode_data(acknowledgement.data)
        return any(
            past["event_id"] == data["event_id"] and past["user"] == data["user"] for past in self._state.acknowledged
        )

    @handles(AppendFailed)
    def _append_failed(self, message: AppendFailed) -> None:
        append, refusal = message
        self._judge_anew = True
        if self._in_flight.pop(id(append), None) is not None:
            self._refuse(append, refusal)
        else:  # handed in by an actor that failed: what waits here under its id waits for a retry of it
            append.reply_to.tell(Refused(append.tag, refusal))

    def _offset_of(self, event_id: str) -> int | None:
        return self._receipts.find(event_id, self._now_ms())

    @handles(Acknowledge)
    def _acknowledge(self, message: Acknowledge) -> None:
        if self._clearing is not None:
            self._clearing.held.append(message)
            return
        if not message.identity.may_acknowledge(self._name, self._state.owner):
            readable = message.identity.may_subscribe(self._name, self._state.owner)
            what = "acknowledge alerts of" if readable else "read"
            refusal = Refusal(ErrorCode.FORBIDDEN, f"this token may not {what} {self._name}")
        elif message.event_id not in self._state.alerts:
            refusal = Refusal(ErrorCode.NOT_FOUND, self._no_alert(message.event_id))
        else:
            draft = self._acknowledgement(message.event_id, message.identity.user)
            self._append(Append(draft, True, message.reply_to, message.tag))
            return
        message.reply_to.tell(Refused(message.tag, refusal))

    def _no_alert(self, event_id: str) -> str:
        for past in self._state.acknowledged:
            if past["event_id"] == event_id:
                return f"alert {event_id!r} of {self._name} was acknowledged by {past['user']} at {past['time']}"
        return f"{self._name} has no unacknowledged alert {event_id!r}; `state` lists those it has"

    def _acknowledgement(self, event_id: str, user: str) -> Draft:
        return Draft(
            # The same for everyone, so that two who acknowledge at once make one event, and another one for another
            # alert of the same id.
            id=f"{event_id}@{self._state.alerts[event_id]['offset']}{ACKNOWLEDGEMENT}",
            kind=ALERT_ACKNOWLEDGED,
            time_ms=self._now_ms(),
            data=msgspec.Raw(msgspec.json.encode({"event_id": event_id, "user": user})),
        )

    @handles(AlertDue)
    def _escalate(self, message: AlertDue) -> None:
        for due, draft in self._alarm.due():
            log.warning("alert_escalated", room=self._name, event_id=due.event_id, offset=due.offset)
            admins = self._ports.directory.room(ADMIN_ROOM)
            admins.tell(Append(draft, named=True, reply_to=self.mailbox, tag=due))
        self._alarm.set()

    @handles(Published, Refused)
    def _escalation_answered(self, message: Published | Refused) -> None:
        due = message.tag
        if not isinstance(due, Due):
            return  # the answer to the room's own event
        if isinstance(message, Refused):
            self._alarm.refused(due)
            return
        escalated = self._alarm.escalated(due)
        if escalated is not None:
            self._append(Append(escalated, named=True, reply_to=self.mailbox, tag=None))

    def on_batch_end(self) -> bool:
        """Hand the events of this turn to everyone at once; where that is many, a slice at a time."""
        self._begun = None
        self._audience.forget_roll()
        if self._newest_at:
            now = self._ports.clock.monotonic()
            self._ports.pressure.waited(now - max(self._newest_at, self._started_at), now)
            self._newest_at = 0.0
        if self._fresh:
            self._fan_out()
            self._quiet_since = self._ports.clock.monotonic()
            self._keep_within_bounds(slack=_TRIM_SLACK)
        if self._audience.go_on() or self._audience.tell_attendance():
            return True
        if self._clearing is not None and self._clearing.over:
            clearing, self._clearing = self._clearing, None
            clearing.give_back(self.mailbox)
        if self._swept and self._clearing is None:
            self._swept = False
            self._retire_if_idle()
        return False

    def _fan_out(self) -> None:
        batch = Batch(self._name, self._fresh, at=self._fresh_at)
        self._fresh, self._fresh_bytes = [], 0
        self._audience.fan_out(batch)
        self._write_note()

    def _taken_at(self, draft: Draft) -> float:
        """Return when the source took an event whose publisher did not stamp it, by the monotonic clock."""
        clock = self._ports.clock
        return clock.monotonic() - max(0.0, clock.time() - draft.time_ms / 1000)

    def _write_note(self) -> None:
        note, state = self._note, self._state
        note.epoch, note.top, note.status, note.owner = self._epoch, self._top, state.status, state.owner
        note.alerts, note.last_event_ms = len(state.alerts), state.last_event_ms

    def _finish_fan_out(self) -> None:
        """Hand out what came until now, before somebody has to go."""
        if self._fresh:
            self._fan_out()
        while self._audience.go_on():
            pass

    def _settle(self, message: Committed) -> None:
        event, append = message
        self._ports.meters.took(event.draft.kind)
        self._receipt(append, event.offset, duplicate=False)
        for again in self._uncommitted.pop(event.draft.id, ()) if append.named else ():
            if event.draft.kind == ALERT_ACKNOWLEDGED and again.draft.data != event.draft.data:
                self._refuse_second(again)  # somebody else was first: both may not believe that they have the alert
            else:
                self._receipt(again, event.offset, duplicate=True)

    def _refuse_second(self, again: Append) -> None:
        event_id = decode_data(again.draft.data)["event_id"]
        again.reply_to.tell(Refused(again.tag, Refusal(ErrorCode.NOT_FOUND, self._no_alert(event_id))))

    def _receipt(self, append: Append, offset: int, *, duplicate: bool) -> None:
        receipt = Receipt(self._name, self._epoch, offset, append.draft.id, duplicate)
        append.reply_to.tell(Published(append.tag, receipt))

    def _refuse(self, append: Append, refusal: Refusal) -> None:
        append.reply_to.tell(Refused(append.tag, refusal))
        for again in self._uncommitted.pop(append.draft.id, ()) if append.named else ():
            again.reply_to.tell(Refused(again.tag, refusal))

    # --- subscribers

    @handles(CaughtUp)
    def _caught_up(self, message: CaughtUp) -> None:
        """Let those in who knew more than this room did."""
        ahead, self._ahead = self._ahead, []
        for each in ahead:
            if message.trouble is None:
                self._subscribe(each, caught_up=True)
            else:
                refusal = Refusal(ErrorCode.JOURNAL_UNAVAILABLE, str(message.trouble), retry_after_ms=1000)
                each.mailbox.tell(Refused(each.tag, refusal))

    @handles(Subscribe)
    def _subscribe(self, message: Subscribe, caught_up: bool = False) -> None:
        if self._clearing is not None:
            self._clearing.held.append(message)
            return
        identity = message.identity
        if not identity.may_subscribe(self._name, self._state.owner):
            self._audience.leave(message.connection)  # one that asks once more is here
            # In the words that the connection has for a session that was never used: nobody learns that this one was.
            refusal = Refusal(ErrorCode.FORBIDDEN, f"this token may not read {self._name}")
            message.mailbox.tell(Refused(message.tag, refusal))
            return
        after = message.after
        if after is not None and after.epoch == self._epoch and after.offset > self._top and not caught_up:
            self._ahead.append(message)  # what it has seen another router has told it: this one is behind
            if len(self._ahead) == 1:
                own = self.mailbox
                self._log.catch_up(self._name, lambda trouble: own.tell(CaughtUp(trouble)))
            return
        self._audience.join(
            message,
            top=self._top,
            by_owner=not identity.may_subscribe(self._name),
            state=self._state.view() if message.state else None,
        )

    @handles(Attach)
    def _attach(self, message: Attach) -> None:
        self._audience.attach(message.connection, message.after, self._top)

    @handles(Detach)
    def _detach(self, message: Detach) -> None:
        self._ahead = [each for each in self._ahead if each.connection != message.connection]
        self._audience.leave(message.connection)
        self._quiet_since = self._ports.clock.monotonic()

    @handles(Recheck)
    def _recheck(self, message: Recheck) -> None:
        name, owner, identity = self._name, self._state.owner, message.identity
        if identity.may_subscribe(name, owner):
            self._audience.note_rights(message.connection, by_owner=not identity.may_subscribe(name))
        else:
            self._finish_fan_out()  # what came while it was allowed
            self._audience.revoke(lambda each: each.connection == message.connection, "the new token does not allow it")

    # --- questions

    @handles(Query)
    def _query(self, message: Query) -> None:
        if self._clearing is not None:
            self._clearing.held.append(message)
            return
        command = message.command
        if not message.identity.may_subscribe(self._name, self._state.owner):
            refusal = Refusal(ErrorCode.FORBIDDEN, f"this token may not read {self._name}")
            message.reply_to.tell(Refused(command, refusal))
            return
        unused = None if self._used else Refusal(ErrorCode.NOT_FOUND, f"{self._name} has never been used")
        facts = RoomFacts(self._name, self._epoch, self._top, self._state, self._history, self._audience.roll)
        reply = answer(command, facts)
        if isinstance(reply, Presence):
            self._ports.elsewhere.call_roll(self._name, partial(_answer_with, message, reply, unused))
        else:
            message.reply_to.tell(reply if unused is None else Refused(command, unused))

    @handles(Heard)
    def _heard(self, message: Heard) -> None:
        self._audience.hear(message.news)

    def _revoke_former_owners(self) -> None:
        """Let go of those who are here as the session's owner and are not any more."""
        self._finish_fan_out()  # what came while it was theirs
        owner = self._state.owner
        self._audience.revoke(lambda each: each.by_owner and each.user != owner, "the session has another owner")
        self._quiet_since = self._ports.clock.monotonic()

    # --- forgetting

    @property
    def _used(self) -> bool:
        """Whether anything happened here, or somebody is here: some logs know that only when the room is open."""
        return bool(self._top or len(self._audience)) or self._log.known(self._name)

    @handles(Forget)
    def _forget(self, message: Forget) -> None:
        if self._clearing is not None:
            self._clearing.held.append(message)
            return
        if not self._used and not self._in_flight:
            refusal = Refusal(ErrorCode.NOT_FOUND, f"{self._name} has never been used")
            message.reply_to.tell(Refused(None, refusal))
            return
        clearing = self._clearing = Clearing(message)
        own = self.mailbox
        self._log.forget(self._name, lambda outcome: own.tell(Emptied(clearing, outcome)))

    @handles(Emptied)
    def _emptied(self, message: Emptied) -> None:
        clearing, outcome = self._clearing, message.outcome
        if clearing is None or message.clearing is not clearing:
            return  # asked for by an actor that failed; this one has asked again
        clearing.over = True
        answer: Refused | Forgotten
        if isinstance(outcome, LogUnavailable):
            answer = Refused(None, Refusal(ErrorCode.JOURNAL_UNAVAILABLE, str(outcome), retry_after_ms=1000))
        else:
            answer = Forgotten(len(self._audience))
            self._begin_anew(outcome)
        clearing.order.reply_to.tell(answer)

    @handles(Renewed)
    def _renewed(self, message: Renewed) -> None:
        in_flight, uncommitted = self._in_flight, self._uncommitted  # the log has them behind what it has forgotten
        self._begin_anew(message.record)
        self._in_flight, self._uncommitted = in_flight, uncommitted

    def _begin_anew(self, record: RoomRecord) -> None:
        """Send everybody away, after what came until then, and take up another history."""
        self._finish_fan_out()
        self._audience.revoke(lambda _each: True, "an operator removed this room")
        self._alarm.cancel()
        self._audience.close()
        self._begin(record)
        self._write_note()
        self._swept = True  # nothing ever happened in it: unless somebody waits for it, it retires at once

    # --- bounds

    @handles(Sweep)
    def _sweep(self, message: Sweep) -> None:
        self._keep_within_bounds(slack=0)
        self._receipts.forget(self._now_ms())
        self._swept = True  # it may retire when the batch is over: the messages after this one are not in the mailbox

    def _retire_if_idle(self) -> None:
        idle_s = self._ports.clock.monotonic() - self._quiet_since
        if len(self._audience) or self._ahead or self._in_flight or self._alarm.waiting:
            return
        if self._top and idle_s < self._ports.limits.idle_s:  # where nothing ever happened there is nothing to keep
            return
        if self._ports.directory.retire(self._name, self.mailbox):
            if self._state_offset < self._top or self._watched:
                self._snapshot()
            self._log.release(self._name)
            self._ports.ledger.forget(self._name)
            self.stop()

    def _keep_within_bounds(self, slack: int) -> None:
        if self._clearing is not None:
            return
        overdue = self._history.overdue(self._now_ms())
        if overdue <= slack:
            return
        if self._history.oldest(overdue)[-1].offset > self._state_offset:  # what is dropped must be in the state
            self._snapshot()
        keep = self._history.drop(overdue, [alert["offset"] for alert in self._state.alerts.values()])
        before = self._history.gone + 1
        since_ms = self._receipts.since_ms(self._now_ms())
        self._log.trim(self._name, before, lost=self._history.lost, keep=keep, ids_since_ms=since_ms)

    def _snapshot(self) -> None:
        self._state_offset = self._top
        self._watched = self._alarm.waiting
        self._log.snapshot(self._name, self._top, msgspec.json.encode(self._state), watched=self._watched)

    def _now_ms(self) -> int:
        return int(self._ports.clock.time() * 1000)


def _answer_with(query: Query, own: Presence, unused: Refusal | None, others: Roll) -> None:
    """Tell who is here and on other routers; these may answer when the room has another actor, or is closed."""
    if unused is not None and not others.present:
        query.reply_to.tell(Refused(query.command, unused))
    else:
        query.reply_to.tell(msgspec.structs.replace(own, roll=own.roll.joined(others)))


def _noticed(failure: Exit) -> str:
    """Say what others notice of a room's failure, for operators."""
    waits = failure.then != "retry" and isinstance(failure.message, Append | Subscribe | Acknowledge | Query | Forget)
    return "who sent the message that it failed on is answered; its subscribers nothing" if waits else "nothing"


def _broken_off(message: str) -> Refusal:
    return Refusal(ErrorCode.INTERNAL, message)


_ANSWER_FAILED: dict[type, Callable[[Room, Any], None]] = {
    Append: Room._append_broke_off,
    Committed: Room._committed_broke_off,
    AppendFailed: Room._append_failed,
    Subscribe: Room._subscribe_broke_off,
    Detach: Room._detach,
    Recheck: Room._recheck,
    Query: Room._query_broke_off,
    Acknowledge: Room._acknowledge_broke_off,
    Forget: Room._forget_broke_off,
}
"""What a room that follows a failed one owes to whoever waits for the message on which it failed, or relies on it."""
