"""What one client says and does, a line each: frames for its Connection actor, and what else may happen to it.

`~30` lets so many seconds pass, `~` alone lets the socket fill up or drain, `~!` publishes to a room that it may be in.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import structlog

from actors.errors import CloseCode, ErrorCode
from actors.ports import ConnectionLimits
from tests.actors.asking import user
from tests.actors.client import Client, Hall
from tests.actors.fake_clock import settled

__all__ = ["take"]

_MOST_LINES = 64
_LIMITS = ConnectionLimits(rooms=3, outbox_bytes=16_384, commands_per_s=10.0, commands_burst=20)
_RUNNER = asyncio.Runner()
_CLOSES = {int(code) for code in CloseCode}


def take(data: bytes) -> None:
    """Live through it, once as a user and once as an operator."""
    lines = [line.decode("utf-8", "replace") for line in data.split(b"\n")[:_MOST_LINES]]
    with structlog.testing.capture_logs() as logged:
        for role in ("user", "admin"):
            _RUNNER.run(_live(lines, role))
    failed = [line for line in logged if line["event"] in ("actor_failed", "actor_given_up")]
    assert not failed, failed[0]


async def _live(lines: list[str], role: str) -> None:
    hall = Hall(_LIMITS)
    token = user(hall, "t", role=role, rooms=("team:*",), publish=("team:*", "session:*"))
    client = hall.client(offered_token=token)
    asked: Counter[str] = Counter()
    for line in lines:
        closed, told = client.wire.closed, len(client.wire.told)
        if line.startswith("~"):
            await _happen(hall, client, line[1:])
        else:
            asked.update(_ids(line))
            client.put(line)
        await settled()
        if closed is not None:
            assert len(client.wire.told) == told, "written after the close"
    while client.wire.closed is None and client.wire.paused:
        client.wire.fills_up = False
        client.wire.go_on()
        await settled()
    _check(client, asked)
    await client.hang_up()
    assert client.wire.under_way == 0, "a command is under way for ever"
    await hall.end()


async def _happen(hall: Hall, client: Client, what: str) -> None:
    if what == "!":
        await hall.house.publish("team:1", "broadcast", data={"x": "y" * 100})
    elif what.isascii() and what.isdigit():
        await hall.clock.advance(float(what[:3]))
    elif client.wire.paused:
        client.wire.go_on()
    else:
        client.wire.paused = True


def _ids(line: str) -> list[str]:
    """Find the id under which a frame has to be answered, if it says one that is one."""
    try:
        message: Any = json.loads(line, parse_constant=lambda _: 1 / 0)
    except (ValueError, RecursionError, ZeroDivisionError):
        return []
    id = message.get("id") if isinstance(message, dict) else None
    return [json.dumps(id)] if isinstance(id, str | int) and not isinstance(id, bool) else []


def _check(client: Client, asked: Counter[str]) -> None:
    """Each command with an id got one answer, unless the connection was closed before; errors are the protocol's."""
    told = client.wire.told
    answered = Counter(json.dumps(message["id"]) for message in told if "id" in message and message["type"] != "event")
    if client.wire.closed is None:
        assert answered == asked, f"asked {asked}, answered {answered}"
    else:
        assert client.wire.closed[0] in _CLOSES
        assert answered <= asked, f"asked {asked}, answered {answered}"
    for error in client.wire.of("error"):
        assert error["temporary"] is ErrorCode(error["code"]).temporary
        assert error["message"]
