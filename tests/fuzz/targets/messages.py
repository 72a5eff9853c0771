"""A frame of the router, at a client: a message, None for a type that is new, or `MalformedMessage`.

An event can be printed, too, as `postroom listen` does.
"""

from __future__ import annotations

import json

import msgspec

from postroom_client import Event
from postroom_client._wire import MalformedMessage, ServerMessage, decode
from server.commands.lines import as_json, as_text

__all__ = ["take"]


def take(data: bytes) -> None:
    """Decode a frame; a message comes back out of its own JSON."""
    try:
        message = decode(data)
    except MalformedMessage:
        return
    assert message is None or isinstance(message, ServerMessage)
    assert message is None or decode(msgspec.json.encode(message)) == message
    if isinstance(message, Event):
        assert as_text(message).isprintable()
        assert json.loads(as_json(message))["offset"] == message.offset
