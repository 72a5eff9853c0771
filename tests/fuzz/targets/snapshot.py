"""A room's snapshot as the journal gives it back, and its state on the wire; or an error of the decoder.

The row's checksum has been held against it before: a router reads no snapshot but those that a router wrote.
"""

from __future__ import annotations

import msgspec

from actors.state import RoomState, is_full
from server.journals.rows import alerts_of

__all__ = ["take"]


def take(data: bytes) -> None:
    """Decode a snapshot; a state comes back out of its own JSON, and its alerts are found."""
    alerts = alerts_of(data)
    try:
        state = msgspec.json.decode(data, type=RoomState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    stored = msgspec.json.encode(state)
    assert msgspec.json.decode(stored, type=RoomState) == state
    if alerts is not None:
        assert alerts_of(stored) == alerts
    assert is_full(state.sizes) == state.full
