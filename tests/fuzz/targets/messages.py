"""A frame of the router, at a client: a message, None for a type that is new, or `MalformedMessage`."""

from __future__ import annotations

import msgspec

from postroom_client._wire import MalformedMessage, ServerMessage, decode

__all__ = ["take"]


def take(data: bytes) -> None:
    """Decode a frame; a message comes back out of its own JSON."""
    try:
        message = decode(data)
    except MalformedMessage:
        return
    assert message is None or isinstance(message, ServerMessage)
    assert message is None or decode(msgspec.json.encode(message)) == message
