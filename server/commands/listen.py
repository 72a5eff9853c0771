"""`postroom listen`: rooms in, one line for each of their events out, until somebody stops it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .following import follow
from .parameters import Token, WsUrl
from .publish import check_room

if TYPE_CHECKING:
    from postroom_client import Position

__all__ = ["listen"]


def listen(
    rooms: Annotated[list[str], typer.Argument(metavar="ROOM", help="session:ID, user:ID, system, ...")],
    after: Annotated[
        str | None,
        typer.Option(metavar="EPOCH:OFFSET", help="Begin after this position of the room; one ROOM only."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as JSON.")] = False,
    url: WsUrl = "ws://127.0.0.1:8000/v1/ws",
    token: Token = None,
) -> None:
    """Print the events of rooms as they come.

    One a line, until Ctrl-C. Comes back by itself when the connection breaks, and misses nothing that the router
    still has; where none answers in the first 5 s it gives up. What is not an event goes to stderr: where it is
    connected, breaks, and events that are gone.

    \b
    Examples:
      postroom listen session:42
      postroom listen broadcast system --json | jq .data
      postroom listen session:42 --after 0d9f2c:17
    """
    for room in rooms:
        check_room(room)
    position = None if after is None else _position(after, rooms)

    from .lines import as_json as json_line
    from .lines import as_text as text_line

    follow(url, token, list(dict.fromkeys(rooms)), json_line if as_json else text_line, position)


def _position(text: str, rooms: Sequence[str]) -> Position:
    from postroom_client import Position

    epoch, _, offset = text.rpartition(":")
    if not epoch or not re.fullmatch(r"\d{1,18}", offset, re.ASCII):
        message = f"{text!r} is not EPOCH:OFFSET as `listen` and `publish` print them, for example 0d9f2c:17"
        raise typer.BadParameter(message, param_hint="--after")
    if len(rooms) > 1:
        raise typer.BadParameter("it is a position in one room, and several are named", param_hint="--after")
    return Position(epoch, int(offset))
