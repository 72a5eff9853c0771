"""Peer: a client that follows rooms over as many connections as it takes, believes the protocol, and writes it down."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from ..actors.believer import Believer, Stream
from ..checker.records import End, Event, Missing, Position, Record, Skipped, Subscribed
from .attempts import Attempt
from .link import Link

__all__ = ["Peer"]

Message = dict[str, Any]


class Peer:
    """One client's program.

    Args:
        name: Its name.
        tokens: The names of the tokens that it may use.
        source: Decides.
        note: Is told what it hears.
    """

    def __init__(
        self, name: str, tokens: tuple[str, ...], source: random.Random, note: Callable[[str, str], None] | None
    ) -> None:
        self.name = name
        self.believer = Believer()
        self.link: Link | None = None
        self.records: list[Record] = []
        self.tokens = tokens
        self._source = source
        self._note = note
        self._connections = 0
        self._ids = 0
        self._resumed: dict[str, Position] = {}
        self._unanswered: dict[int, Attempt | None] = {}
        """Commands with an id whose answer has not come, with the event that each wanted to publish."""

    @property
    def connected(self) -> bool:
        """Whether it has a connection, or is on its way to one."""
        return self.link is not None

    @property
    def welcome(self) -> bool:
        """Whether it was let in."""
        return self.link is not None and self.believer.connected

    @property
    def waits(self) -> list[int]:
        """The ids of the commands whose answers are due."""
        return list(self._unanswered)

    # --- what it does

    def connect(self, accept: Callable[[str, Peer], Link]) -> None:
        """Connect, and go on where it was."""
        self._connections += 1
        positions = self.believer.resume()
        self._resumed = {room: Position(**position) for room, position in positions.items()}
        self.link = accept(f"{self.name}.{self._connections}", self)
        self._hello()

    def _hello(self) -> None:
        resume = {room: {"epoch": each.epoch, "offset": each.offset} for room, each in self._resumed.items()}
        self._say("hello", None, token=self._source.choice(self.tokens), resume=resume)

    def subscribe(self, room: str, kinds: list[str] | None, history: int | None) -> None:
        """Ask for a room."""
        if room not in self.believer.rooms:
            number = self._say("subscribe", None, room=room, kinds=kinds, history=history)
            self.believer.asked[number] = Stream(kinds)

    def unsubscribe(self, room: str) -> None:
        """Leave a room."""
        if room in self.believer.rooms:
            self._say("unsubscribe", None, room=room)

    def publish(self, attempt: Attempt, **event: Any) -> None:
        """Publish an event."""
        self._say("publish", attempt, room=attempt.room, event_id=attempt.event_id, **event)

    def ask(self, what: str, **fields: Any) -> None:
        """Say anything else that has an answer."""
        self._say(what, None, **fields)

    def _say(self, type: str, attempt: Attempt | None, **fields: Any) -> int:
        assert self.link is not None
        self._ids += 1
        if type != "hello":
            self._unanswered[self._ids] = attempt
        if self._note is not None:
            self._note(self.name, f"says {type} {self._ids}: {json.dumps(fields)[:200]}")
        self.link.say(json.dumps({"type": type, "id": self._ids, **fields}))
        return self._ids

    # --- what it hears

    def gone(self, code: int | None) -> None:
        """The connection is over."""
        if self._note is not None:
            self._note(self.name, f"lost its connection{'' if code is None else f', closed with {code}'}")
        assert code in (None, 1011, 4002, 4408, 4410), f"{self.name} was closed with {code}"
        self.link = None
        self._unanswered.clear()

    def hear(self, message: Message) -> None:
        """Take one message of the router."""
        if self._note is not None:
            self._note(self.name, f"hears {json.dumps(message)[:300]}")
        kind = message["type"]
        if kind not in ("event", "skipped", "welcome", "notice", "revoked"):
            self._take_answer(message)
        self._write_down(message)
        self.believer.take(message)

    def _take_answer(self, message: Message) -> None:
        number = message.get("id")
        if number in self._unanswered:
            attempt = self._unanswered.pop(number)
            if attempt is not None:
                attempt.hear(message)
            return
        assert message["type"] == "error", f"{message} answers nothing"
        assert not self.believer.connected, f"{message} answers nothing"
        assert message["temporary"], f"{message} answers hello"
        self._hello()

    def _write_down(self, message: Message) -> None:
        about = {"subscriber": self.name, "connection": self._connections}
        kind = message["type"]
        if kind == "welcome":
            for room, answer in message["rooms"].items():
                self._let_in(room, answer, self._resumed.get(room))
        elif kind == "subscribed":
            self._let_in(message["room"], message, None)
        elif kind == "event":
            names = ("room", "offset", "prev", "kind")
            epoch = self.believer.rooms[message["room"]].epoch
            number = message["data"].get("number")
            fields = {name: message[name] for name in names}
            self.records.append(Event(**about, **fields, epoch=epoch, event_id=message["id"], number=number))
        elif kind == "skipped":
            names = {"room": "room", "from_": "from", "to": "to", "reason": "reason"}
            self.records.append(Skipped(**about, **{name: message[theirs] for name, theirs in names.items()}))

    def _let_in(self, room: str, answer: Message, after: Position | None) -> None:
        missing = answer.get("missing")
        self.records.append(
            Subscribed(
                subscriber=self.name,
                connection=self._connections,
                room=room,
                after=after,
                missing=None if missing is None else Missing(missing["from"], missing["to"]),
                **{name: answer[name] for name in ("recovery", "epoch", "offset", "replay")},
            )
        )

    def finish(self) -> None:
        """Write down where it was to the end. With a filter nobody knows that the last events were not for it."""
        self.records += [End(self.name, room) for room, stream in self.believer.rooms.items() if stream.kinds is None]
