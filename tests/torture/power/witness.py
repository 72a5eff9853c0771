"""Witness: what a journal said over all its lives, lines in; records for the checker out, and what it cannot see.

One reader follows every room from the beginning, over every power cut, from the position that it had. In each life an
auditor reads all there is. Beyond the records: the names of events that were trimmed, snapshots, and watched rooms.
"""

from __future__ import annotations

from ...checker.records import Attempt, End, Event, Missing, Position, Receipt, Subscribed
from ..recording import Recorder
from .life import Found, Line, Opened, Refused, Sent, Stopped, Stopping, Told

__all__ = ["Witness"]

_READER = "reader"
_SERVICE = "service"


class Witness:
    """Takes the lines of a journal's lives.

    Args:
        recorder: Where the records go.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.complaints: list[str] = []
        self.acknowledged = 0
        self.opened = self.stopping = self.stopped = False
        """How far this life has come."""
        self._recorder = recorder
        self._life = 0
        self._failing = False
        self._sent: dict[str, Sent] = {}
        self._positions: dict[str, Position] = {}
        self._known: dict[str, dict[int, str]] = {}
        """Of each room the ids of its events, by offset."""
        self._watched: set[str] = set()
        self._take = {
            Opened: self._open,
            Found: self._found,
            Sent: self._send,
            Told: self._told,
            Refused: self._refused,
            Stopping: self._stop,
            Stopped: self._stop,
        }

    def begin(self, life: int, *, failing: bool) -> None:
        """Begin the next life; `failing`: on a disk that fails."""
        self._life = life
        self._failing = failing
        self.opened = self.stopping = self.stopped = False

    def take(self, line: Line) -> None:
        """Take a line."""
        self._take[type(line)](line)

    def end_life(self) -> None:
        """The life is over: nobody knows of the events that were not answered."""
        for sent in self._sent.values():
            self._attempt(sent, "unknown")
        self._sent.clear()

    def end(self) -> None:
        """All is over."""
        for room in self._positions:
            self._recorder.write(End(subscriber=_READER, room=room))

    def _open(self, opened: Opened) -> None:
        self.opened = True
        if missing := self._watched.difference(opened.watched):
            self.complaints.append(f"life {self._life}: alerts wait in {sorted(missing)}, and they are not watched")

    def _found(self, found: Found) -> None:
        room = found.room
        auditor = f"auditor-{self._life}"
        self._read(auditor, found, Position(found.epoch, 0))
        self._read(_READER, found, self._positions.get(room))
        self._positions[room] = Position(found.epoch, found.top)
        self._hold_against(found)

    def _read(self, subscriber: str, found: Found, after: Position | None) -> None:
        if after is None or (after.epoch != found.epoch and not after.offset):
            # Where nothing had happened nothing is missed: such a room begins anew when others had to be forgotten.
            after, recovery, start = None, "fresh", found.top
        elif after.epoch != found.epoch:
            recovery, start = "none", found.top
        else:
            recovery, start = ("full" if after.offset >= found.gone else "partial"), after.offset
        missing = Missing(start + 1, found.gone) if recovery == "partial" else None
        start = max(start, found.gone)
        events = [event for event in found.events if event[0] > start]
        place = {"subscriber": subscriber, "room": found.room, "connection": self._life}
        self._recorder.write(
            Subscribed(
                **place,
                recovery=recovery,
                epoch=found.epoch,
                offset=found.top,
                replay=len(events),
                after=after,
                missing=missing,
            )
        )
        for offset, event_id, number in events:
            self._event(subscriber, found.room, found.epoch, offset, event_id, number)

    def _hold_against(self, found: Found) -> None:
        known = self._known.setdefault(found.room, {})
        here = {offset: event_id for offset, event_id, _ in found.events} | dict(found.past_ids)
        for offset, event_id in known.items():
            if here.get(offset) != event_id:
                what = f"{found.room}: offset {offset} was {event_id}, and is {here.get(offset)} now"
                self.complaints.append(f"life {self._life}: {what}")
        if found.state is not None and found.state != f"{found.room} at {found.state_offset}":
            what = f"{found.room}: its snapshot at {found.state_offset} is of {found.state}"
            self.complaints.append(f"life {self._life}: {what}")
        known.update(here)
        if found.alerts:
            self._watched.add(found.room)

    def _send(self, sent: Sent) -> None:
        self._sent[sent.event_id] = sent

    def _told(self, told: Told) -> None:
        sent = self._sent.pop(told.event_id, None)
        if sent is None:
            return  # of a room that nobody follows
        receipt = Receipt(told.room, told.epoch, told.offset, told.event_id, duplicate=False)
        self._attempt(sent, "acknowledged", receipt=receipt)
        self._event(_READER, told.room, told.epoch, told.offset, told.event_id, sent.number)
        self.acknowledged += 1
        self._positions[told.room] = Position(told.epoch, told.offset)
        self._known[told.room][told.offset] = told.event_id
        if told.alert:
            self._watched.add(told.room)

    def _refused(self, refused: Refused) -> None:
        if not self._failing:
            self.complaints.append(f"life {self._life}: {refused.event_id} was refused: {refused.reason}")
        if refused.event_id in self._sent:
            self._attempt(self._sent.pop(refused.event_id), "refused", code=refused.code)

    def _stop(self, line: Stopping | Stopped) -> None:
        self.stopping = True
        self.stopped = isinstance(line, Stopped)

    def _attempt(self, sent: Sent, outcome: str, *, receipt: Receipt | None = None, code: str | None = None) -> None:
        self._recorder.write(
            Attempt(
                service=_SERVICE,
                room=sent.room,
                event_id=sent.event_id,
                number=sent.number,
                outcome=outcome,  # type: ignore[arg-type]  # one of the three
                receipt=receipt,
                code=code,
            )
        )

    def _event(self, subscriber: str, room: str, epoch: str, offset: int, event_id: str, number: int) -> None:
        self._recorder.write(
            Event(
                subscriber=subscriber,
                room=room,
                connection=self._life,
                epoch=epoch,
                offset=offset,
                prev=offset - 1,
                event_id=event_id,
                kind="alert",
                number=number,
            )
        )
