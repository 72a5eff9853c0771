"""`postroom token`: who and what for in, a signed token on stdout."""

from __future__ import annotations

import itertools
import os
import re
from typing import Annotated

import typer

from .failure import CommandFailed
from .serve import Config

__all__ = ["token"]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST_STARS = 265
"""A room's name has up to 265 characters: 64, a colon and 200."""


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
    sub: Annotated[
        list[str] | None,
        typer.Option(metavar="ROOM", help="Joins this room by itself, and may read it. Repeatable."),
    ] = None,
    ttl: Annotated[str, typer.Option(help="How long it counts: 30s, 15m, 1h or 7d.")] = "1h",
    config: Config = None,
) -> None:
    """Make a token with the router's secret.

    The secret is POSTROOM_SECRET, in the file that POSTROOM_SECRET_FILE names, or in the settings file; the router must
    have the same one. A service may publish everywhere; an admin reads everything; a user reads user:USER, their own
    sessions and what --room names.

    \b
    Examples:
      export POSTROOM_TOKEN=$(postroom token --user billing --role service)
      postroom token --user ada --role user --room 'session:*' --ttl 15m
    """
    from actors.identity import ROLES, is_room_name
    from server.auth import issue_token
    from server.setting_values import MAKE_SECRET
    from server.settings import resolve

    if role not in ROLES:
        raise typer.BadParameter(f"{role!r} is not one of {', '.join(ROLES)}", param_hint="--role")
    if not is_room_name(f"user:{user}"):
        message = f"{user!r} cannot be a user: 1 to 200 characters without spaces, '*' and '>'"
        raise typer.BadParameter(message, param_hint="--user")
    for option, patterns in (("--room", room), ("--publish", publish)):
        for pattern in patterns or ():
            if not _can_match(pattern):
                message = (
                    f"{pattern!r} matches no room: names are broadcast, system and word:id, for example 'session:*'"
                )
                raise typer.BadParameter(message, param_hint=option)
    for name in sub or ():
        if not is_room_name(name):
            message = f"{name!r} is no room: names are broadcast, system and word:id, for example 'team:blue'"
            raise typer.BadParameter(message, param_hint="--sub")
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
            subs=sub or [],
            audience=settings.audience,
            issuer=settings.issuer,
        )
    )


def _can_match(pattern: str) -> bool:
    """Tell whether there can be a room that `pattern` covers.

    Of the places that `*` holds open, one may have to bring the colon, the first one the word's first letter, and the
    last one an id; the others can be empty.
    """
    from actors.identity import Identity, is_room_name

    identity = Identity("", publish=(pattern,))
    if identity.may_publish("broadcast") or identity.may_publish("system"):
        return True
    first, *rest = pattern.split("*")
    if len(rest) > _MOST_STARS:
        return False
    for colon_at in range(-1, len(rest)):
        for opening, colon, closing in itertools.product(("", "a"), (":", "a:", ":a", "a:a"), ("", "a")):
            fills = [""] * len(rest)
            if fills:
                fills[0], fills[-1] = opening, closing or (opening if len(fills) == 1 else "")
            if colon_at >= 0:
                fills[colon_at] = colon
            if is_room_name(first + "".join(fill + piece for fill, piece in zip(fills, rest, strict=True))):
                return True
    return False


def _seconds(ttl: str) -> int:
    match = re.fullmatch(r"(\d{1,9})([smhd])", ttl, re.ASCII)
    if match is None:
        message = f"{ttl!r} is not a time: use a whole number and s, m, h or d, for example 30s, 15m, 1h, 7d"
        raise typer.BadParameter(message, param_hint="--ttl")
    seconds = int(match[1]) * _UNITS_S[match[2]]
    if seconds == 0:
        raise typer.BadParameter(f"{ttl!r}: a token must count for more than zero seconds", param_hint="--ttl")
    return seconds
