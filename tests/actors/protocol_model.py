"""A small router, for one client, as docs/reference/protocol.md has it: a command in, what must be answered out."""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["BURST", "HELLO_S", "MOST_ROOMS", "PER_S", "ProtocolModel"]

MOST_ROOMS = 2
PER_S = 5.0
BURST = 30
HELLO_S = 10.0
_BAD_MOST, _BAD_WITHIN_S = 10, 60.0

_TOKENS = {"unknown": ("unauthenticated", 4401), "old": ("token_expired", 4410), "later": ("busy", None)}
"""Tokens that are refused: with which error, and which close."""


class _Room:
    def __init__(self) -> None:
        self.events: dict[str, int] = {}
        """Event id to offset."""
        self.top = 0
        self.alerts: set[str] = set()
        self.ended = False
        self.owner: str | None = None


class ProtocolModel:
    """What a client of this role may expect.

    Args:
        role: Its token's: `user` reads and publishes `team:*`, and publishes to sessions.
    """

    def __init__(self, role: str) -> None:
        self.role = role
        self.now = 0.0
        self.welcomed = False
        self.closed: int | None = None
        self.rooms: dict[str, _Room] = {}
        """Every room that was ever opened."""
        self.joined: set[str] = set()
        self._asked_for: set[str] = set()
        """Those of the joined that `subscribe` named: they count against the limit."""
        self._own = {"user:ann", f"role:{role}", "broadcast", "system"}
        self._bad: deque[float] = deque(maxlen=_BAD_MOST)
        self._tokens = float(BURST)
        self._tokens_at = 0.0

    # --- what happens

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        if not self.welcomed and self.closed is None and self.now >= self._hello_by:
            self.closed = 4408

    _hello_by = HELLO_S

    def bad(self) -> str:
        """Take a frame that is no command."""
        return self._count_bad("bad_message")

    def hello(self, token: str) -> str:
        """Say hello with a token: `ann`'s own, or one that is refused."""
        if self.welcomed:
            return self._count_bad("bad_message")
        if token in _TOKENS:
            error, self.closed = _TOKENS[token]
            self._hello_by = self.now + HELLO_S
            return error
        self.welcomed = True
        for room in self._own:
            self._open(room)
        self.joined |= self._own
        return "welcome"

    def command(self, type: str, fields: dict[str, Any]) -> str:
        """Say anything else whose fields are right; return the type of the answer, or the error's code."""
        if not self.welcomed:
            return self._count_bad("unauthenticated")
        if self.role == "user" and not self._token():
            return "rate_limited"
        answer: str = getattr(self, f"_{type}")(**fields)
        return answer

    # --- commands

    def _ping(self) -> str:
        return "pong"

    def _subscribe(self, room: str, **_options: Any) -> str:
        if room in self.joined:
            return "already_subscribed"
        if len(self._asked_for) >= MOST_ROOMS:
            return "too_many_rooms"
        if not self._may_read(room):
            return "forbidden"
        self._open(room)
        self.joined.add(room)
        self._asked_for.add(room)
        return "subscribed"

    def _unsubscribe(self, room: str) -> str:
        if room not in self.joined:
            return "not_subscribed"
        self.joined.remove(room)
        self._asked_for.discard(room)
        return "unsubscribed"

    def _publish(self, room: str, kind: str, data: dict[str, Any], event_id: str | None = None) -> str:
        if not (self.role == "service" or (self.role == "user" and room.startswith(("team:", "session:")))):
            return "forbidden"
        if kind == "nodot" or (kind == "alert" and "title" not in data):
            return "invalid_event"
        at = self._open(room)
        if event_id in at.events:
            return "published"
        if kind == "progress" and at.ended:
            return "session_ended"
        at.top += 1
        if event_id is not None:
            at.events[event_id] = at.top
        if kind == "alert":
            at.alerts.add(str(event_id))
        if kind == "session":
            at.ended = data["status"] != "started"
            at.owner = data.get("owner", at.owner)
        return "published"

    def _state(self, room: str) -> str:
        return self._ask(room, "state")

    def _history(self, room: str, **_options: Any) -> str:
        return self._ask(room, "history")

    def _presence(self, room: str) -> str:
        return self._ask(room, "presence")

    def _ack(self, room: str, event_id: str) -> str:
        trusted = self.role in ("admin", "service")
        if not trusted and not self._may_read(room) and not (room in self.rooms and room.startswith("session:")):
            return "forbidden"
        if room not in self.rooms:
            return "not_found"
        if not trusted and not (room == "user:ann" or room.startswith("team:") or self._owns(room)):
            return "forbidden"
        if event_id not in self.rooms[room].alerts:
            return "not_found"
        self.rooms[room].alerts.remove(event_id)
        self.rooms[room].top += 1
        return "acknowledged"

    def _refresh(self, token: str) -> str:
        if token == "bob":
            return "forbidden"
        return _TOKENS[token][0] if token in _TOKENS else "refreshed"

    def _ask(self, room: str, answer: str) -> str:
        if not self._may_read(room) and not (room in self.rooms and room.startswith("session:")):
            return "forbidden"
        if room not in self.rooms:
            return "not_found"
        return answer if self._may_read(room) else "forbidden"

    # --- what it knows

    def _may_read(self, room: str) -> bool:
        team = self.role == "user" and room.startswith("team:")
        return self.role == "admin" or room in self._own or team or self._owns(room)

    def _owns(self, room: str) -> bool:
        return room.startswith("session:") and room in self.rooms and self.rooms[room].owner == "ann"

    def _open(self, room: str) -> _Room:
        return self.rooms.setdefault(room, _Room())

    def _token(self) -> bool:
        self._tokens = min(BURST, self._tokens + (self.now - self._tokens_at) * PER_S)
        self._tokens_at = self.now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _count_bad(self, code: str) -> str:
        self._bad.append(self.now)
        if len(self._bad) == _BAD_MOST and self.now - self._bad[0] <= _BAD_WITHIN_S:
            self.closed = 4400
        return code
