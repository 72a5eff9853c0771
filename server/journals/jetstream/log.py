"""JetStreamLog: the event log of a cluster. The rooms' calls in, on the loop's thread; results out, as messages."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Callable, Collection
from functools import partial

from nats.aio.msg import Msg

from actors.clock import Clock
from actors.errors import ErrorCode, LogUnavailable, PostroomError, Refusal
from actors.histogram import Histogram
from actors.mailbox import Mailbox, Target
from actors.messages import Append, AppendFailed
from actors.record import RoomRecord
from actors.report import Report, unreported
from server.cluster.link import ApiError, Link, LinkDown, NotAnswered
from server.journals.batch import unavailable
from server.journals.faults import JournalError

from .desk import Desk, Pending
from .journal import JetStreamJournal
from .layout import Layout
from .messages import Acknowledged, Audit, LinkUp, Tick
from .reading import room_names, watched_rooms
from .records import forgotten, written
from .shelf import Opening, Shelf
from .streams import StreamError, Terms, prepare

__all__ = ["JetStreamLog"]

_MOST_APPENDS = 50_000
_MOST_BYTES = 64 * 1024 * 1024
_OVERHEAD_BYTES = 1024
"""Of a message beside what it says."""
_NAMES_S = 3.0
"""There may be very many, and somebody may turn their pages."""
_STOP_S = 3.0
_START_S = 20.0
_AGAIN_S = 0.25


class JetStreamLog:
    """An event log in NATS JetStream, which any number of routers share. An offset is a place in the stream.

    What it says is committed is stored by the stream, on as many servers as it has replicas: that outlives the end of
    this router, and of the NATS processes. Whether it outlives a power cut is NATS's own setting (`sync_interval`).

    Made, started and used on the event loop. `start` comes before anything else, `stop` after everything else.

    Policy when events come faster than NATS takes them: up to 50,000 events or 64 MiB are under way; past that an
    append is refused as `busy`. Policy while NATS is away: what is under way waits, up to half a minute, and is sent
    again under the same id; what comes in is refused as `journal_unavailable`. Rooms that are open stay so.

    Args:
        link: The connection to NATS, which has been started.
        layout: Where things are in it.
        terms: On what terms streams are made.
        clock: For time-outs.
        report: Is told of repairs.
    """

    def __init__(self, link: Link, layout: Layout, terms: Terms, *, clock: Clock, report: Report = unreported) -> None:
        self._link = link
        self._layout = layout
        self._terms = terms
        self._mailbox = Mailbox(name="journal")
        self._desk = Desk(link, layout, clock, self._mailbox, report, terms)
        self._names: Collection[str] | None = None
        self._named_at = 0.0

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written now; None: it can."""
        return self._desk.trouble or self._desk.refused

    @property
    def commits_s(self) -> Histogram:
        """How long commits took."""
        return self._desk.commits_s

    @property
    def waiting(self) -> tuple[int, int]:
        """How many events are under way, and how many bytes."""
        return len(self._desk.pending), self._desk.bytes

    async def start(self, start_child: Callable[[str, Mailbox, Callable[[Mailbox], object]], object]) -> None:
        """Make or check the streams, and begin to work.

        Args:
            start_child: Called with a name, a mailbox and a function that brings an actor to life in it: a supervisor's
                child from then on.

        Raises:
            JournalError: NATS cannot be used; says why and what to do.
        """
        desk = self._desk
        await self._prepare()
        start_child("journal", self._mailbox, lambda box: JetStreamJournal.start(desk, mailbox=box))
        self._link.on_down.append(lambda: desk.report("link_lost", reason=self._link.trouble))
        self._link.on_up.append(lambda: desk.report("link_up"))
        self._link.on_up.append(partial(self._mailbox.tell, LinkUp()))
        self._mailbox.tell(Audit())

    async def _prepare(self) -> None:
        """Make or check the streams; JetStream may be about to find a leader."""
        desk = self._desk
        reason = ""
        try:
            async with asyncio.timeout(_START_S):
                while True:
                    try:
                        found = await prepare(self._link, self._layout, self._terms)
                        desk.ident, desk.highest = found.ident, found.last
                        desk.watched = await watched_rooms(self._link, self._layout)
                        if not desk.inbox:
                            desk.inbox = self._link.inbox()
                            self._link.listen(f"{desk.inbox}.*", self._acknowledged)
                        await self._link.settled()
                        return
                    except (ApiError, NotAnswered, LinkDown) as error:
                        reason = str(error)
                        if isinstance(error, ApiError) and error.code != 503:
                            raise JournalError(f"JetStream refuses: {error}") from error
                    await asyncio.sleep(_AGAIN_S)
        except StreamError as error:
            raise JournalError(str(error)) from error
        except TimeoutError:
            raise JournalError(
                f"JetStream does not answer ({reason}): has the NATS server `jetstream` in its configuration, or been "
                "started with -js, and is the larger part of its cluster up?"
            ) from None

    async def stop(self) -> None:
        """Let what is under way be stored, and end; does no harm when it was not started, or twice."""
        desk = self._desk
        desk.closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S if desk.trouble is None else 0.0):
                await desk.rest()
        desk.cut()

    def open(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None], to: Target | None = None) -> None:
        """Read a room's record, or begin one; `ready` is called when what was appended before is stored."""
        desk = self._desk
        shelf = desk.shelves.get(room)
        if shelf is None:
            if desk.trouble is not None:
                ready(LogUnavailable(desk.trouble))
                return
            shelf = desk.shelves[room] = Shelf(room, desk.epoch(room))
        shelf.released = False
        shelf.openings.append(Opening(ready, to))
        self._mailbox.tell(Tick(shelf))

    def append(self, room: str, append: Append, to: Target) -> None:
        """Commit an event; `to` is told when it is stored, or at once that it cannot be."""
        desk = self._desk
        shelf = desk.shelves.get(room)
        if shelf is None or not shelf.whole or shelf.released:
            raise PostroomError(f"{room} is not open: open it first")
        if desk.trouble is not None:
            to.tell(AppendFailed(append, unavailable(desk.trouble)))
            return
        if len(desk.pending) >= _MOST_APPENDS or desk.bytes >= _MOST_BYTES:
            to.tell(AppendFailed(append, _BUSY))
            return
        number = desk.number = desk.number + 1
        payload = written(append.draft, named=append.named, by=desk.life, number=number)
        if len(payload) > self._link.most_bytes - _OVERHEAD_BYTES:
            most = f"{self._link.most_bytes} bytes, which is max_payload of the NATS server"
            to.tell(AppendFailed(append, Refusal(ErrorCode.TOO_LARGE, f"an event may have {most}")))
            return
        if append.draft.ack and not shelf.stored_watched:
            shelf.stored_watched = True
            desk.watched.add(room)
            self._link.send(self._layout.watched(room), b"")
        name = append.draft.id if append.named else f"{desk.life} {number}"
        digest = hashlib.blake2s(f"{shelf.epoch} {append.named:d} {room} {name}".encode(), digest_size=16)
        self._begin(Pending(number, shelf, payload, digest.hexdigest(), desk.clock.monotonic(), append=append, to=to))

    def snapshot(self, room: str, offset: int, state: bytes, *, watched: bool) -> None:
        """Keep the room's state; ignored where the room is not open."""
        shelf = self._desk.shelves.get(room)
        if shelf is not None and shelf.whole:
            shelf.state, shelf.state_offset, shelf.watched = state, offset, watched
            self._keep(shelf)

    def trim(self, room: str, before: int, *, lost: int, keep: Collection[int], ids_since_ms: int) -> None:
        """Drop old events; ignored where the room is not open."""
        shelf = self._desk.shelves.get(room)
        if shelf is not None and shelf.whole:
            shelf.drop(before, lost, keep, ids_since_ms)
            self._keep(shelf)

    def release(self, room: str) -> None:
        """Let go of a room, when what waits to be written of it is."""
        shelf = self._desk.shelves.get(room)
        if shelf is not None:
            shelf.released, shelf.to = True, None
            self._mailbox.tell(Tick(shelf))

    def forget(self, room: str, ready: Callable[[RoomRecord | LogUnavailable], None]) -> None:
        """Have all routers begin another history of a room; `ready` is called when that is stored."""
        desk = self._desk
        shelf = desk.shelves.get(room)
        if shelf is None or not shelf.whole or desk.trouble is not None:
            ready(LogUnavailable(desk.trouble or f"{room} is not open"))
            return
        number = desk.number = desk.number + 1
        payload = forgotten(secrets.token_hex(6), by=desk.life, number=number)
        self._begin(Pending(number, shelf, payload, f"{desk.life} {number}", desk.clock.monotonic(), ready=ready))

    def catch_up(self, room: str, then: Callable[[LogUnavailable | None], None]) -> None:
        """Have the room told what others have appended until now; then call `then`."""
        shelf = self._desk.shelves.get(room)
        if shelf is None or self._desk.trouble is not None:
            then(LogUnavailable(self._desk.trouble or f"{room} is not open"))
        else:
            shelf.catching_up.append(then)
            shelf.again = shelf.reading  # what is being read may be of before
            self._mailbox.tell(Tick(shelf, catch_up=True))

    def rooms(self) -> Collection[str]:
        """Return the rooms that this router has open."""
        return self._desk.shelves.keys()

    def known(self, room: str) -> bool:
        """Say that there may be a record of the room, unless it was read and there is none."""
        shelf = self._desk.shelves.get(room)
        return shelf is None or not shelf.whole or not shelf.untouched

    def watched(self) -> Collection[str]:
        """Return the rooms in which something waits for its time, as far as this router knows."""
        return self._desk.watched

    async def names(self) -> Collection[str]:
        """Ask the stream for the names of all rooms, and return them; they are a few seconds old at most.

        Raises:
            ApiError, LinkDown, NotAnswered: It cannot be asked now.
        """
        now = self._desk.clock.monotonic()
        if self._names is None or now - self._named_at > _NAMES_S:
            self._names = await room_names(self._link, self._layout)
            self._named_at = now
        return self._names

    async def look_for_watched(self) -> Collection[str]:
        """Ask the stream for the rooms in which something waits for its time, and return them.

        Raises:
            ApiError, LinkDown, NotAnswered: It cannot be asked now.
        """
        self._desk.watched |= await watched_rooms(self._link, self._layout)
        return self._desk.watched

    def _begin(self, pending: Pending) -> None:
        desk = self._desk
        desk.pending[pending.number] = pending
        desk.bytes += len(pending.payload)
        pending.shelf.pending[pending.number] = None
        desk.send(pending, at=pending.began)
        if not desk.ticking:
            desk.ticking = True
            self._mailbox.tell(Tick())

    def _keep(self, shelf: Shelf) -> None:
        if not shelf.dirty:
            shelf.dirty = True
            self._mailbox.tell(Tick(shelf))

    def _acknowledged(self, message: Msg) -> None:
        """Note that the stream has what is under way; what else it may answer is the actor's."""
        number, payload = int(message.subject.rpartition(".")[2]), message.data
        pending = self._desk.pending.get(number)
        if pending is None:  # it came out of the stream before
            return
        if message.headers is None and b'"error"' not in payload and b'"duplicate"' not in payload:
            pending.acknowledged_at = self._desk.clock.monotonic()
            self._desk.silence = None
        else:
            status = (message.headers or {}).get("Status", "")
            self._mailbox.tell(Acknowledged(number, payload, status))


_BUSY = Refusal(
    ErrorCode.BUSY,
    "more events come in than NATS takes; nothing was published, try again more slowly",
    retry_after_ms=100,
)
