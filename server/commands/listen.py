"""`postroom listen`: rooms in, one line for each of their events out, until somebody stops it."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from server.printable import printable

from .api import no_router, token_advice
from .failure import CommandFailed
from .output import drop_output, tell
from .parameters import Token, WsUrl
from .publish import check_room

if TYPE_CHECKING:
    import postroom_client
    from postroom_client import Event, Gap, Position, Subscription

__all__ = ["CONNECT_TIMEOUT_S", "listen"]

CONNECT_TIMEOUT_S = 5.0


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

    import postroom_client

    from .lines import as_json as json_line
    from .lines import as_text as text_line

    _show_what_the_client_says()
    listener = _Listener(url, token, list(dict.fromkeys(rooms)), json_line if as_json else text_line)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which asyncio replaces: Ctrl-C closes the connection
        asyncio.run(listener.listen(position))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise typer.Exit(0 if listener.connected else 130) from None
    except BrokenPipeError:
        drop_output()  # the reader went away (`| head`)
        raise typer.Exit from None
    except postroom_client.PostroomError as error:
        raise CommandFailed(_explain(error, url)) from error


class _Listener:
    """One connection and what it prints.

    Attributes:
        connected: Whether it has been in all of its rooms: from then on Ctrl-C is the way to end it.
    """

    def __init__(self, url: str, token: str | None, rooms: Sequence[str], line: Callable[[Event], str]) -> None:
        self.connected = False
        self._url = url
        self._token = token
        self._rooms = rooms
        self._line = line

    async def listen(self, after: Position | None) -> None:
        from postroom_client import connect

        async with connect(self._url, token=self._token, connect_timeout_s=CONNECT_TIMEOUT_S) as client:
            subscriptions = [await client.subscribe(room, after=after, on_gap=_tell_gap) for room in self._rooms]
            self.connected = True
            where = ", ".join(f"{subscription.room} {_where(subscription)}" for subscription in subscriptions)
            who = f"{client.user} ({client.role})"
            tell(printable(f"connected to {self._url} as {who}; listening to {where}. Ctrl-C stops."))
            await asyncio.gather(*(self._print(subscription) for subscription in subscriptions))

    async def _print(self, subscription: Subscription) -> None:
        async for event in subscription:
            typer.echo(self._line(event))


def _where(subscription: Subscription) -> str:
    position = subscription.state_position
    return f"at {position.epoch}:{position.offset}"


def _position(text: str, rooms: Sequence[str]) -> Position:
    from postroom_client import Position

    epoch, _, offset = text.rpartition(":")
    if not epoch or not re.fullmatch(r"\d{1,18}", offset, re.ASCII):
        message = f"{text!r} is not EPOCH:OFFSET as `listen` and `publish` print them, for example 0d9f2c:17"
        raise typer.BadParameter(message, param_hint="--after")
    if len(rooms) > 1:
        raise typer.BadParameter("it is a position in one room, and several are named", param_hint="--after")
    return Position(epoch, int(offset))


def _explain(error: postroom_client.PostroomError, url: str) -> str:
    from postroom_client import CommandError, ConnectFailed, Unauthenticated

    status = _http_status(error)
    if status == 404:
        return (
            f"what answers at {url} takes no WebSocket clients there (HTTP 404). If this is the port of the HTTP API "
            "(8001 unless set otherwise): clients connect to the WebSocket port, 8000 unless set otherwise, "
            "for example ws://127.0.0.1:8000/v1/ws"
        )
    match error:
        case ConnectFailed():
            return no_router(url, error.reason)
        case Unauthenticated() if status != 403:
            return f"{error} ({token_advice(str(error), 'admin')})"
        case CommandError(code="forbidden"):
            return f"{error} (a room is read with role admin, or with a token made with --room PATTERN for it)"
        case _:
            return str(error)


def _http_status(error: Exception) -> int | None:
    """Return the status with which HTTP refused the WebSocket, as the client tells it; None: it did not."""
    found = re.search(r"the handshake got HTTP (\d{3})", str(error))
    return None if found is None else int(found[1])


def _show_what_the_client_says() -> None:
    """Put breaks and new attempts on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    handler.addFilter(lambda record: not record.msg.startswith("the client ended"))  # it is raised, and told once
    logger = logging.getLogger("postroom_client")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"postroom: {printable(record.getMessage())}"


def _tell_gap(gap: Gap) -> None:
    tell(printable(str(gap)))
