"""`postroom listen`: rooms in, one line for each of their events out, until somebody stops it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated
from urllib.parse import urlsplit

import typer

import postroom_client
from postroom_client import Event, Gap, Position, Subscription
from server.logs import printable

from .api import Token, no_router
from .failure import CommandFailed
from .lines import as_json as json_line
from .lines import as_text as text_line
from .publish import check_room

__all__ = ["CONNECT_TIMEOUT_S", "listen"]

CONNECT_TIMEOUT_S = 5.0
_ADVICE = "make one with the router's secret: export POSTROOM_TOKEN=$(postroom token --user me --role admin)"


def listen(
    rooms: Annotated[list[str], typer.Argument(metavar="ROOM", help="session:ID, user:ID, system, ...")],
    after: Annotated[
        str | None,
        typer.Option(metavar="EPOCH:OFFSET", help="Begin after this position of the room; one ROOM only."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as JSON.")] = False,
    url: Annotated[
        str,
        typer.Option(envvar="POSTROOM_URL", help="The router's WebSocket address.", show_envvar=True),
    ] = "ws://127.0.0.1:8000/v1/ws",
    token: Token = None,
) -> None:
    """Print the events of rooms as they come.

    One a line, until Ctrl-C. Comes back by itself when the connection breaks, and misses nothing that the router
    still has. What is not an event goes to stderr: where it is connected, breaks, and events that are gone.

    \b
    Examples:
      postroom listen session:42
      postroom listen broadcast system --json | jq .data
      postroom listen session:42 --after 0d9f2c:17
    """
    for room in rooms:
        check_room(room)
    position = None if after is None else _position(after, rooms)
    if urlsplit(url).scheme not in ("ws", "wss"):
        message = f"{url!r} is not a WebSocket address, for example ws://127.0.0.1:8000/v1/ws"
        raise typer.BadParameter(message, param_hint="--url")
    _show_what_the_client_says()
    try:
        line = json_line if as_json else text_line
        asyncio.run(_print_events(url, token, list(dict.fromkeys(rooms)), position, line))
    except KeyboardInterrupt:
        raise typer.Exit from None
    except BrokenPipeError:
        # The reader went away (`| head`). What Python still wants to flush on its way out goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None
    except postroom_client.PostroomError as error:
        raise CommandFailed(printable(_explain(error, url))) from error


async def _print_events(
    url: str, token: str | None, rooms: Sequence[str], after: Position | None, line: Callable[[Event], str]
) -> None:
    async with postroom_client.connect(url, token=token, connect_timeout_s=CONNECT_TIMEOUT_S) as client:
        subscriptions = [await client.subscribe(room, after=after, on_gap=_tell_gap) for room in rooms]
        where = ", ".join(f"{subscription.room} {_where(subscription)}" for subscription in subscriptions)
        _tell(f"connected to {url} as {client.user} ({client.role}); listening to {where}. Ctrl-C stops.")
        await asyncio.gather(*(_print(subscription, line) for subscription in subscriptions))


async def _print(subscription: Subscription, line: Callable[[Event], str]) -> None:
    async for event in subscription:
        typer.echo(line(event))


def _where(subscription: Subscription) -> str:
    position = subscription.state_position
    return f"at {position.epoch}:{position.offset}"


def _position(text: str, rooms: Sequence[str]) -> Position:
    epoch, _, offset = text.rpartition(":")
    if not epoch or not (offset.isascii() and offset.isdigit()):
        message = f"{text!r} is not EPOCH:OFFSET as `listen` and `publish` print them, for example 0d9f2c:17"
        raise typer.BadParameter(message, param_hint="--after")
    if len(rooms) > 1:
        raise typer.BadParameter("it is a position in one room, and several are named", param_hint="--after")
    return Position(epoch, int(offset))


def _explain(error: postroom_client.PostroomError, url: str) -> str:
    match error:
        case postroom_client.ConnectFailed():
            return no_router(url, error.reason)
        case postroom_client.Unauthenticated():
            return f"{error} ({_ADVICE})"
        case postroom_client.CommandError(code="forbidden"):
            return f"{error} (a room is read with role admin, or with a token made with --room PATTERN for it)"
        case _:
            return str(error)


def _show_what_the_client_says() -> None:
    """Put breaks and new attempts on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logger = logging.getLogger("postroom_client")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"postroom: {printable(record.getMessage())}"


def _tell_gap(gap: Gap) -> None:
    _tell(str(gap))


def _tell(text: str) -> None:
    typer.echo(f"postroom: {printable(text)}", err=True)
