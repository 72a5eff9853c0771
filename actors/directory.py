"""RoomDirectory: a room's name in, its mailbox out; opens rooms on first use, and those that were retired again.

The mailbox is there at once and takes mail; the actor moves in when the event log has handed out the room's record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec
import structlog

from .child import ChildSpec
from .clock import Clock
from .elsewhere import NOWHERE, Elsewhere
from .errors import CloseCode, ErrorCode, LogUnavailable, Refusal
from .ledger import Ledger
from .log import EventLog
from .mailbox import Exit, Mailbox
from .messages import (
    Append,
    ChildExited,
    Close,
    Committed,
    Detach,
    Published,
    Receipt,
    Recheck,
    StartChild,
    Subscribe,
    Sweep,
)
from .meters import Meters
from .pressure import Pressure
from .quarantine import Quarantine
from .record import RoomRecord
from .report import Report, unreported
from .room import Room
from .room_ports import RoomPorts
from .rooms import RoomLimits
from .subscription import Subscription
from .tracing import Tracing
from .unavailable import refuse

__all__ = ["RoomDirectory"]

log = structlog.get_logger("postroom.directory")

_NONE: Mapping[str, RoomLimits] = MappingProxyType({})
_AGAIN_S = 1.0
"""How long after a room could not be opened the next try comes, where somebody is in it."""


class RoomDirectory:
    """Which rooms are open. Used on the loop's thread only.

    Args:
        supervisor: The supervisor of the rooms.
        log: Where events are kept.
        ledger: Who is in which room.
        clock: For the rooms, and for the sweep.
        limits: How much a room holds.
        pressure: Is told how long events wait.
        quarantine: Where events go on which a room fails twice.
        report: Is told of repairs.
        apart: Rooms that hold more or less than `limits`.
        tracing: Is told of events that belong to a trace; None: nobody wants spans.
        meters: Count what rooms do; None: nobody looks at them.
        elsewhere: The same rooms on other routers.
    """

    def __init__(
        self,
        *,
        supervisor: Mailbox,
        log: EventLog,
        ledger: Ledger,
        clock: Clock,
        limits: RoomLimits,
        pressure: Pressure,
        quarantine: Quarantine,
        report: Report = unreported,
        apart: Mapping[str, RoomLimits] = _NONE,
        tracing: Tracing | None = None,
        meters: Meters | None = None,
        elsewhere: Elsewhere = NOWHERE,
    ) -> None:
        self._supervisor = supervisor
        self._log = log
        self._clock = clock
        self._ports = RoomPorts(
            log=log,
            ledger=ledger,
            clock=clock,
            directory=self,
            limits=limits,
            pressure=pressure,
            quarantine=quarantine,
            tracing=tracing or Tracing(clock),
            meters=meters if meters is not None else Meters(clock.monotonic),
            report=report,
            elsewhere=elsewhere,
        )
        self._apart = {name: msgspec.structs.replace(self._ports, limits=others) for name, others in apart.items()}
        self._rooms: dict[str, Mailbox] = {}
        self._openings: dict[str, object] = {}
        """What was last asked of the log for a room that is being opened: an answer to what was asked before is old."""
        self._given_up: set[str] = set()
        """Rooms that failed too often and have not been opened since."""
        self._sweep_every_s = max(0.05, min(limits.idle_s, limits.history_s) / 2)
        self._sweeping = False
        self._unavailable = 0
        """How often a room could not be opened since that was logged."""
        self._unavailable_logged_at = -math.inf

    def __len__(self) -> int:
        return len(self._rooms)

    def room(self, name: str) -> Mailbox:
        """Return the mailbox of a room, which is opened if need be. `name` is a valid room name."""
        mailbox = self._rooms.get(name)
        if mailbox is None:
            mailbox = Mailbox(name=f"room:{name}")
            spec = ChildSpec(
                mailbox.name,
                partial(self._start, name),
                restart="transient",
                on_give_up=partial(self._give_up, name, mailbox),
                given_up_notice="its subscribers are closed with 1011, who waits for it is refused; it is opened anew",
                rest_s=_AGAIN_S,
            )
            self._supervisor.tell(StartChild(spec, mailbox))
            self._rooms[name] = mailbox  # not before: a room that nobody starts would take mail for ever
            self._sweep_later()
        return mailbox

    def known(self, name: str) -> bool:
        """Tell whether a room is open or was ever used, as far as the log remembers."""
        return name in self._rooms or self._log.known(name)

    def retire(self, room: str, mailbox: Mailbox) -> bool:
        """Take a room off the list, unless there is mail for it: then it stays."""
        if len(mailbox) or self._rooms.get(room) is not mailbox:
            return False
        del self._rooms[room]
        return True

    def open_watched(self) -> None:
        """Open the rooms in which something waits for its time; call it once, at the start."""
        for name in list(self._log.watched()):
            self.room(name)

    def _start(self, name: str, mailbox: Mailbox) -> None:
        if self._rooms.get(name) is not mailbox:  # it had retired when it failed, or was given up before this try
            self._end(mailbox)
            return
        opening = self._openings[name] = object()
        self._log.open(name, partial(self._opened, name, mailbox, opening), mailbox)

    def _opened(self, name: str, mailbox: Mailbox, opening: object, record: RoomRecord | LogUnavailable) -> None:
        if self._openings.get(name) is not opening:
            return
        wanted = not (mailbox.closed or mailbox.occupied)
        if name in self._given_up and wanted and isinstance(record, RoomRecord):
            self._given_up.discard(name)
            if self._idle(name, mailbox):
                del self._openings[name]
                self._log.release(name)
                self._close(name, mailbox)
                return
        if wanted and isinstance(record, RoomRecord):
            ports = self._apart.get(name, self._ports)
            Room.start(name, record, ports, mailbox=mailbox)  # where that fails, the log says so by a second call
        del self._openings[name]
        if wanted and isinstance(record, LogUnavailable):
            self._could_not_open(name, mailbox, record)

    def _could_not_open(self, name: str, mailbox: Mailbox, reason: LogUnavailable) -> None:
        """Refuse what waits for the room, and try again later where somebody is in it."""
        self._log_unavailable(name, reason)
        page = self._ports.ledger.page(name)
        refusal = Refusal(ErrorCode.JOURNAL_UNAVAILABLE, str(reason), retry_after_ms=round(_AGAIN_S * 1000))
        kept = []
        for envelope in mailbox.take(len(mailbox)):
            if isinstance(envelope.message, Committed | Recheck):  # a receipt or a judgement takes the room
                kept.append(envelope)
            else:
                _drop(envelope.message, page, refusal)
        mailbox.put_back(kept)
        failed = mailbox.last_exit
        if failed is not None and not _room_must_answer(failed):
            _drop(failed.message, page, refusal)
            mailbox.last_exit = failed = None
        if page or kept or failed is not None or name in self._log.watched():
            self._clock.call_later(_AGAIN_S, lambda: self._start(name, mailbox))
        else:
            self._close(name, mailbox)

    def _give_up(self, name: str, mailbox: Mailbox, how: Exit) -> None:
        """Send everybody away from a room that fails too often. It rests, and is opened anew if anybody comes back.

        Everyone who waits has an answer, and what the log has yet to say of events waits for the next opening.
        """
        ledger = self._ports.ledger
        page = ledger.page(name)
        subscribers = list(page.values())
        page.clear()
        for subscription in subscribers:
            subscription.mailbox.tell(Close(CloseCode.GIVEN_UP, f"{name} fails too often; your positions stay good"))
        refusal = Refusal(ErrorCode.BUSY, f"{name} fails too often and rests", retry_after_ms=round(_AGAIN_S * 1000))
        unrepaired, mailbox.last_exit = mailbox.last_exit or how, None
        broken_off = Refusal(ErrorCode.INTERNAL, f"{name} failed on this; whether it took effect is unknown")
        _answer(unrepaired.message, name, ledger, broken_off if unrepaired.then == "answer" else refusal)
        letters = mailbox.take(len(mailbox))
        for envelope in letters:
            _answer(envelope.message, name, ledger, refusal)
        self._given_up.add(name)
        log.error("room_given_up", room=name, subscribers=len(subscribers), waiting=len(letters), rest_s=_AGAIN_S)

    def _idle(self, name: str, mailbox: Mailbox) -> bool:
        """Tell whether nobody has anything to do with a room that has no actor now."""
        return not (len(mailbox) or self._ports.ledger.page(name) or name in self._log.watched())

    def _close(self, name: str, mailbox: Mailbox) -> None:
        """Take a room that has no actor off the list."""
        self._given_up.discard(name)
        self._ports.ledger.forget(name)
        del self._rooms[name]
        self._end(mailbox)

    def _end(self, mailbox: Mailbox) -> None:
        """Have a room end in good order: it is opened anew when it is used again."""
        self._supervisor.tell(ChildExited(mailbox, Exit(Room.__name__, None, None, 0)))

    def _log_unavailable(self, name: str, reason: LogUnavailable) -> None:
        """Write a line, one a second at most: all rooms may be unavailable, and asked for again and again."""
        now = self._clock.monotonic()
        self._unavailable += 1
        if now >= self._unavailable_logged_at + _AGAIN_S:
            log.warning("room_unavailable", room=name, reason=str(reason), rooms_since_last=self._unavailable)
            self._unavailable, self._unavailable_logged_at = 0, now

    def _sweep_later(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._clock.call_later(self._sweep_every_s, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = False
        for mailbox in self._rooms.values():
            mailbox.tell(Sweep())
        if self._rooms:
            self._sweep_later()


def _room_must_answer(failed: Exit) -> bool:
    """Tell whether the message on which a room failed waits for the next one: what came of it only the log can tell."""
    return failed.then != "retry" and isinstance(failed.message, Append | Committed | Recheck)


def _drop(message: Any, page: dict[str, Subscription], refusal: Refusal) -> None:
    """Deal with a message to a room that cannot be opened."""
    if isinstance(message, Detach | Subscribe):  # who is refused is not in it, however far an actor had got
        page.pop(message.connection, None)
    refuse(message, refusal)


def _answer(message: Any, room: str, ledger: Ledger, refusal: Refusal) -> None:
    """Answer a message to a room that was given up: with a receipt where the event is safe, else with a refusal."""
    if isinstance(message, Committed):
        event, append = message
        receipt = Receipt(room, ledger.note(room).epoch, event.offset, event.draft.id, duplicate=False)
        append.reply_to.tell(Published(append.tag, receipt))
    else:
        _drop(message, ledger.page(room), refusal)
