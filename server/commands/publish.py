"""`postroom publish`: one event in, its receipt out."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from server.printable import printable

from .api import NO_TOKEN, NoAnswer, call_api, token_advice
from .failure import CommandFailed
from .parameters import ApiUrl, Token

__all__ = ["check_room", "publish"]

_EXAMPLES = {
    "notification": '{"level": "info", "message": "Your export is ready"}',
    "alert": '{"severity": "high", "title": "disk full"}',
    "progress": '{"current": 3, "total": 10}',
    "session": '{"status": "started"}',
    "system": '{"status": "degraded", "component": "search"}',
}
_ADVICE = {
    "forbidden": "to publish from here takes a token of role service or admin",
    "rate_limited": "try again in a moment",
    "busy": "try again in a moment",
    "journal_unavailable": "try again when the router's disk is well",
    "session_ended": """to start it again: postroom publish ROOM session '{{"status": "started"}}'""",
    "internal": "repeat the command with --event-id {event_id}: the router takes an id once",
}


_SHOWN = 200
"""Characters of wrong data that its message repeats."""


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
    key: Annotated[str | None, typer.Option(help="Whose newer value replaces an older one: a worker, a file.")] = None,
    delivery: Annotated[
        str | None, typer.Option(help="keep, latest or ephemeral. [what is usual for the kind]")
    ] = None,
    ack: Annotated[str | None, typer.Option(help="Alerts only: required or none. [required if critical]")] = None,
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
    if event_id is None:
        event_id = str(uuid.uuid4())
    given = {"key": key, "delivery": delivery, "ack": ack}
    event = {"kind": kind, "data": _read_data(kind, data), "event_id": event_id}
    event |= {name: value for name, value in given.items() if value is not None}
    _check_event(event)
    body = {"room": room, **event}
    try:
        status, answer = call_api("POST", url, "v1/publish", body=body, token=token)
    except TimeoutError:
        raise CommandFailed(
            "the router did not answer in time; the event may have been published all the same. To be sure, "
            f"repeat the command with --event-id {event_id}: the router takes an id once"
        ) from None
    except NoAnswer as error:
        raise CommandFailed(
            f"{error}.\n  If a router stopped at this moment, the event may have been published all the same: repeat "
            f"the command with --event-id {event_id}"
        ) from None
    receipt = _receipt(event_id, status, answer)
    if as_json:
        typer.echo(json.dumps(receipt))
        return
    again = ", which was there already" if receipt.get("duplicate") else ""
    line = (
        f"{receipt.get('room')} #{receipt.get('offset')}{again}"
        f"  position {receipt.get('epoch')}:{receipt.get('offset')}  event {receipt.get('event_id')}"
    )
    typer.echo(printable(line))


def check_room(room: str) -> None:
    """Refuse what cannot be the name of a room, as wrong usage."""
    from actors.identity import is_room_name

    if not is_room_name(room):
        message = (
            f"{room!r} is not the name of a room: it is broadcast, system, or a word, a colon and an id without "
            "spaces, for example session:42 or user:ada"
        )
        raise typer.BadParameter(message, param_hint="ROOM")


def _read_data(kind: str, text: str) -> Mapping[str, object]:
    """Read the data as the router would: no NaN, nothing that nests without end."""
    import msgspec

    example = _EXAMPLES.get(kind, '{"any": "object"}')
    hint = f" In a shell, put it in single quotes: '{example}'"
    try:
        if text == "-":
            hint = ""
            text = "" if sys.stdin is None else sys.stdin.read()
        data = msgspec.json.decode(text.encode())
    except UnicodeError:
        raise typer.BadParameter("this is not JSON: it is not text in UTF-8", param_hint="JSON") from None
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"{_short(text)} is not JSON that can be read ({error}).{hint}"
        raise typer.BadParameter(message, param_hint="JSON") from None
    if not isinstance(data, dict):
        raise typer.BadParameter(f"{_short(text)} is not a JSON object; for example '{example}'", param_hint="JSON")
    return data


def _short(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."


def _check_event(event: Mapping[str, Any]) -> None:
    """Hold the event against its kind, before anything is sent."""
    from actors.errors import Refusal
    from actors.events import draft

    try:
        draft(**event, time_ms=0)
    except Refusal as refusal:
        kind = event["kind"]
        example = _EXAMPLES.get(kind)
        hint = f"; for example: postroom publish session:42 {kind} '{example}'" if example else ""
        raise typer.BadParameter(f"{printable(refusal.message)}{hint}", param_hint="EVENT") from None


def _receipt(event_id: str, status: int, answer: Mapping[str, object]) -> Mapping[str, object]:
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
    outcome = "whether the event was published is not known" if code == "internal" else "the event was not published"
    advice = token_advice(message, "service") if code in NO_TOKEN else _ADVICE.get(code, "").format(event_id=event_id)
    raise CommandFailed(f"{outcome}: {message} [{code}]{advice and f' ({advice})'}")
