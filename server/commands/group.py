"""All commands under one name. Each imports what it works with when it runs: the others need none of it."""

from __future__ import annotations

from typing import Annotated

import typer

from server import __version__

from .check_config import check_config
from .listen import listen
from .publish import publish
from .quarantine import quarantine
from .serve import demo, serve
from .status import status
from .supervisor import supervisor
from .token import token

__all__ = ["app"]

app = typer.Typer(
    name="postroom",
    add_completion=False,
    no_args_is_help=True,
    # Plain text: help and errors read the same in a terminal, in a log and in a pipe. Tracebacks of typer's own would
    # show local variables, and these hold tokens.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _command in (serve, demo, token, publish, listen, status, supervisor, quarantine):
    app.command()(_command)
app.command(name="check-config")(check_config)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"postroom {__version__}")
        raise typer.Exit


@app.callback()
def _postroom(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Postroom, an event router: services publish to rooms, WebSocket clients get their rooms' events in order.

    \b
    To try it out:
      postroom demo                          a router with sessions that change by themselves
      postroom listen session:demo-1         in another terminal: their events as they come
      postroom publish session:demo-1 notification '{"level": "info", "message": "hello"}'

    Every command has its own help: postroom COMMAND --help.
    """
