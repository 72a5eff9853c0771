"""Records: events and snapshots into messages of NATS, and back. What comes back is checked: others may write there."""

from __future__ import annotations

from typing import Annotated

import msgspec

from actors.events import Delivery, Draft, unsound
from actors.record import PastId

__all__ = ["Forgotten", "Snapshot", "Stored", "Unreadable", "forgotten", "read", "read_snapshot", "written"]


class Unreadable(ValueError):
    """What is stored is none of ours, or damaged; `str()` says what is wrong with it."""


class Stored(msgspec.Struct, frozen=True, gc=False, tag="event", omit_defaults=True):
    """An event, as it is stored."""

    id: str
    kind: str
    time_ms: int
    data: msgspec.Raw
    key: str | None = None
    delivery: Delivery = "keep"
    ack: bool = False
    trace: str | None = None
    """For those who hear of it as it is stored."""
    named: bool = False
    """Whether its publisher gave it its id."""
    by: str = ""
    """The life of the router that stored it."""
    number: int = 0
    """What that router calls it."""

    def draft(self, *, live: bool) -> Draft:
        """Return what its publisher published."""
        trace = self.trace if live else None
        return Draft(self.id, self.kind, self.time_ms, self.data, self.key, self.delivery, self.ack, trace)


class Forgotten(msgspec.Struct, frozen=True, gc=False, tag="forgotten", omit_defaults=True):
    """Stands where a room was forgotten: what is before it is of another history."""

    epoch: str
    """Of what follows."""
    by: str = ""
    number: int = 0


_Offset = Annotated[int, msgspec.Meta(ge=0)]


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a room stood, and what of its events is gone."""

    epoch: str
    first: _Offset = 0
    """Offset of the first event of this history; 0: there was none yet."""
    state_offset: _Offset = 0
    state: bytes | None = None
    """As the room wrote it."""
    base: _Offset = 0
    """Up to here is what was forgotten; 0: nothing was."""
    gone: _Offset = 0
    """Up to here events were dropped, but for those that are kept."""
    last_gone: _Offset = 0
    """Offset of the last event up to there: the one before the first that is left."""
    lost: _Offset = 0
    oldest: _Offset = 0
    """Offset of the first event that is left; 0: none is."""
    kept: tuple[_Offset, ...] = ()
    """Offsets of those up to `gone` that are kept, each in a message of its own."""
    past_ids: tuple[PastId, ...] = ()


_DECODER: msgspec.json.Decoder[Stored | Forgotten] = msgspec.json.Decoder(Stored | Forgotten)
_SNAPSHOTS = msgspec.msgpack.Decoder(Snapshot)


def written(draft: Draft, *, named: bool, by: str, number: int) -> bytes:
    """Return the message of an event."""
    return msgspec.json.encode(
        Stored(
            draft.id,
            draft.kind,
            draft.time_ms,
            draft.data,
            draft.key,
            draft.delivery,
            draft.ack,
            draft.traceparent,
            named,
            by,
            number,
        )
    )


def forgotten(epoch: str, *, by: str, number: int) -> bytes:
    """Return the message behind which a room has another history."""
    return msgspec.json.encode(Forgotten(epoch, by, number))


def read(payload: bytes, own: str = "") -> Stored | Forgotten:
    """Read a message of the stream of events; what the router of the life `own` wrote need not be checked.

    Raises:
        Unreadable: It is no event, or one that no router would have taken.
    """
    try:
        stored = _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from None
    if isinstance(stored, Stored) and (not own or stored.by != own):
        wrong = unsound(stored.draft(live=False))
        if wrong is not None:
            raise Unreadable(wrong)
    return stored


def read_snapshot(payload: bytes) -> Snapshot:
    """Read a snapshot.

    Raises:
        Unreadable: It is none.
    """
    try:
        return _SNAPSHOTS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from None
