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
from .errors import ErrorCode, LogUnavailable, Refusal
from .ledger import Ledger
from .log import EventLog, RoomRecord
from .mailbox import Exit, Mailbox
from .messages import Append, ChildExited, Committed, Detach, Recheck, StartChild, Subscribe, Sweep
from .pressure import Pressure
from .report import Report, unreported
from .room import Room, RoomLimits, RoomPorts
from .subscription import Subscription
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
        report: Is told of repairs.
        apart: Rooms that hold more or less than `limits`.
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
        report: Report = unreported,
        apart: Mapping[str, RoomLimits] = _NONE,
    ) -> None:
        self._supervisor = supervisor
        self._log = log
        self._clock = clock
        self._ports = RoomPorts(
            log=log, ledger=ledger, clock=clock, directory=self, limits=limits, pressure=pressure, report=report
        )
        self._apart = {name: msgspec.structs.replace(self._ports, limits=others) for name, others in apart.items()}
        self._rooms: dict[str, Mailbox] = {}
        self._openings: dict[str, object] = {}
        """What was last asked of the log for a room that is being opened: an answer to what was asked before is old."""
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
            spec = ChildSpec(mailbox.name, partial(self._start, name), restart="transient")
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
        self._log.open(name, partial(self._opened, name, mailbox, opening))

    def _opened(self, name: str, mailbox: Mailbox, opening: object, record: RoomRecord | LogUnavailable) -> None:
        if self._openings.get(name) is not opening:
            return
        wanted = not (mailbox.closed or mailbox.occupied)
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
        if failed is not None and not isinstance(failed.message, Append | Committed | Recheck):
            _drop(failed.message, page, refusal)
            mailbox.last_exit = failed = None
        # Whether the event that it failed on was taken only the log can tell.
        if page or kept or failed is not None or name in self._log.watched():
            self._clock.call_later(_AGAIN_S, lambda: self._start(name, mailbox))
        else:
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


def _drop(message: Any, page: dict[str, Subscription], refusal: Refusal) -> None:
    """Deal with a message to a room that cannot be opened."""
    if isinstance(message, Detach | Subscribe):  # who is refused is not in it, however far an actor had got
        page.pop(message.connection, None)
    refuse(message, refusal)
