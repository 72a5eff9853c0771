"""The `postroom` command: words of a shell in, one command run, an exit code out.

Exit codes: 0 fine, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from actors.errors import PostroomError
from server import __version__
from server.settings import SettingsError

from .commands.check_config import check_config
from .commands.listen import listen
from .commands.publish import publish
from .commands.serve import demo, serve
from .commands.status import status
from .commands.token import token

__all__ = ["app", "main"]

app = typer.Typer(
    name="postroom",
    add_completion=False,
    no_args_is_help=True,
    # Plain text: help and errors read the same in a terminal, in a log and in a pipe. Tracebacks of typer's own would
    # show local variables, and these hold tokens.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (serve, demo, token, publish, listen, status):
    app.command()(command)
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


def main(args: Sequence[str] | None = None) -> None:
    """Run the command that `args` name (None: the process's own) and exit."""
    try:
        app(args=args, prog_name="postroom")
    except PostroomError as error:
        typer.echo(f"postroom: {error}", err=True)
        sys.exit(2 if isinstance(error, SettingsError) and error.from_flag else 1)


if __name__ == "__main__":
    main()
