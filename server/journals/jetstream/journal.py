"""JetStreamJournal: the actor between the rooms and the streams. Acknowledgements, live messages and what was read in;
commits, and what other routers have appended, out.
"""

from __future__ import annotations

import contextlib
import json
from functools import partial

import structlog

from actors.errors import ErrorCode, LogUnavailable, PostroomError, Refusal
from actors.loop import LoopActor, handles
from actors.mailbox import Exit, Mailbox
from actors.messages import AppendFailed, Fail
from server.cluster.link import AWAY, NO_LEADER, LinkDown
from server.journals.batch import unavailable

from .desk import Desk, Pending
from .messages import Acknowledged, Audit, Audited, Broken, Kept, Late, LinkUp, Live, Read, Rested, Tick, Verified
from .reading import tops
from .rooms import OpenRooms
from .shelf import Shelf
from .streams import Log, StreamError, prepare, renew

__all__ = ["JetStreamJournal"]

log = structlog.get_logger("postroom.journal")

_TICK_S = 0.25
_SILENT_S = 1.5
"""So long nothing is acknowledged: nothing more is taken until something is."""
_AGAIN_S = 1.0
"""After so long what is not acknowledged is sent again."""
_PATIENCE_S = 30.0
"""How long something may be under way: well within what the stream remembers the ids of."""
_HEARD_S = 0.3
"""So long after the stream has acknowledged an event it must have been heard of, or it is looked for."""
_AUDIT_S = 5.0
_AUDITED = 64
"""Rooms that one question is about."""
_OLD_LEADER_S = 15.0
_UNDER_WAY = 10158
"""Error of JetStream: it was given this message before, and has not stored it yet."""


class JetStreamJournal(LoopActor):
    """Has events stored, and rooms told of them.

    Args:
        desk: What it works with, and goes on with after the one before it failed.
        mailbox: Where it lives.
    """

    def __init__(self, desk: Desk, *, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._desk = desk
        self._rooms = OpenRooms(desk, mailbox)

    def on_restart(self, failure: Exit) -> None:
        """Have the room anew of whose message the actor before this one failed: nobody knows how far it got."""
        desk = self._desk
        desk.report("repaired", incident=failure.incident, actor=self.mailbox.name, noticed="nothing")
        shelf = getattr(failure.message, "shelf", None)
        if isinstance(shelf, Shelf):
            shelf.reading = shelf.writing = False
            self._rooms.have_anew(shelf)
        desk.ticking = False
        self.mailbox.tell(Tick())
        self.mailbox.tell(LinkUp())

    @handles(Tick)
    def _tick(self, message: Tick) -> None:
        shelf = message.shelf
        if shelf is None:
            self._look_at_what_is_under_way()
        elif message.catch_up:
            self._rooms.catch_up(shelf)
        else:
            self._rooms.attend(shelf)

    # --- rooms

    @handles(Live)
    def _live(self, message: Live) -> None:
        self._rooms.hear_live(message)

    @handles(Read)
    def _was_read(self, message: Read) -> None:
        self._rooms.was_read(message)

    @handles(Late)
    def _is_late(self, message: Late) -> None:
        self._rooms.is_late(message)

    @handles(Kept)
    def _was_kept(self, message: Kept) -> None:
        self._rooms.was_kept(message)

    @handles(Rested)
    def _has_rested(self, message: Rested) -> None:
        self._rooms.has_rested(message)

    @handles(Audit)
    def _audit(self, message: Audit) -> None:
        """Look after what nothing else would show: another log, a live message that was lost, a snapshot grown old."""
        desk, own = self._desk, self.mailbox
        if desk.closing:
            return
        desk.clock.call_later(_AUDIT_S, lambda: own.tell(Audit()))
        if desk.link.trouble is None and desk.verified:
            self._verify()
            self._ask_tops()
            old = desk.clock.monotonic() - desk.terms.keep_s / 2
            for shelf in list(desk.shelves.values()):
                if shelf.whole and shelf.revision and shelf.written_at < old:
                    shelf.dirty = True
                    self._rooms.attend(shelf)

    def _ask_tops(self) -> None:
        """Ask where all rooms stand: a message that is lost on its way is missed only when another one follows."""
        desk = self._desk
        rooms = [shelf.room for shelf in desk.shelves.values() if shelf.whole and not shelf.reading]

        async def work() -> None:
            for start in range(0, len(rooms), _AUDITED):
                try:
                    found = await tops(desk.link, desk.layout, rooms[start : start + _AUDITED])
                except AWAY:
                    return
                self.mailbox.tell(Audited(found))

        if rooms:
            desk.spawn(work(), partial(self._rooms.broken, None))

    @handles(Audited)
    def _audited(self, message: Audited) -> None:
        for room, top in message.tops.items():
            shelf = self._desk.shelves.get(room)
            if shelf is not None and top > shelf.seen:
                self._rooms.catch_up(shelf)

    @handles(Acknowledged)
    def _acknowledged(self, message: Acknowledged) -> None:
        desk = self._desk
        pending = desk.pending.get(message.number)
        if pending is None:
            return
        if message.status:  # it is sent again
            desk.silence = desk.silence or "JetStream has no leader now"
            return
        answer = json.loads(message.payload)
        error = answer.get("error")
        if error is None:
            desk.silence = None
            pending.acknowledged_at = desk.clock.monotonic()
            if answer.get("duplicate"):
                pending.shelf.after_top.append((int(answer["seq"]), pending.number))
                self._rooms.tell_duplicates(pending.shelf)
                self._rooms.attend(pending.shelf)
        elif error.get("err_code") in NO_LEADER:
            desk.silence = desk.silence or f"JetStream: {error.get('description')}"
        elif error.get("err_code") == _UNDER_WAY:
            return
        elif pending.sent > 1:  # it says nothing of what became of it when it was sent before
            self._give_up(pending, _UNKNOWN)
        else:
            desk.refuse(f"JetStream: {error.get('description')}")
            self._give_up(pending, unavailable(f"JetStream: {error.get('description')}"))

    def _give_up(self, pending: Pending, refusal: Refusal) -> None:
        self._desk.settle(pending)
        if pending.append is not None and pending.to is not None:
            pending.to.tell(AppendFailed(pending.append, refusal))
        elif pending.ready is not None:
            pending.ready(LogUnavailable(refusal.message))
        self._rooms.attend(pending.shelf)

    def _look_at_what_is_under_way(self) -> None:
        desk = self._desk
        desk.ticking = False
        now = desk.clock.monotonic()
        missed: dict[Shelf, None] = {}
        backlog = desk.link.backlog  # what is in it need not be in it twice
        for pending in list(desk.pending.values()):
            if now - pending.began > _PATIENCE_S:
                self._give_up(pending, _UNKNOWN)
            elif pending.acknowledged_at:
                if now - pending.acknowledged_at > _HEARD_S:
                    missed[pending.shelf] = None
            elif desk.link.trouble is None and desk.verified:
                if now - pending.began > _SILENT_S:
                    desk.silence = desk.silence or "JetStream does not acknowledge what it is given"
                if now - pending.sent_at > _AGAIN_S and not backlog:
                    desk.send(pending, at=now)
        for shelf in missed:
            self._rooms.catch_up(shelf)
        if desk.silence is not None or not desk.verified:
            self._verify()
        if desk.pending or desk.silence is not None or not desk.verified:
            self._begin_ticking()

    def _begin_ticking(self) -> None:
        desk, own = self._desk, self.mailbox
        if not desk.ticking and not desk.closing:
            desk.ticking = True
            desk.clock.call_later(_TICK_S, lambda: own.tell(Tick()))

    def _verify(self) -> None:
        """Look whether JetStream answers, and has the log that it had before."""
        desk = self._desk
        if desk.verifying or desk.link.trouble is not None:
            return
        desk.verifying = True
        seen = desk.highest

        async def work() -> None:
            outcome: Log | PostroomError
            try:
                outcome = await prepare(desk.link, desk.layout, desk.terms, desk.ident)
            except (*AWAY, StreamError) as error:
                outcome = error
            self.mailbox.tell(Verified(outcome, seen))

        desk.spawn(work(), partial(self._rooms.broken, None))

    @handles(Verified)
    def _verified(self, message: Verified) -> None:
        desk, outcome = self._desk, message.outcome
        desk.verifying = False
        if isinstance(outcome, PostroomError):
            if not isinstance(outcome, LinkDown):
                desk.silence = str(outcome)
                self._begin_ticking()
            return
        now = desk.clock.monotonic()
        if outcome.ident != desk.ident:
            self._begin_another_log(outcome.ident)
        elif outcome.last < message.seen:
            self._goes_back(outcome, now)
            return
        desk.back_since = None
        desk.highest = max(desk.highest, outcome.last)
        if not any(now - pending.began > _SILENT_S for pending in desk.pending.values()):
            desk.silence = None
        if not desk.verified:
            desk.verified = True
            self._go_on()

    def _goes_back(self, found: Log, now: float) -> None:
        """Have the log count as another one, where its stream has lost messages: it gives their offsets to others now.

        A leader that does not know yet that it is none any more may look like that for a while.
        """
        desk = self._desk
        if desk.back_since is None:
            desk.back_since = now
        desk.silence = "NATS has lost events that it had: its stream has gone back"
        if found.replicas == 1 or now - desk.back_since > _OLD_LEADER_S:
            desk.back_since = None
            desk.verifying = True

            async def work() -> None:
                with contextlib.suppress(*AWAY):  # it is tried again, when it has been looked at again
                    await renew(desk.link, desk.layout)
                desk.verifying = False

            desk.spawn(work(), partial(self._rooms.broken, None))
        self._begin_ticking()

    def _begin_another_log(self, ident: str) -> None:
        """Leave everything behind: where NATS has lost its files, or a stream was removed, offsets mean nothing."""
        desk = self._desk
        log.error("log_replaced", stream=desk.layout.events, rooms=len(desk.shelves))
        desk.ident = ident
        desk.highest = 0
        desk.watched.clear()
        for pending in list(desk.pending.values()):
            self._give_up(pending, _UNKNOWN)
        for shelf in list(desk.shelves.values()):
            openings, shelf.openings = shelf.openings, []
            to, whole = shelf.to, shelf.whole
            self._rooms.close(shelf)
            for opening in openings:
                opening.ready(LogUnavailable("the log was replaced by an empty one"))
            if to is not None and whole and not openings:
                to.tell(Fail("the cluster's log, which was replaced by an empty one"))

    @handles(LinkUp)
    def _link_is_up(self, message: LinkUp) -> None:
        self._desk.verified = self._desk.verifying = False
        self._verify()

    def _go_on(self) -> None:
        """Send what is under way once more, and look what was missed."""
        desk = self._desk
        now = desk.clock.monotonic()
        for pending in desk.pending.values():
            pending.acknowledged_at = 0.0
            desk.send(pending, at=now)
        for shelf in list(desk.shelves.values()):
            if shelf.early or shelf.catching_up:
                self._rooms.catch_up(shelf)
            self._rooms.attend(shelf)
        self._ask_tops()

    @handles(Broken)
    def _fail(self, message: Broken) -> None:
        raise message.error


_UNKNOWN = Refusal(
    ErrorCode.INTERNAL,
    "NATS has not said in time whether it has this event, which may have been taken: publish it again with the same "
    "event_id",
)
