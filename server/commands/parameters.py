"""Parameters of several commands: what a flag or variable says in, the checked value out.

What is wrong in a flag is wrong usage (exit code 2); in a variable it is a failure (1), as the command line was fine.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import typer

from .failure import CommandFailed

__all__ = ["ApiUrl", "Token", "WsUrl"]


def _refuse(context: typer.Context, parameter: typer.CallbackParam, message: str) -> Exception:
    source = context.get_parameter_source(str(parameter.name))
    if source is not None and source.name == "ENVIRONMENT":
        return CommandFailed(f"{parameter.envvar}: {message}")
    return typer.BadParameter(message, param_hint=parameter.opts[0])


def _is_url(text: str, schemes: tuple[str, str]) -> bool:
    try:
        url = urlsplit(text)
        host = (url.hostname or "").encode("idna")
        return text.isprintable() and url.scheme in schemes and host != b"" and (url.port is None or url.port > 0)
    except ValueError:  # also of a port that cannot be, a bracket that is not closed, a name that no host can have
        return False


def _api_url(context: typer.Context, parameter: typer.CallbackParam, value: str) -> str:
    if not _is_url(value, ("http", "https")):
        raise _refuse(context, parameter, f"{value!r} is not the URL of an HTTP API, for example http://127.0.0.1:8001")
    return value


def _ws_url(context: typer.Context, parameter: typer.CallbackParam, value: str) -> str:
    if not _is_url(value, ("ws", "wss")):
        raise _refuse(
            context, parameter, f"{value!r} is not a WebSocket address, for example ws://127.0.0.1:8000/v1/ws"
        )
    return value


def _token(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    token = (value or "").strip()
    if not token.isprintable():
        raise _refuse(
            context,
            parameter,
            "the token has a line break or another control character inside: give it as it was made, in one line",
        )
    return token or None


ApiUrl = Annotated[
    str,
    typer.Option(
        "--url", envvar="POSTROOM_API_URL", help="The router's HTTP API.", show_envvar=True, callback=_api_url
    ),
]
WsUrl = Annotated[
    str,
    typer.Option(
        "--url", envvar="POSTROOM_URL", help="The router's WebSocket address.", show_envvar=True, callback=_ws_url
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="POSTROOM_TOKEN",
        help="Token to present; better set as the variable, as options show in process lists.",
        show_envvar=True,
        callback=_token,
    ),
]
