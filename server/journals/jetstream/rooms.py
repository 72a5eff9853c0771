"""OpenRooms: what comes out of the stream in; what each room that is open here is to know, in the stream's order, out.

An event is told of when it comes out of the stream, at its place among those of other routers. A message that names
another one before it than the last that was seen means that some are missing: they are read, and then it goes on.
"""

from __future__ import annotations

import asyncio
from functools import partial

import structlog
from nats.aio.msg import Msg

from actors.errors import ErrorCode, LogUnavailable, PostroomError, Refusal
from actors.mailbox import Mailbox
from actors.messages import AppendFailed, Arrived, Committed, Duplicated, Fail, Renewed
from server.cluster.link import AWAY, NotAnswered
from server.journals.operations import hand_over

from .desk import Desk
from .keeping import keep
from .messages import Broken, Kept, Late, Live, Read, Rested, Tick
from .reading import Found, Reading, last_offset, missing, read_room, snapshot_of
from .records import Forgotten, Snapshot, Unreadable, read
from .shelf import Shelf

__all__ = ["OpenRooms"]

log = structlog.get_logger("postroom.journal")

_LOOK_AGAIN_S = 0.3
"""So long after a room was read it is looked at again."""
_READ_AGAIN_S = (0.1, 0.2, 0.4, 0.8, 0.0)
"""Between two tries to read a room."""
_KEEP_S = 1.0
"""A room's snapshot is stored at most once in so long."""
_MOST_EARLY = 100_000


class OpenRooms:
    """The rooms that are open here.

    Args:
        desk: What the log works with.
        mailbox: Of the log's actor, which calls all this in its turn.
    """

    def __init__(self, desk: Desk, mailbox: Mailbox) -> None:
        self._desk = desk
        self._mailbox = mailbox

    def attend(self, shelf: Shelf) -> None:
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
            self.close(shelf)

    def _answer_openings(self, shelf: Shelf) -> None:
        openings, shelf.openings = shelf.openings, []
        for opening in openings:
            if opening.to is not None:
                shelf.to = opening.to
            hand_over(shelf.room, opening.ready, shelf.record())

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
                    async with desk.reading_slots:
                        await desk.link.settled()
                        outcome = await read_room(desk.link, desk.layout, shelf.room)
                    break
                except NotAnswered as error:  # the stream may be about to have another leader
                    outcome = error
                    await asyncio.sleep(wait_s)
                except AWAY as error:
                    outcome = error
                    break
            self._mailbox.tell(Read(shelf, outcome))

        desk.spawn(work(), partial(self.broken, shelf))

    def was_read(self, message: Read) -> None:
        shelf, outcome = message
        shelf.reading = False
        if isinstance(outcome, PostroomError):
            openings, shelf.openings = shelf.openings, []
            for opening in openings:
                opening.ready(LogUnavailable(str(outcome)))
            if not shelf.pending:
                self.close(shelf)
            return
        shelf.restore(outcome, self._desk.epoch(shelf.room))
        self._desk.highest = max(self._desk.highest, shelf.seen)
        shelf.written_at = self._desk.clock.monotonic() - max(0.0, self._desk.clock.time() - outcome.written_s)
        shelf.stored_watched = shelf.watched = shelf.room in self._desk.watched
        self._settle_read(shelf, outcome)
        self.attend(shelf)
        self._hear_early(shelf)
        # What was stored before all of NATS knew that somebody listens, and is followed by nothing.
        self._look_again(shelf)

    def _settle_read(self, shelf: Shelf, reading: Reading) -> None:
        """Tell of what is under way and was read with all the rest."""
        desk = self._desk
        events = {event.offset: event for event in shelf.events}
        for found in reading.found if shelf.pending else ():
            pending = desk.under_way(found.stored)
            if pending is None:
                continue
            desk.settle(pending)
            event = events.get(found.offset)
            if pending.ready is not None:
                hand_over(shelf.room, pending.ready, shelf.record())
            elif pending.append is not None and pending.to is not None and event is not None:
                pending.to.tell(Committed(event, pending.append))

    def _look_again(self, shelf: Shelf) -> None:
        own = self._mailbox
        self._desk.clock.call_later(_LOOK_AGAIN_S, lambda: own.tell(Tick(shelf, catch_up=True)))

    def close(self, shelf: Shelf) -> None:
        if self._desk.shelves.get(shelf.room) is shelf:
            del self._desk.shelves[shelf.room]
        shelf.whole = False
        if shelf.listening is not None:
            shelf.listening.stop()
            shelf.listening = None
        self._caught_up(shelf, LogUnavailable(f"{shelf.room} is not open"))

    def have_anew(self, shelf: Shelf) -> None:
        """Have the room's actor begin anew, with all that the stream holds then."""
        shelf.whole = False
        if shelf.to is not None:
            shelf.to.tell(Fail("the cluster's log"))
        self._caught_up(shelf, LogUnavailable(f"{shelf.room} is being read anew"))

    def _hear_of(self, shelf: Shelf, message: Msg) -> None:
        self._mailbox.tell(Live(shelf, message))

    def hear_live(self, message: Live) -> None:
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
            self.catch_up(shelf)
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
            self.catch_up(shelf)

    def _tell(self, shelf: Shelf, found: Found, *, live: bool) -> None:
        """Tell the room of the next message, and whoever waits for it."""
        desk, stored = self._desk, found.stored
        pending = desk.under_way(stored)
        append = None if pending is None else pending.append
        desk.highest = max(desk.highest, found.offset)
        event = shelf.take(found, live=live, draft=None if append is None else append.draft)
        if pending is not None:
            desk.settle(pending)
            if event is not None and event.draft.ack:
                shelf.dirty = True  # that the room is watched was said without waiting for an answer
        if isinstance(stored, Forgotten):
            desk.watched.discard(shelf.room)
            record = shelf.record()
            if pending is not None and pending.ready is not None:
                hand_over(shelf.room, pending.ready, record)
            elif shelf.to is not None:
                shelf.to.tell(Renewed(record))
        elif event is not None and pending is not None and append is not None and pending.to is not None:
            desk.commits_s.observe(desk.clock.monotonic() - pending.began)
            desk.took()
            pending.to.tell(Committed(event, append))
        elif event is not None and stored is not None and shelf.to is not None:
            shelf.to.tell(Arrived(event, stored.named))
        if shelf.after_top:
            self.tell_duplicates(shelf)
        if shelf.openings or shelf.dirty or shelf.released:
            self.attend(shelf)

    def tell_duplicates(self, shelf: Shelf) -> None:
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
                gone = offset <= shelf.base
                pending.to.tell(AppendFailed(pending.append, _GONE) if gone else Duplicated(offset, pending.append))

    def catch_up(self, shelf: Shelf) -> None:
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
                async with desk.reading_slots:
                    top = await last_offset(desk.link, desk.layout, shelf.room)
                    found = await missing(desk.link, desk.layout, shelf.room, seen, top)
                    snapshot = (await snapshot_of(desk.link, desk.layout, shelf.room))[0] if found else None
                outcome = found, snapshot
            except AWAY as error:
                outcome = error
            self._mailbox.tell(Late(shelf, outcome))

        desk.spawn(work(), partial(self.broken, shelf))

    def is_late(self, message: Late) -> None:
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
            self.have_anew(shelf)
            self.attend(shelf)
            return
        for each in news:
            self._tell(shelf, each, live=False)
        if not shelf.again:
            self._caught_up(shelf, None)
        shelf.early = sorted(each for each in shelf.early if each[0] > shelf.seen)
        if not news and shelf.early and shelf.early[0][1] != shelf.seen:
            shelf.early.clear()  # the stream does not hold what is missing before them: it may have been removed
            self._look_again(shelf)
        self._hear_early(shelf)
        self.attend(shelf)

    def _caught_up(self, shelf: Shelf, outcome: LogUnavailable | None) -> None:
        waiting, shelf.catching_up = shelf.catching_up, []
        for then in waiting:
            then(outcome)

    def _keep(self, shelf: Shelf) -> None:
        desk = self._desk
        shelf.writing, shelf.dirty = True, False

        async def work() -> None:
            trouble = None
            try:
                await keep(desk.link, desk.layout, shelf)
            except AWAY as error:
                trouble = str(error)
            self._mailbox.tell(Kept(shelf, trouble))

        desk.spawn(work(), partial(self.broken, shelf))

    def was_kept(self, message: Kept) -> None:
        shelf, trouble = message
        desk, own = self._desk, self._mailbox
        if not shelf.is_watched and not shelf.stored_watched:
            desk.watched.discard(shelf.room)
        if trouble is not None:
            shelf.dirty = True
        else:
            shelf.written_at = desk.clock.monotonic()
        if shelf.released and not shelf.dirty:
            shelf.writing = False
            self.attend(shelf)
        elif not desk.closing:
            desk.clock.call_later(_KEEP_S, lambda: own.tell(Rested(shelf)))

    def has_rested(self, message: Rested) -> None:
        message.shelf.writing = False
        self.attend(message.shelf)

    def broken(self, shelf: Shelf | None, error: BaseException) -> None:
        self._mailbox.tell(Broken(error, shelf))


_GONE = Refusal(
    ErrorCode.INTERNAL, "this event was taken before, and is gone: the room was deleted meanwhile; publish it again"
)


def _has_dropped(snapshot: Snapshot, seen: int, news: list[Found]) -> bool:
    """Tell whether another router has dropped what was not seen here."""
    if snapshot.base > seen:
        return snapshot.gone > snapshot.base or not any(each.offset == snapshot.base for each in news)
    return snapshot.gone > seen
