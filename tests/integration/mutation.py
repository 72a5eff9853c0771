"""Right messages of the native protocol, made wrong by chance: in the JSON, in the bytes, in the frame."""

from __future__ import annotations

import json
import random
from typing import Any

from ..raw_client import CLOSE, CONTINUATION, PING, TEXT, frame

__all__ = ["mutated_frames"]

_ROOMS = ("doc:1", "session:7", "broadcast", "user:anonymous")
_COMMANDS: tuple[dict[str, Any], ...] = (
    {"type": "hello", "token": None, "client": {"name": "x", "version": "1"}, "resume": {"doc:1": {"epoch": "a"}}},
    {"type": "subscribe", "room": "doc:1", "after": {"epoch": "a", "offset": 3}, "kinds": ["a.b"], "state": False},
    {"type": "subscribe", "room": "session:7", "history": 20},
    {"type": "unsubscribe", "room": "doc:1"},
    {"type": "publish", "room": "doc:1", "kind": "a.b", "data": {"x": [1, {"y": None}]}, "event_id": "e", "key": "k"},
    {"type": "publish", "room": "session:7", "kind": "progress", "data": {"current": 1, "total": 9.5}},
    {"type": "publish", "room": "session:7", "kind": "session", "data": {"status": "started", "owner": "ann"}},
    {"type": "publish", "room": "doc:1", "kind": "alert", "data": {"severity": "critical", "title": "t"}},
    {"type": "publish", "room": "doc:1", "kind": "notification", "data": {"level": "info", "message": "m"}},
    {"type": "publish", "room": "doc:1", "kind": "system", "data": {"status": "outage"}, "delivery": "latest"},
    {"type": "state", "room": "doc:1"},
    {"type": "history", "room": "doc:1", "after": 1, "limit": 5},
    {"type": "presence", "room": "doc:1"},
    {"type": "ack", "room": "doc:1", "event_id": "e"},
    {"type": "refresh", "token": "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"},
    {"type": "ping"},
)
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1.5, -0.0, 1e308, "", " ", "\x00", "\ud800", "x" * 300),
    *("user:*", "doc:\n", "../../etc", "__proto__", "%s%n", "'; DROP TABLE events; --", "a.b", "alert.acknowledged"),
    *([], {}, [[]], {"": {}}, [None] * 40, {"epoch": "a", "offset": -1}, {"epoch": 1, "offset": "1"}),
)


def mutated_frames(chance: random.Random, count: int) -> bytes:
    """Return so many frames in one piece; the same chance gives the same ones, but for their masks."""
    return b"".join(_mutated(chance) for _ in range(count))


def _mutated(chance: random.Random) -> bytes:
    """Return one frame; few are wrong as frames: such a one ends its connection, and those behind it are lost."""
    command = {**chance.choice(_COMMANDS), "id": chance.randint(0, 9)}
    way = chance.random()
    if way < 0.55:
        return frame(TEXT, _text(_changed(chance, command)))
    payload = _text(command)
    if way < 0.93:
        return frame(TEXT, _torn(chance, payload))
    if way < 0.955:
        whole = bytearray(frame(TEXT, payload))
        whole[chance.randrange(min(8, len(whole)))] ^= 1 << chance.randrange(8)
        return bytes(whole)
    if way < 0.975:
        opcode = chance.choice((TEXT, CONTINUATION, PING, CLOSE, chance.randrange(16)))
        fin, reserved = chance.random() < 0.7, chance.choice((0, 0, 0, 4, 2, 1))
        return frame(opcode, payload[: chance.randrange(126)], fin=fin, reserved=reserved, mask=chance.random() < 0.9)
    return chance.randbytes(chance.randrange(1, 40)) if way < 0.985 else frame(TEXT, payload)


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


def _changed(chance: random.Random, command: dict[str, Any]) -> dict[str, Any]:
    """Replace, drop, add or nest a field."""
    changed = dict(command)
    key = chance.choice(list(changed))
    match chance.randrange(5):
        case 0:
            del changed[key]
        case 1:
            changed[chance.choice(("room", "data", "extra", "id", "type"))] = chance.choice(_VALUES)
        case 2:
            changed[key] = {key: changed[key]}
        case 3:
            changed["room"] = chance.choice(_ROOMS)
            changed["data"] = {"current": chance.choice(_VALUES), "status": chance.choice(_VALUES), "x": changed[key]}
        case _:
            changed[key] = chance.choice(_VALUES)
    return changed


def _torn(chance: random.Random, payload: bytes) -> bytes:
    """Flip, cut, double or insert bytes."""
    torn = bytearray(payload)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(torn) + 1)
        match chance.randrange(4):
            case 0 if at < len(torn):
                torn[at] ^= 1 << chance.randrange(8)
            case 1:
                del torn[at : at + chance.randint(1, 9)]
            case 2:
                torn[at:at] = torn[at : at + 20]
            case _:
                torn[at:at] = chance.choice((b'"', b"[" * 60, b"\\u0000", b"\xff", b"1e999", b"{}", b"\n"))
    return bytes(torn)
