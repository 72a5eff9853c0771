"""Rows of a journal: events and rooms into sealed rows, and back out of them only when the seal holds."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any
from zlib import crc32

import msgspec

from actors.events import Delivery, Draft, Event

from .faults import DamagedError

__all__ = ["EVENT_AS_JSON", "EVENT_COLUMNS", "EventRow", "RoomRow", "alerts_of", "events_of", "row_of", "seal_of_state"]

EventRow = tuple[int, int, int, str, str, int, str | None, str, int, int, str, int]

EVENT_COLUMNS = "room, offset, follows, id, kind, time_ms, key, delivery, ack, named, data, crc"
EVENT_AS_JSON = "json_array(offset, follows, id, kind, time_ms, key, delivery, ack, named, data, crc)"

_LARGEST = 2**63 - 1
_Row = tuple[int, int, str, str, int, str | None, Delivery, int, int, str, int]
_JSON_ROWS = msgspec.json.Decoder(list[_Row])
_JSON_OBJECT = msgspec.json.Decoder(dict[str, Any])


class RoomRow(msgspec.Struct):
    """A room as the journal knows it."""

    name: str
    epoch: str
    id: int = 0
    """0: nothing of it was written yet."""
    top: int = 0
    last: int = 0
    gone: int = 0
    lost: int = 0
    watched: bool = False
    state_offset: int = 0
    """Where its snapshot stands; 0: it has none. Not in the row."""
    alert_offset: int = 0
    """Up to here there may be an alert to acknowledge: a snapshot from before does not know it. Not in the row."""
    used_ms: int = 0
    """When it was written last, Unix time in milliseconds. Not sealed."""

    @property
    def seal(self) -> int:
        """What the row's `crc` has to be."""
        numbers = f"{self.id} {self.top} {self.last} {self.gone} {self.lost} {self.watched:d}"
        return crc32(f"{numbers} {self.epoch} {self.name}".encode())


def row_of(room: int, follows: int, event: Event, *, named: bool) -> EventRow:
    """Return an event's row.

    Raises:
        ValueError: It has a value that SQLite cannot keep.
    """
    draft = event.draft
    if not -_LARGEST <= draft.time_ms <= _LARGEST:
        raise ValueError(f"time_ms {draft.time_ms} has more than 64 bits")
    data = str(memoryview(draft.data), "utf-8")
    seal = _seal(
        room,
        event.offset,
        follows,
        draft.id,
        draft.kind,
        draft.time_ms,
        draft.key,
        draft.delivery,
        draft.ack,
        named,
        data,
    )
    return (
        room,
        event.offset,
        follows,
        draft.id,
        draft.kind,
        draft.time_ms,
        draft.key,
        draft.delivery,
        int(draft.ack),
        int(named),
        data,
        seal,
    )


def events_of(room: RoomRow, pages: Iterable[bytes]) -> tuple[Event, ...]:
    """Read all of a room's events from JSON lists of rows, as `EVENT_AS_JSON` writes them, in their order.

    Raises:
        DamagedError: A row is not as it was written, or one is missing.
    """
    events = []
    previous = 0
    for offset, follows, event_id, kind, time_ms, key, delivery, ack, named, data, crc in _decoded(pages):
        seal = _seal(room.id, offset, follows, event_id, kind, time_ms, key, delivery, bool(ack), bool(named), data)
        if seal != crc or key == "":  # which is sealed like none
            raise DamagedError(f"event {offset}: its checksum is wrong")
        if offset > room.gone and follows != previous and (previous > room.gone or follows > room.gone):
            raise DamagedError(f"event {follows}, which comes before event {offset}, is missing")
        try:
            _JSON_OBJECT.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise DamagedError(f"event {offset}: {error}") from None
        draft = Draft(event_id, kind, time_ms, msgspec.Raw(data.encode()), key, delivery, bool(ack))
        events.append(Event(offset=offset, prev=offset - 1, draft=draft))
        previous = offset
    if previous > room.last or (room.last > room.gone and previous != room.last):
        raise DamagedError(f"its events end at {previous}, not at {room.last}")
    return tuple(events)


def _decoded(pages: Iterable[bytes]) -> list[_Row]:
    try:
        return sorted((row for page in pages for row in _JSON_ROWS.decode(page)), key=itemgetter(0))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError(f"a row of its events: {error}") from None


def seal_of_state(room: int, offset: int, state: bytes, alerts: str | None) -> int:
    """Return the checksum of a snapshot's row."""
    return crc32(f"{room} {offset} {alerts}".encode(), crc32(state))


class _Alert(msgspec.Struct):
    offset: int


class _Alerts(msgspec.Struct):
    alerts: dict[str, _Alert] = {}


_ALERTS = msgspec.json.Decoder(_Alerts)


def alerts_of(state: bytes) -> str | None:
    """Return the offsets of a snapshot's unacknowledged alerts as a JSON list; None: it cannot be read."""
    try:
        alerts = _ALERTS.decode(state).alerts
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.json.encode(sorted(alert.offset for alert in alerts.values())).decode()


def _seal(
    room: int,
    offset: int,
    follows: int,
    event_id: str,
    kind: str,
    time_ms: int,
    key: str | None,
    delivery: str,
    ack: bool,
    named: bool,
    data: str,
) -> int:
    # The lengths tell where one text ends and the next begins; a key is never empty.
    numbers = f"{room} {offset} {follows} {time_ms} {ack:d}{named:d} {len(event_id)} {len(key or '')}"
    return crc32(f"{numbers} {event_id} {key or ''} {kind} {delivery} {data}".encode())
