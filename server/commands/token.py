"""`postroom token`: who and what for in, a signed token on stdout."""

from __future__ import annotations

import os
import re
from typing import Annotated

import typer

from actors.identity import ROLES, is_room_name
from server.auth import issue_token
from server.setting_values import MAKE_SECRET
from server.settings import resolve

from .failure import CommandFailed
from .serve import Config

__all__ = ["token"]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def token(
    user: Annotated[str, typer.Option(help="Who the token is for (sub).")],
    role: Annotated[str, typer.Option(help="user, admin or service.")] = "user",
    room: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="May subscribe to these rooms; * is any text. Repeatable."),
    ] = None,
    publish: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="May publish to these rooms; * is any text. Repeatable."),
    ] = None,
    ttl: Annotated[str, typer.Option(help="How long it counts: 30s, 15m, 1h or 7d.")] = "1h",
    config: Config = None,
) -> None:
    """Make a token with the router's secret.

    The secret is POSTROOM_SECRET, or `secret` in the settings file; the router must have the same one. A service may
    publish everywhere; an admin reads everything; a user reads user:USER, their own sessions and what --room names.

    \b
    Examples:
      export POSTROOM_TOKEN=$(postroom token --user billing --role service)
      postroom token --user ada --role user --room 'session:*' --ttl 15m
    """
    if role not in ROLES:
        raise typer.BadParameter(f"{role!r} is not one of {', '.join(ROLES)}", param_hint="--role")
    if not is_room_name(f"user:{user}"):
        message = f"{user!r} cannot be a user: 1 to 200 characters without spaces, '*' and '>'"
        raise typer.BadParameter(message, param_hint="--user")
    ttl_s = _seconds(ttl)
    settings, _ = resolve({}, os.environ, config)
    if settings.secret is None:
        raise CommandFailed(
            "there is no secret to sign the token with.\n"
            "  Set the one that the router was started with, as POSTROOM_SECRET or in the file that --config names.\n"
            f"  To make one:  {MAKE_SECRET}\n"
            "  (A router under --dev needs no token.)"
        )
    typer.echo(
        issue_token(
            settings.secret,
            user,
            role,
            room or [],
            publish or [],
            ttl_s,
            audience=settings.audience,
            issuer=settings.issuer,
        )
    )


def _seconds(ttl: str) -> int:
    match = re.fullmatch(r"([1-9]\d{0,8})([smhd])", ttl)
    if match is None:
        message = f"{ttl!r} is not a time: use a whole number and s, m, h or d, for example 30s, 15m, 1h, 7d"
        raise typer.BadParameter(message, param_hint="--ttl")
    return int(match[1]) * _UNITS_S[match[2]]
