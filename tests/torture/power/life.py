"""Life: a journal is opened, read, written to, and ends: it is stopped, or the power is cut. Runs in a forked child.

In: what it does. Out, one line each as it happens: what is read after the opening, what is asked of the journal, and
what it answers. Who reads them knows as much as the journal's clients did when the power went.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from actors.errors import LogUnavailable
from actors.messages import Append, AppendFailed, Committed
from actors.record import RoomRecord
from server import logs
from server.clock import SystemClock
from server.journals import retention, store
from server.journals.faults import JournalError
from server.journals.sqlite import SqliteLog
from tests.actors.making import a_draft

from . import planted
from .moment import Failing, Moment
from .preload import begin_trace, cut_at, fail_at

__all__ = ["Found", "Life", "Line", "Opened", "Refused", "Sent", "Stopped", "Stopping", "Told", "live"]

_LONGEST_S = 60
_CHECKPOINT_BYTES = 128 * 1024
"""Instead of 4 MiB: a life is short, and is to see several checkpoints."""
_CHECK_EVERY = 3
"""Instead of 32 transactions between two looks at how large the journal is."""
_SIZES = (20, 20, 300, 5000, 30_000)
_ALERTS = 0.03
_OLD_ROOMS = 50


class Opened(msgspec.Struct, tag=True):
    """The journal is open; these rooms wait for their time."""

    watched: list[str]


class Found(msgspec.Struct, tag=True):
    """What a room's record says."""

    room: str
    epoch: str
    top: int
    gone: int
    events: list[tuple[int, str, int]]
    """Offset, id and number of each."""
    alerts: list[int]
    """Offsets of those that are to be acknowledged."""
    past_ids: list[tuple[int, str]]
    state: str | None
    state_offset: int


class Sent(msgspec.Struct, tag=True):
    """An event was given to the journal."""

    room: str
    event_id: str
    number: int


class Told(msgspec.Struct, tag=True):
    """The journal said that it is kept."""

    room: str
    event_id: str
    epoch: str
    offset: int
    alert: bool


class Refused(msgspec.Struct, tag=True):
    """The journal said that it is not kept."""

    event_id: str
    code: str
    reason: str


class Stopping(msgspec.Struct, tag=True):
    """The journal is told to stop."""


class Stopped(msgspec.Struct, tag=True):
    """It has."""


Line = Opened | Found | Sent | Told | Refused | Stopping | Stopped


class Life(NamedTuple):
    """What happens in one life."""

    number: int
    journal: Path
    rooms: tuple[str, ...]
    steps: int
    moment: Moment
    """When the power is cut."""
    after: int
    """Before which of the changes that the moment counts."""
    most_bytes: int
    """See `SqliteLog`; 0: no bound."""
    plant: str | None
    """What is made wrong on purpose."""
    failing: Failing | None = None
    """What the disk does not do."""


def live(life: Life, source: random.Random, trace: int, lines: int, log: int) -> None:
    """Live, and end this process.

    Args:
        life: What happens.
        source: Decides what is written.
        trace: Descriptor for the shim.
        lines: Descriptor for what happens.
        log: Descriptor for the journal's log lines.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LONGEST_S)
    os.dup2(log, sys.stderr.fileno())
    logs.configure("warning", "json")
    store._CHECKPOINT_BYTES = _CHECKPOINT_BYTES
    retention._CHECK_EVERY = _CHECK_EVERY
    planted.plant(life.plant)
    begin_trace(life.journal.parent, trace)
    if life.failing is not None:
        fail_at(*life.failing)
    if not life.moment.waits_for:
        cut_at(life.moment.kinds, life.moment.files, life.after)
    with contextlib.suppress(*(() if life.failing is None else (JournalError, _Unavailable))):
        asyncio.run(_Keeper(life, source, lines).run())
    os._exit(0)


class _Unavailable(Exception):
    """A room cannot be read."""


class _Keeper:
    """Has rooms kept by a journal."""

    def __init__(self, life: Life, source: random.Random, lines: int) -> None:
        self._life = life
        self._random = source
        self._lines = lines
        self._armed = False
        self._waiting = 0
        self._all_told = asyncio.Event()
        self._rooms: dict[str, Found] = {}
        self._numbers = 0

    async def run(self) -> None:
        life = self._life
        clock = SystemClock(asyncio.get_running_loop())
        log = self._log = SqliteLog(life.journal, clock=clock, most_bytes=life.most_bytes)
        await log.start(lambda _name, mailbox, start: start(mailbox))
        self._say(Opened(sorted(log.watched())))
        for room in life.rooms:
            self._say(await self._find(room))
        for step in range(life.steps):
            await self._step(step)
        self._say(Stopping())
        self._arm("stop")
        await log.stop()
        self._say(Stopped())

    def tell(self, message: Committed | AppendFailed) -> None:
        """Take what the journal says of an event."""
        room, event_id, alert = message.append.tag
        if isinstance(message, Committed):
            found = self._rooms[room]
            found.top = message.event.offset
            if alert:
                found.alerts.append(found.top)
            self._say(Told(room, event_id, found.epoch, found.top, alert))
        else:
            self._say(Refused(event_id, message.refusal.code, message.refusal.message))
        self._waiting -= 1
        if not self._waiting:
            self._all_told.set()

    async def _step(self, step: int) -> None:
        source = self._random
        chance = source.random()
        if chance < 0.7:
            self._append(source.choice(self._life.rooms), source.randint(1, 6))
        elif chance < 0.85:
            self._arm("trim")
            self._snapshot(source.choice(self._life.rooms), trim=True)
        elif chance < 0.9:
            room = source.choice(self._life.rooms)
            await self._answers()
            if self._rooms[room].top:  # one in which nothing happened may come back under another epoch
                self._log.release(room)
                await self._find(room)
        else:
            await self._retire(f"old:{source.randrange(_OLD_ROOMS)}")
        if source.random() < 0.4:
            await self._answers()
        else:
            await asyncio.sleep(0)

    async def _find(self, room: str) -> Found:
        ready: asyncio.Future[RoomRecord | LogUnavailable] = asyncio.get_running_loop().create_future()
        self._log.open(room, ready.set_result)
        record = await ready
        if not isinstance(record, RoomRecord):
            raise _Unavailable(str(record))
        self._rooms[room] = found = Found(
            room,
            record.epoch,
            record.top,
            record.gone,
            [(each.offset, each.draft.id, _data(each.draft.data)["number"]) for each in record.events],
            [each.offset for each in record.events if each.draft.ack],
            [(each.offset, each.event_id) for each in record.past_ids],
            None if record.state is None else _data(record.state)["room"],
            record.state_offset,
        )
        return found

    def _append(self, room: str, count: int) -> None:
        for _ in range(count):
            self._numbers += 1
            event_id = f"{room}-{self._life.number}-{self._numbers}"
            alert = self._random.random() < _ALERTS
            data = {"number": self._numbers, "text": "x" * self._random.choice(_SIZES)}
            options = {"kind": "alert", "ack": "required"} if alert else {}
            draft = a_draft(data={"severity": "critical", "title": "alert", **data}, event_id=event_id, **options)
            if room in self._life.rooms:
                self._say(Sent(room, event_id, self._numbers))
            self._waiting += 1
            self._all_told.clear()
            self._log.append(room, Append(draft, named=True, reply_to=self, tag=(room, event_id, alert)), self)

    def _snapshot(self, room: str, *, trim: bool) -> None:
        found = self._rooms[room]
        alerts = {str(offset): {"offset": offset} for offset in found.alerts}
        state = msgspec.json.encode({"room": f"{room} at {found.top}", "alerts": alerts})
        self._log.snapshot(room, found.top, state, watched=bool(alerts))
        if trim and found.top:
            before = self._random.randint(1, found.top + 1)
            self._log.trim(room, before, lost=before - 1, keep=found.alerts, ids_since_ms=0)

    async def _retire(self, room: str) -> None:
        """Write to a room that nobody stays in; they are what goes when the journal is too large."""
        await self._find(room)
        self._append(room, 3)
        await self._answers()
        self._snapshot(room, trim=False)
        self._log.release(room)

    async def _answers(self) -> None:
        if self._waiting:
            await self._all_told.wait()

    def _arm(self, what: str) -> None:
        moment = self._life.moment
        if moment.waits_for == what and not self._armed:
            self._armed = True
            cut_at(moment.kinds, moment.files, self._life.after)

    def _say(self, line: Line) -> None:
        os.write(self._lines, msgspec.json.encode(line) + b"\n")


def _data(text: Any) -> Any:
    return msgspec.json.decode(text)
