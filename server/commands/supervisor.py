"""`postroom supervisor`: what failed, what was restarted, and what was lost; what was, and what comes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.printable import printable

from .api import ask_operator_api, call_api
from .failure import CommandFailed
from .following import follow
from .parameters import ApiUrl, Token

if TYPE_CHECKING:
    from postroom_client import Event

__all__ = ["supervisor"]


def supervisor(
    follow_on: Annotated[bool, typer.Option("--follow", help="Go on with what happens, until Ctrl-C.")] = False,
    actor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what happened to this actor or supervisor.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many of the last entries.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print each entry as JSON, with its traceback.")] = False,
    url: ApiUrl = "http://127.0.0.1:8001",
    token: Token = None,
) -> None:
    """Print what failed, and how it was repaired.

    This is the supervisor journal, with what operators ordered: one entry a line, the oldest first. Lines of one
    incident end with the same name in brackets. In a cluster it is the journal of all routers, and each line begins
    with the name of one. Needs a token of role admin, unless the router runs with --dev.

    \b
    Examples:
      postroom supervisor --follow
      postroom supervisor --actor source --limit 100
      postroom supervisor --json | jq 'select(.kind == "supervisor.failed")'
    """
    query = {"limit": str(limit)} | ({} if actor is None else {"actor": actor})
    page = ask_operator_api("GET", url, "v1/supervisor/journal", token, query=query)
    entries = page.get("entries")
    if not isinstance(entries, list):
        raise CommandFailed(f"what answers at {url} has no supervisor journal: is it an older version?")
    for entry in entries:
        typer.echo(_line(entry, as_json))
    if not follow_on:
        if not entries:
            typer.echo("nothing has happened", err=True)
        return
    from postroom_client import Position

    def line(event: Event) -> str | None:
        time = f"{event.time:%Y-%m-%dT%H:%M:%S}.{event.time.microsecond // 1000:03d}Z"
        entry = {"offset": event.offset, "time": time, "kind": event.kind, **event.data}
        about = (entry.get("actor"), entry.get("supervisor"), entry.get("target"))
        return _line(entry, as_json) if actor is None or actor in about else None

    position = Position(str(page["epoch"]), _newest(url, token, entries, actor))
    follow(_ws_url(url), token, [str(page["room"])], line, position)


def _newest(url: str, token: str | None, entries: list[dict[str, Any]], actor: str | None) -> int:
    """Return the offset after which to go on: that of the last entry, whomever it is about."""
    if actor is not None:
        page = ask_operator_api("GET", url, "v1/supervisor/journal", token, query={"limit": "1"})
        found = page.get("entries")
        entries = found if isinstance(found, list) else []
    return int(entries[-1]["offset"]) if entries else 0


def _ws_url(url: str) -> str:
    """Ask the router where its clients connect to: the same host, another port."""
    from yarl import URL

    _, ready = call_api("GET", url, "readyz")
    api = URL(url)
    port = ready.get("ws_port")
    if not isinstance(port, int) or api.host is None:
        raise CommandFailed(f"the router at {url} does not say where its clients connect to: is it an older version?")
    return str(URL.build(scheme="wss" if api.scheme == "https" else "ws", host=api.host, port=port, path="/v1/ws"))


def _line(entry: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return json.dumps(entry)
    kind = str(entry.get("kind")).removeprefix("supervisor.")
    about = entry.get("actor") or entry.get("target") or entry.get("peer") or ""
    node = f" {entry['node']}:" if entry.get("node") else ""
    what = _WORDS.get(kind, _any)(entry)
    incident = f"  [{entry['incident']}]" if entry.get("incident") else ""
    return printable(
        f"{str(entry.get('time'))[11:23]} #{entry.get('offset')}{node} {kind} {about}  {what}".rstrip() + incident
    )


def _failed(entry: dict[str, Any]) -> str:
    on = f" on {entry['message_type']}" if entry.get("message_type") else ""
    return f"{entry.get('exception_type')}: {entry.get('error')}{on}, {entry.get('mailbox_depth')} messages waited"


def _restarted(entry: dict[str, Any]) -> str:
    when = f"after {entry['backoff_ms']:g} ms" if entry.get("backoff_ms") else "at once"
    if entry.get("by"):
        return f"{when}, ordered by {entry['by']}"
    return f"{when}, {entry.get('restart')} of {entry.get('of')} in {entry.get('within_s')} s"


def _repaired(entry: dict[str, Any]) -> str:
    rooms = entry.get("rooms") or {}
    parts = [f"noticed: {entry.get('noticed')}"]
    if "rooms" in entry:
        parts.insert(0, f"{len(rooms)} rooms re-attached, {entry.get('events_replayed')} events replayed")
    if "subscribers" in entry:
        parts.insert(0, f"goes on from offset {entry.get('top')} with {entry['subscribers']} subscribers")
    return "; ".join(parts)


def _given_up(entry: dict[str, Any]) -> str:
    often = f"{entry.get('restarts')} restarts in {entry.get('within_s')} s were not enough"
    return f"{often}; {entry['noticed']}" if entry.get("noticed") else often


def _ordered(entry: dict[str, Any]) -> str:
    return f"{entry.get('order')} by {entry.get('by')}"


def _any(entry: dict[str, Any]) -> str:
    shown = ("offset", "time", "kind", "actor", "target", "incident", "event", "traceback", "node", "peer")
    return ", ".join(f"{name} {value}" for name, value in entry.items() if name not in shown)


_WORDS = {
    "failed": _failed,
    "restarted": _restarted,
    "repaired": _repaired,
    "given_up": _given_up,
    "ordered": _ordered,
}
