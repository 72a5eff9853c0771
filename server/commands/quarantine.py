"""`postroom quarantine`: messages that made their actors fail twice; listed, handed in again, or dropped."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

import typer

from server.printable import printable

from .api import ask_operator_api
from .failure import CommandFailed
from .parameters import ApiUrl, Token

__all__ = ["quarantine"]

_SHOWN = 200
"""Characters of an event's data in its line; `--json` has all of it."""


class _Action(enum.StrEnum):
    LIST = "list"
    RETRY = "retry"
    DROP = "drop"


def quarantine(
    action: Annotated[_Action, typer.Argument(metavar="ACTION", help="list, retry or drop.")] = _Action.LIST,
    id: Annotated[str | None, typer.Argument(metavar="ID", help="Which one, for retry and drop: q-...")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many of the newest are listed.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print each one, or what became of it, as JSON.")] = False,
    url: ApiUrl = "http://127.0.0.1:8001",
    token: Token = None,
) -> None:
    """See to messages that made an actor fail twice.

    Lists them; hands one in again (retry); or drops it for good (drop).

    One a line, the newest first. Needs a token of role admin, unless the router runs with --dev. Exit code 1 where a
    retry did not go well: then it stays in quarantine.

    \b
    Examples:
      postroom quarantine
      postroom quarantine retry q-1f0c9a2b
      postroom quarantine drop q-1f0c9a2b
    """
    if action is _Action.LIST:
        if id is not None:
            raise typer.BadParameter(f"`list` takes no ID; did you mean retry {id}?", param_hint="ID")
        _list(url, token, limit, as_json)
        return
    if not id:
        raise typer.BadParameter(f"name what to {action}, as `postroom quarantine` lists it", param_hint="ID")
    path = f"v1/quarantine/{quote(id, safe='')}"
    if action is _Action.DROP:
        answer = ask_operator_api("DELETE", url, path, token)
        typer.echo(json.dumps(answer) if as_json else printable(f"{id} is dropped"))
        return
    answer = ask_operator_api("POST", url, f"{path}/retry", token)
    typer.echo(json.dumps(answer) if as_json else printable(_outcome(id, answer.get("result"))))


def _list(url: str, token: str | None, limit: int, as_json: bool) -> None:
    answer = ask_operator_api("GET", url, "v1/quarantine", token, query={"limit": str(limit)})
    entries = answer.get("quarantine")
    if not isinstance(entries, list):
        raise CommandFailed(f"what answers at {url} has no quarantine: is it an older version?")
    for entry in entries:
        typer.echo(json.dumps(entry) if as_json else printable(_line(entry)))
    if not entries:
        typer.echo("nothing is in quarantine", err=True)


def _line(entry: Mapping[str, object]) -> str:
    event = entry.get("event")
    about = f"{entry.get('room') or entry.get('actor')} {entry.get('message_type')}"
    if isinstance(event, dict):
        data = json.dumps(event.get("data"), ensure_ascii=False)
        about = f"{entry.get('room')} {event.get('kind')} {data[:_SHOWN]}{'..' if len(data) > _SHOWN else ''}"
    failures = f"{entry.get('actor')} failed {entry.get('deaths')} times"
    why = f"{entry.get('exception_type')}: {entry.get('error')}"
    return f"{entry.get('id')} {str(entry.get('time'))[:19]} {about}  {failures}, {why}"


def _outcome(id: str, result: object) -> str:
    error = result.get("error") if isinstance(result, dict) else None
    if isinstance(error, dict):
        raise CommandFailed(f"{id} stays in quarantine: {error.get('message')} [{error.get('code')}]")
    if isinstance(result, dict) and "offset" in result:
        return f"{id} is published: {result.get('room')} #{result['offset']}"
    return f"{id} is handed over"
