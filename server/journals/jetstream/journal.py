"""JetStreamJournal: the actor between the rooms and the streams. Live messages, acknowledgements and what was read in;
what each room is to know, in the stream's order, out.

An event is told of when it comes out of the stream, at its place among those of other routers. A message that names
another one before it than the last that was seen means that some are missing: they are read, and then it goes on.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import NamedTuple

import structlog
from nats.aio.msg import Msg

from actors.errors import ErrorCode, LogUnavailable, PostroomError, Refusal
from actors.loop import LoopActor, handles
from actors.mailbox import Exit, Mailbox
from actors.messages import AppendFailed, Arrived, Committed, Duplicated, Fail, Renewed
from server.cluster.link import NO_LEADER, ApiError, LinkDown, NotAnswered
from server.journals.batch import unavailable

from .desk import Desk, Pending
from .keeping import keep
from .reading import Found, Reading, last_offset, missing, read_room, snapshot_of, tops
from .records import Forgotten, Snapshot, Unreadable, read
from .shelf import Shelf
from .streams import StreamError, prepare

__all__ = ["Acknowledged", "Audit", "JetStreamJournal", "LinkUp", "Tick"]

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
_READ_AGAIN_S = (0.1, 0.2, 0.4, 0.8, 0.0)
"""Between two tries to read a room."""
_AUDIT_S = 5.0
_AUDITED = 64
"""Rooms that one question is about."""
_KEEP_S = 1.0
"""A room's snapshot is stored at most once in so long."""
_MOST_EARLY = 100_000
_UNDER_WAY = 10158
"""Error of JetStream: it was given this message before, and has not stored it yet."""
_AWAY = (ApiError, LinkDown, NotAnswered)


class Tick(NamedTuple):
    """There is something to do for a room; without one: it is time to look at what is under way."""

    shelf: Shelf | None = None
    catch_up: bool = False
    """Whether it may have missed something."""


class Acknowledged(NamedTuple):
    """The stream has answered to a message."""

    number: int
    payload: bytes
    status: str
    """Not empty: nobody is there to answer."""


class Live(NamedTuple):
    """A message was stored."""

    shelf: Shelf
    message: Msg


class Read(NamedTuple):
    """A room was read, or cannot be."""

    shelf: Shelf
    outcome: Reading | PostroomError


class Late(NamedTuple):
    """What a room had not heard of was read, or cannot be."""

    shelf: Shelf
    outcome: tuple[list[Found], Snapshot | None] | PostroomError


class Kept(NamedTuple):
    """A room's snapshot was stored, or could not be."""

    shelf: Shelf
    trouble: str | None


class Rested(NamedTuple):
    """A room's snapshot may be stored again."""

    shelf: Shelf


class LinkUp(NamedTuple):
    """There is a connection again."""


class Audit(NamedTuple):
    """It is time to look whether something was missed that nothing followed."""


class Audited(NamedTuple):
    """Where the last messages of some rooms stand."""

    tops: dict[str, int]


class Verified(NamedTuple):
    """JetStream answers, and this is the log's own id; or why it does not."""

    outcome: str | PostroomError


class Broken(NamedTuple):
    """Something that takes time ended with an error that nobody expected."""

    error: BaseException
    shelf: Shelf | None


class JetStreamJournal(LoopActor):
    """Tells rooms what comes out of the stream.

    Args:
        desk: What it works with, and goes on with after the one before it failed.
        mailbox: Where it lives.
    """

    def __init__(self, desk: Desk, *, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._desk = desk

    def on_restart(self, failure: Exit) -> None:
        """Have the room anew of whose message the actor before this one failed: nobody knows how far it got."""
        desk = self._desk
        desk.report("repaired", incident=failure.incident, actor=self.mailbox.name, noticed="nothing")
        shelf = getattr(failure.message, "shelf", None)
        if isinstance(shelf, Shelf):
            shelf.reading = shelf.writing = False
            self._have_anew(shelf)
        desk.ticking = False
        self.mailbox.tell(Tick())
        self.mailbox.tell(LinkUp())

    # --- rooms come and go

    @handles(Tick)
    def _tick(self, message: Tick) -> None:
        shelf = message.shelf
        if shelf is None:
            self._look_at_what_is_under_way()
        elif message.catch_up:
            self._catch_up(shelf)
        else:
            self._attend(shelf)

    def _attend(self, shelf: Shelf) -> None:
        """Do what is to be done for a room, as far as can be done now."""
        desk = self._desk
        if shelf.openings and not shelf.reading:
            if not shelf.whole:
                self._read(shelf)
            elif not shelf.pending:  # else they wait: what was appended before is in the record, or was not kept
                self._answer_openings(shelf)
        if shelf.dirty and not shelf.writing and desk.link.trouble is None:
            self._keep(shelf)
        if shelf.released and not (shelf.openings or shelf.pending or shelf.reading or shelf.writing):
            if shelf.dirty and not shelf.untouched:
                return
            self._close(shelf)

    def _answer_openings(self, shelf: Shelf) -> None:
        openings, shelf.openings = shelf.openings, []
        for opening in openings:
            if opening.to is not None:
                shelf.to = opening.to
            opening.ready(shelf.record())

    def _read(self, shelf: Shelf) -> None:
        desk = self._desk
        shelf.reading = True
        shelf.early.clear()
        if shelf.listening is None:
            shelf.listening = desk.link.listen(desk.layout.live(shelf.room), partial(self._hear_of, shelf))

        async def work() -> None:
            outcome: Reading | PostroomError
            for wait_s in _READ_AGAIN_S:
                try:
                    await desk.link.settled()
                    outcome = await read_room(desk.link, desk.layout, shelf.room)
                    break
                except NotAnswered as error:  # the stream may be about to have another leader
                    outcome = error
                    await asyncio.sleep(wait_s)
                except _AWAY as error:
                    outcome = error
                    break
            self.mailbox.tell(Read(shelf, outcome))

        desk.spawn(work(), partial(self._broken, shelf))

    @handles(Read)
    def _was_read(self, message: Read) -> None:
        shelf, outcome = message
        shelf.reading = False
        if isinstance(outcome, PostroomError):
            openings, shelf.openings = shelf.openings, []
            for opening in openings:
                opening.ready(LogUnavailable(str(outcome)))
            if not shelf.pending:
                self._close(shelf)
            return
        shelf.restore(outcome, self._desk.epoch(shelf.room))
        shelf.written_at = self._desk.clock.monotonic() - max(0.0, self._desk.clock.time() - outcome.written_s)
        shelf.stored_watched = shelf.watched = shelf.room in self._desk.watched
        self._settle_read(shelf, outcome)
        self._attend(shelf)
        self._hear_early(shelf)
        # What was stored before all of NATS knew that somebody listens, and is followed by nothing.
        self._look_again(shelf)

    def _settle_read(self, shelf: Shelf, reading: Reading) -> None:
        """Tell of what is under way and was read with all the rest."""
        desk = self._desk
        events = {event.offset: event for event in shelf.events}
        for found in reading.found if shelf.pending else ():
            stored = found.stored
            pending = desk.pending.get(stored.number) if stored is not None and stored.by == desk.life else None
            if pending is None:
                continue
            desk.settle(pending)
            event = events.get(found.offset)
            if pending.ready is not None:
                pending.ready(shelf.record())
            elif pending.append is not None and pending.to is not None and event is not None:
                pending.to.tell(Committed(event, pending.append))

    def _look_again(self, shelf: Shelf) -> None:
        own = self.mailbox
        self._desk.clock.call_later(_HEARD_S, lambda: own.tell(Tick(shelf, catch_up=True)))

    def _close(self, shelf: Shelf) -> None:
        if self._desk.shelves.get(shelf.room) is shelf:
            del self._desk.shelves[shelf.room]
        shelf.whole = False
        if shelf.listening is not None:
            shelf.listening.stop()
            shelf.listening = None
        self._caught_up(shelf, LogUnavailable(f"{shelf.room} is not open"))

    def _have_anew(self, shelf: Shelf) -> None:
        """Have the room's actor begin anew, with all that the stream holds then."""
        shelf.whole = False
        if shelf.to is not None:
            shelf.to.tell(Fail("the cluster's log"))
        self._caught_up(shelf, LogUnavailable(f"{shelf.room} is being read anew"))

    # --- what comes out of the stream

    def _hear_of(self, shelf: Shelf, message: Msg) -> None:
        self.mailbox.tell(Live(shelf, message))

    @handles(Live)
    def _live(self, message: Live) -> None:
        shelf, arrived = message
        headers = arrived.headers or {}
        try:
            offset, before = int(headers["Nats-Sequence"]), int(headers["Nats-Last-Sequence"])
        except (KeyError, ValueError):
            log.warning("stranger_on_live_subject", room=shelf.room)  # it does not come from the stream
            return
        if shelf.reading or not self._desk.verified:
            if len(shelf.early) >= _MOST_EARLY:  # they are read, then
                shelf.early.clear()
                shelf.again = True
            shelf.early.append((offset, before, arrived.data))
        elif shelf.whole:
            self._hear(shelf, offset, before, arrived.data)

    def _hear(self, shelf: Shelf, offset: int, before: int, payload: bytes) -> None:
        if offset <= shelf.seen:
            return
        if before != shelf.seen:
            shelf.early.append((offset, before, payload))
            self._catch_up(shelf)
            return
        try:
            found = Found(offset, read(payload, self._desk.life))
        except Unreadable as error:
            log.error("record_unreadable", room=shelf.room, what="event", offset=offset, error=str(error))
            found = Found(offset, None)
        self._tell(shelf, found, live=True)

    def _hear_early(self, shelf: Shelf) -> None:
        """Go on with what came while something was read."""
        early, shelf.early = sorted(shelf.early), []
        for place, (offset, before, payload) in enumerate(early):
            self._hear(shelf, offset, before, payload)
            if shelf.reading:
                shelf.early += early[place + 1 :]
                break
        if shelf.again and not shelf.reading:
            self._catch_up(shelf)

    def _tell(self, shelf: Shelf, found: Found, *, live: bool) -> None:
        """Tell the room of the next message, and whoever waits for it."""
        desk, stored = self._desk, found.stored
        pending = desk.pending.get(stored.number) if stored is not None and stored.by == desk.life else None
        append = None if pending is None else pending.append
        event = shelf.take(found, live=live, draft=None if append is None else append.draft)
        if pending is not None:
            desk.settle(pending)
        if isinstance(stored, Forgotten):
            desk.watched.discard(shelf.room)
            record = shelf.record()
            if pending is not None and pending.ready is not None:
                pending.ready(record)
            elif shelf.to is not None:
                shelf.to.tell(Renewed(record))
        elif event is not None and pending is not None and append is not None and pending.to is not None:
            desk.commits_s.observe(desk.clock.monotonic() - pending.began)
            pending.to.tell(Committed(event, append))
        elif event is not None and stored is not None and shelf.to is not None:
            shelf.to.tell(Arrived(event, stored.named))
        if shelf.after_top:
            self._tell_duplicates(shelf)
        if shelf.openings or shelf.dirty or shelf.released:
            self._attend(shelf)

    def _tell_duplicates(self, shelf: Shelf) -> None:
        waiting, shelf.after_top = shelf.after_top, []
        for offset, number in waiting:
            pending = self._desk.pending.get(number)
            if pending is None:
                continue
            if offset > shelf.seen:
                shelf.after_top.append((offset, number))
                continue
            self._desk.settle(pending)
            if pending.append is not None and pending.to is not None:
                pending.to.tell(Duplicated(offset, pending.append))

    # --- what was missed

    def _catch_up(self, shelf: Shelf) -> None:
        """Read what the room has not heard of."""
        desk = self._desk
        if not shelf.whole or not desk.verified or desk.shelves.get(shelf.room) is not shelf:
            return
        if shelf.reading:
            shelf.again = True
            return
        shelf.reading, shelf.again = True, False
        seen = shelf.seen

        async def work() -> None:
            outcome: tuple[list[Found], Snapshot | None] | PostroomError
            try:
                top = await last_offset(desk.link, desk.layout, shelf.room)
                found = await missing(desk.link, desk.layout, shelf.room, seen, top)
                snapshot = (await snapshot_of(desk.link, desk.layout, shelf.room))[0] if found else None
                outcome = found, snapshot
            except _AWAY as error:
                outcome = error
            self.mailbox.tell(Late(shelf, outcome))

        desk.spawn(work(), partial(self._broken, shelf))

    @handles(Late)
    def _is_late(self, message: Late) -> None:
        shelf, outcome = message
        shelf.reading = False
        if isinstance(outcome, PostroomError):
            self._caught_up(shelf, LogUnavailable(str(outcome)))
            if self._desk.link.trouble is None:  # else all is looked at when there is a connection again
                self._look_again(shelf)
            return
        found, snapshot = outcome
        news = [each for each in found if each.offset > shelf.seen]
        if news and snapshot is not None and _has_dropped(snapshot, shelf.seen, news):
            log.warning("room_too_far_behind", room=shelf.room, seen=shelf.seen, gone=snapshot.gone)
            self._have_anew(shelf)
            return
        for each in news:
            self._tell(shelf, each, live=False)
        if not shelf.again:
            self._caught_up(shelf, None)
        self._hear_early(shelf)
        self._attend(shelf)

    def _caught_up(self, shelf: Shelf, outcome: LogUnavailable | None) -> None:
        waiting, shelf.catching_up = shelf.catching_up, []
        for then in waiting:
            then(outcome)

    @handles(Audit)
    def _audit(self, message: Audit) -> None:
        """Ask where rooms stand: a live message that is lost on its way is missed only when another one follows."""
        desk, own = self._desk, self.mailbox
        if desk.closing:
            return
        desk.clock.call_later(_AUDIT_S, lambda: own.tell(Audit()))
        if desk.link.trouble is not None or not desk.verified:
            return
        self._verify()
        now = desk.clock.monotonic()
        rooms = []
        for shelf in list(desk.shelves.values()):
            if not shelf.whole:
                continue
            if not shelf.reading:
                rooms.append(shelf.room)
            if (
                shelf.revision and now - shelf.written_at > desk.terms.keep_s / 2
            ):  # it would grow too old for its stream
                shelf.dirty, shelf.written_at = True, now
                self._attend(shelf)

        async def work() -> None:
            for start in range(0, len(rooms), _AUDITED):
                try:
                    self.mailbox.tell(Audited(await tops(desk.link, desk.layout, rooms[start : start + _AUDITED])))
                except _AWAY:
                    return

        if rooms:
            desk.spawn(work(), partial(self._broken, None))

    @handles(Audited)
    def _audited(self, message: Audited) -> None:
        for room, top in message.tops.items():
            shelf = self._desk.shelves.get(room)
            if shelf is not None and top > shelf.seen:
                self._catch_up(shelf)

    # --- what goes into the stream

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
                self._tell_duplicates(pending.shelf)
                self._attend(pending.shelf)
        elif error.get("err_code") in NO_LEADER:
            desk.silence = desk.silence or f"JetStream: {error.get('description')}"
        elif error.get("err_code") == _UNDER_WAY:
            return
        elif pending.sent > 1:  # it says nothing of what became of it when it was sent before
            self._give_up(pending, _UNKNOWN)
        else:
            self._give_up(pending, unavailable(f"JetStream: {error.get('description')}"))

    def _give_up(self, pending: Pending, refusal: Refusal) -> None:
        self._desk.settle(pending)
        if pending.append is not None and pending.to is not None:
            pending.to.tell(AppendFailed(pending.append, refusal))
        elif pending.ready is not None:
            pending.ready(LogUnavailable(refusal.message))
        self._attend(pending.shelf)

    def _look_at_what_is_under_way(self) -> None:
        desk = self._desk
        desk.ticking = False
        now = desk.clock.monotonic()
        missed: dict[Shelf, None] = {}
        for pending in list(desk.pending.values()):
            if now - pending.began > _PATIENCE_S:
                self._give_up(pending, _UNKNOWN)
            elif pending.acknowledged_at:
                if now - pending.acknowledged_at > _HEARD_S:
                    missed[pending.shelf] = None
            elif desk.link.trouble is None and desk.verified:
                if now - pending.began > _SILENT_S:
                    desk.silence = desk.silence or "JetStream does not acknowledge what it is given"
                if now - pending.sent_at > _AGAIN_S:
                    desk.send(pending, at=now)
        for shelf in missed:
            self._catch_up(shelf)
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

        async def work() -> None:
            outcome: str | PostroomError
            try:
                outcome = await prepare(desk.link, desk.layout, desk.terms)
            except (*_AWAY, StreamError) as error:
                outcome = error
            self.mailbox.tell(Verified(outcome))

        desk.spawn(work(), partial(self._broken, None))

    @handles(Verified)
    def _verified(self, message: Verified) -> None:
        desk, outcome = self._desk, message.outcome
        desk.verifying = False
        if isinstance(outcome, PostroomError):
            if not isinstance(outcome, LinkDown):
                desk.silence = str(outcome)
                self._begin_ticking()
            return
        if outcome != desk.ident:
            self._begin_another_log(outcome)
        now = desk.clock.monotonic()
        if not any(now - pending.began > _SILENT_S for pending in desk.pending.values()):
            desk.silence = None
        if not desk.verified:
            desk.verified = True
            self._go_on()

    def _begin_another_log(self, ident: str) -> None:
        """Leave everything behind: where NATS has lost its files, or a stream was removed, offsets mean nothing."""
        desk = self._desk
        log.error("log_replaced", stream=desk.layout.events, rooms=len(desk.shelves))
        desk.ident = ident
        desk.watched.clear()
        for pending in list(desk.pending.values()):
            self._give_up(pending, _UNKNOWN)
        for shelf in list(desk.shelves.values()):
            openings, shelf.openings = shelf.openings, []
            to, whole = shelf.to, shelf.whole
            self._close(shelf)
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
            self._catch_up(shelf)
            self._attend(shelf)

    # --- snapshots

    def _keep(self, shelf: Shelf) -> None:
        desk = self._desk
        shelf.writing, shelf.dirty = True, False

        async def work() -> None:
            trouble = None
            try:
                await keep(desk.link, desk.layout, shelf)
            except _AWAY as error:
                trouble = str(error)
            self.mailbox.tell(Kept(shelf, trouble))

        desk.spawn(work(), partial(self._broken, shelf))

    @handles(Kept)
    def _kept(self, message: Kept) -> None:
        shelf, trouble = message
        desk, own = self._desk, self.mailbox
        if not shelf.is_watched and not shelf.stored_watched:
            desk.watched.discard(shelf.room)
        if trouble is not None:
            shelf.dirty = True
        else:
            shelf.written_at = desk.clock.monotonic()
        if shelf.released and not shelf.dirty:
            shelf.writing = False
            self._attend(shelf)
        elif not desk.closing:
            desk.clock.call_later(_KEEP_S, lambda: own.tell(Rested(shelf)))

    @handles(Rested)
    def _rested(self, message: Rested) -> None:
        message.shelf.writing = False
        self._attend(message.shelf)

    # --- what nobody expected

    def _broken(self, shelf: Shelf | None, error: BaseException) -> None:
        self.mailbox.tell(Broken(error, shelf))

    @handles(Broken)
    def _fail(self, message: Broken) -> None:
        raise message.error


def _has_dropped(snapshot: Snapshot, seen: int, news: list[Found]) -> bool:
    """Tell whether another router has dropped what was not seen here."""
    if snapshot.base > seen:
        return snapshot.gone > snapshot.base or not any(each.offset == snapshot.base for each in news)
    return snapshot.gone > seen


_UNKNOWN = Refusal(
    ErrorCode.INTERNAL,
    "NATS has not said in time whether it has this event, which may have been taken: publish it again with the same "
    "event_id",
)
