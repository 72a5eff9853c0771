"""Somebody forges a room's history in the journal, checksums and all: that room is unavailable, or shows what it can.

Nothing else is touched: rooms that fail on their own history over and over would take the others down.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
from pathlib import Path
from typing import Any

from server.journals.rows import _seal, seal_of_state

from ..conftest import running_router
from ..native_client import NativeClient

COLUMNS = ("follows", "id", "kind", "time_ms", "key", "delivery", "ack", "named", "data")


class Bomb:
    """Runs a command where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._path}",)


DEEP = f'{{"status": "started", "x": {"[" * 900}{"]" * 900}}}'
EVENTS: dict[str, dict[str, Any]] = {
    "a session without a status": {"kind": "session", "data": '{"x": 1}'},
    "a session with another status": {"kind": "session", "data": '{"status": ["started"]}'},
    "a deep session": {"kind": "session", "data": DEEP},
    "an acknowledgement of nothing": {"kind": "alert.acknowledged", "data": "{}"},
    "an acknowledgement of a list": {"kind": "alert.acknowledged", "data": '{"event_id": [], "user": 1}'},
    "an escalation of nothing": {"kind": "alert.escalated", "data": "{}"},
    "an alert without a title": {"kind": "alert", "data": '{"severity": "critical"}', "ack": 1},
    "an alert that is due whenever": {"kind": "alert", "data": '{"title": "x", "escalate_after_s": "x"}', "ack": 1},
    "progress of words": {"kind": "progress", "data": '{"current": "x", "total": null}'},
    "progress of nothing": {"kind": "progress", "data": "{}"},
    "a kind that is none": {"kind": "<script>\n\x00", "data": "{}"},
    "a time before all times": {"kind": "a.b", "data": "{}", "time_ms": -(2**62)},
    "a time after all times": {"kind": "a.b", "data": "{}", "time_ms": 2**62},
    "a long id": {"kind": "a.b", "data": "{}", "id": "x" * 100_000},
}
STATES: dict[str, bytes] = {
    "a state that is a number": b"17",
    "a state of another shape": b'{"status": 5}',
    "an alert without a time": b'{"alerts": {"a": {"offset": 1}}}',
    "an alert at another time": b'{"alerts": {"a": {"event_id": "a", "title": "x", "offset": 1, "time": "soon"}}}',
    "an alert under another id": b'{"alerts": {"a": {"event_id": "b", "title": "x", "offset": 1, "time": ""}}}',
    "a run that began before all times": b'{"started_ms": -99999999999999999}',
    "progress without a time": b'{"progress": {"a": {"current": 1}}}',
    "progress without a value": b'{"progress": {"a": {}}, "progress_ms": {"a": 1}}',
    "acknowledged by nobody": b'{"acknowledged": [{}]}',
    "sizes that are none": b'{"sizes": {"a": "x"}}',
}


async def test_a_forged_history_costs_its_own_room_at_most(tmp_path: Path, logged: list[dict[str, Any]]) -> None:
    """No actor gives up, nothing is run, and every other room goes on."""
    path, went_off = tmp_path / "journal.db", tmp_path / "went-off"
    states = {**STATES, "a pickle": pickle.dumps(Bomb(went_off))}
    rooms = {name: f"doc:{name.replace(' ', '-')}" for name in (*EVENTS, *states)}
    async with running_router(dev=True, journal=str(path)) as router, NativeClient(router.addresses.ws_url) as client:
        for room in ("doc:whole", *rooms.values()):
            for number in range(3):
                await client.ask("publish", room=room, kind="a.b", data={"n": number})
    with sqlite3.connect(path) as journal:
        journal.execute("DELETE FROM states")
        for name, forged in EVENTS.items():
            _forge_event(journal, rooms[name], forged)
        for name, state in states.items():
            _forge_state(journal, rooms[name], state)
    journal.close()

    logged.clear()
    async with running_router(dev=True, journal=str(path)) as router, NativeClient(router.addresses.ws_url) as other:
        assert (await other.subscribe("doc:whole"))["offset"] == 3
        for name, room in rooms.items():
            async with NativeClient(router.addresses.ws_url) as client:
                answer = await client.ask("subscribe", room=room, history=10)
                assert answer.get("code") == "journal_unavailable" or answer["offset"] == 3, (name, answer)
                if answer["type"] == "subscribed":
                    assert len(await client.events(3)) == 3
                answer = await client.ask("publish", room=room, kind="a.b", data={})
                assert answer.get("code") == "journal_unavailable" or answer["offset"] == 4, (name, answer)
        assert (await other.ask("publish", room="doc:whole", kind="a.b", data={}))["offset"] == 4
        assert (await other.next("event"))["offset"] == 4
    assert not [line for line in logged if line["event"] in ("actor_failed", "actor_given_up")]
    assert not [line for line in logged if line["log_level"] in ("error", "critical")]
    assert not went_off.exists(), "it went off"


def _forge_event(journal: sqlite3.Connection, room: str, forged: dict[str, Any]) -> None:
    (number,) = journal.execute("SELECT id FROM rooms WHERE name = ?", (room,)).fetchone()
    query = f"SELECT {', '.join(COLUMNS)} FROM events WHERE room = ? AND offset = 2"
    row = {**dict(zip(COLUMNS, journal.execute(query, (number,)).fetchone(), strict=True)), **forged}
    sealed = {**row, "ack": bool(row["ack"]), "named": bool(row["named"])}
    sealed["event_id"] = sealed.pop("id")
    crc = _seal(number, 2, **sealed)
    names = ", ".join(f"{name} = ?" for name in COLUMNS)
    journal.execute(f"UPDATE events SET {names}, crc = ? WHERE room = ? AND offset = 2", (*row.values(), crc, number))


def _forge_state(journal: sqlite3.Connection, room: str, state: bytes) -> None:
    number, top = journal.execute("SELECT id, top FROM rooms WHERE name = ?", (room,)).fetchone()
    crc = seal_of_state(number, top, state, "[]")
    journal.execute("INSERT INTO states VALUES (?, ?, '[]', ?, ?)", (number, top, crc, state))
