"""What the command line reads: a room, a position, a time, an address, a pattern, JSON; a value or wrong usage out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from actors.identity import is_room_name
from postroom_client import Position
from server.commands.listen import _position
from server.commands.parameters import _is_url
from server.commands.publish import _read_data, check_room
from server.commands.token import _can_match, _seconds

__all__ = ["take"]

_MOST_STARS = 10
"""In a pattern: each more is slower to look through."""


def take(data: bytes) -> None:
    """Read it as each of them, as an argument comes: bytes that are no text are halves of surrogate pairs."""
    text = data.decode("utf-8", "surrogateescape")
    position = _read(_position, text, ("session:1",))
    assert position is None or (isinstance(position, Position) and position.epoch and position.offset >= 0)
    seconds = _read(_seconds, text)
    assert seconds is None or seconds > 0
    _read(check_room, text)
    assert _is_url(text, ("ws", "wss")) in (True, False)
    if text.count("*") <= _MOST_STARS:
        assert _can_match(text) or "*" in text or not is_room_name(text)
    if text != "-":  # that would be what stdin holds
        read = _read(_read_data, "app.thing", text)
        assert read is None or isinstance(read, dict)


def _read(read: Callable[..., Any], *arguments: object) -> Any:
    try:
        return read(*arguments)
    except typer.BadParameter as error:
        assert error.message
        return None
