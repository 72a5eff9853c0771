"""Following rooms for a person at a terminal: rooms in, a line for each event out, until somebody stops it."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from server.printable import printable

from .api import no_router, token_advice
from .failure import CommandFailed
from .output import drop_output, tell

if TYPE_CHECKING:
    import postroom_client
    from postroom_client import Event, Gap, Position, Subscription

__all__ = ["CONNECT_TIMEOUT_S", "follow"]

CONNECT_TIMEOUT_S = 5.0


def follow(
    url: str, token: str | None, rooms: Sequence[str], line: Callable[[Event], str | None], after: Position | None
) -> None:
    """Print the events of rooms as they come; ends with the process, or by Ctrl-C.

    Args:
        url: The router's WebSocket address.
        token: What to present; None: nothing.
        rooms: Each of them once.
        line: Makes a line of an event; None: it is not shown.
        after: Where to begin; None: now.

    Raises:
        CommandFailed: The router does not let it.
    """
    import postroom_client

    _show_what_the_client_says()
    listener = _Listener(url, token, rooms, line)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which asyncio replaces: Ctrl-C closes the connection
        asyncio.run(listener.listen(after))
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

    def __init__(self, url: str, token: str | None, rooms: Sequence[str], line: Callable[[Event], str | None]) -> None:
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
            line = self._line(event)
            if line is not None:
                typer.echo(line)


def _where(subscription: Subscription) -> str:
    position = subscription.state_position
    return f"at {position.epoch}:{position.offset}"


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
