"""`postroom publish`: one event in, its receipt out."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Mapping
from typing import Annotated

import typer

from actors.errors import Refusal
from actors.events import draft
from actors.identity import is_room_name

from .api import NEW_TOKEN, ApiUrl, Token, call_api
from .failure import CommandFailed

__all__ = ["check_room", "publish"]

_EXAMPLES = {
    "notification": '{"level": "info", "message": "Your export is ready"}',
    "alert": '{"severity": "high", "title": "disk full"}',
    "progress": '{"current": 3, "total": 10}',
    "session": '{"status": "started"}',
    "system": '{"status": "degraded", "component": "search"}',
}
_ADVICE = {
    "unauthenticated": NEW_TOKEN,
    "token_expired": NEW_TOKEN,
    "forbidden": "to publish from here takes a token of role service or admin",
    "rate_limited": "try again in a moment",
    "busy": "try again in a moment",
    "journal_unavailable": "nothing was published; try again when the router's disk is well",
    "session_ended": """to start it again: postroom publish ROOM session '{"status": "started"}'""",
}


def publish(
    room: Annotated[str, typer.Argument(metavar="ROOM", help="session:ID, user:ID, role:ROLE, broadcast, system, ...")],
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="notification, alert, progress, session, system, or a.name")
    ],
    data: Annotated[
        str, typer.Argument(metavar="JSON", help="The event's data, an object; - reads it from stdin.")
    ] = "{}",
    event_id: Annotated[
        str | None, typer.Option(help="Names the event, so that sending it again does not repeat it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
    url: ApiUrl = "http://127.0.0.1:8001",
    token: Token = None,
) -> None:
    """Publish one event and print its receipt.

    The receipt is the event's place in the room; it comes once the event is safe.

    \b
    Examples:
      postroom publish session:42 progress '{"current": 3, "total": 10}'
      postroom publish broadcast notification '{"level": "info", "message": "Back at noon"}'
      echo '{"artifact": "a.tar"}' | postroom publish session:42 build.finished -
    """
    check_room(room)
    event_id = event_id or str(uuid.uuid4())
    body = {"room": room, "kind": kind, "data": _event_data(kind, data, event_id), "event_id": event_id}
    try:
        status, answer = call_api("POST", url, "v1/publish", body=body, token=token)
    except TimeoutError:
        raise CommandFailed(
            "the router did not answer in time; the event may have been published all the same. To be sure, "
            f"repeat the command with --event-id {event_id}: the router takes an id once"
        ) from None
    receipt = _receipt(status, answer)
    if as_json:
        typer.echo(json.dumps(receipt))
        return
    again = ", which was there already" if receipt.get("duplicate") else ""
    typer.echo(
        f"{receipt.get('room')} #{receipt.get('offset')}{again}"
        f"  position {receipt.get('epoch')}:{receipt.get('offset')}  event {receipt.get('event_id')}"
    )


def check_room(room: str) -> None:
    """Refuse what cannot be the name of a room, as wrong usage."""
    if not is_room_name(room):
        message = (
            f"{room!r} is not the name of a room: it is broadcast, system, or a word, a colon and an id without "
            "spaces, for example session:42 or user:ada"
        )
        raise typer.BadParameter(message, param_hint="ROOM")


def _event_data(kind: str, text: str, event_id: str) -> Mapping[str, object]:
    """Read the data and hold it against its kind, before anything is sent."""
    if text == "-":
        text = sys.stdin.read()
    example = _EXAMPLES.get(kind, '{"any": "object"}')
    try:
        data = json.loads(text)
    except ValueError as error:
        message = f"{text!r} is not JSON ({error}). In a shell, put it in single quotes: '{example}'"
        raise typer.BadParameter(message, param_hint="JSON") from None
    if not isinstance(data, dict):
        raise typer.BadParameter(f"{text!r} is not a JSON object; for example '{example}'", param_hint="JSON")
    try:
        draft(kind, data, event_id=event_id, time_ms=0)
    except Refusal as refusal:
        hint = f"; for example: postroom publish session:42 {kind} '{example}'" if kind in _EXAMPLES else ""
        raise typer.BadParameter(f"{refusal.message}{hint}", param_hint="EVENT") from None
    return data


def _receipt(status: int, answer: Mapping[str, object]) -> Mapping[str, object]:
    results = answer.get("results")
    result = results[0] if isinstance(results, list) and results else None
    if status == 200 and isinstance(result, dict) and "error" not in result:
        return result
    error = result.get("error") if isinstance(result, dict) else None
    if isinstance(error, dict):
        code, message = str(error.get("code")), str(error.get("message"))
    else:
        code = str(answer.get("code", f"HTTP {status}"))
        message = str(answer.get("detail") or answer.get("title") or "no reason given")
    advice = f" ({_ADVICE[code]})" if code in _ADVICE else ""
    raise CommandFailed(f"the event was not published: {message} [{code}]{advice}")
