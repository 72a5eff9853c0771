"""The inside of a router on a clock that the test moves: directory, rooms, source, and who listens to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import pytest
from pykka._envelope import Envelope

from actors.directory import RoomDirectory
from actors.elsewhere import NOWHERE, Elsewhere
from actors.identity import ANONYMOUS, Identity
from actors.ledger import Ledger
from actors.line import Line
from actors.log import EventLog, MemoryLog
from actors.loop import LoopActor
from actors.mailbox import Mailbox
from actors.messages import Append, Publish, Published, Refused, Shutdown, Subscribe
from actors.pressure import Pressure
from actors.quarantine import Quarantine
from actors.rooms import RoomLimits
from actors.source import NotificationSource
from actors.supervisor import SupervisorStart

from .fake_clock import FakeClock, settled
from .making import a_draft

__all__ = ["Ear", "House", "fail_once"]

T = TypeVar("T")


class Ear:
    """Hears what it is told; stands where a mailbox would."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.line: Line | None = None

    def tell(self, message: Any) -> None:
        self.heard.append(message)

    def put_here(self, envelope: Envelope[Any]) -> None:
        self.heard.append(envelope.message)

    def of(self, kind: type[T]) -> list[T]:
        """Return what it heard of this type, in order."""
        return [message for message in self.heard if isinstance(message, kind)]

    def only(self, kind: type[T]) -> T:
        """Return the one message of this type."""
        (message,) = self.of(kind)
        return message


class House:
    """Rooms and a source, supervised.

    Args:
        limits: What a room holds.
        log: Where events are kept; None: in memory.
        elsewhere: The same rooms on other routers.
    """

    def __init__(
        self, limits: RoomLimits | None = None, log: EventLog | None = None, elsewhere: Elsewhere = NOWHERE
    ) -> None:
        self.clock = FakeClock()
        self.log = log if log is not None else MemoryLog()
        self.ledger = Ledger()
        self.rooms = Mailbox(name="rooms")
        self.rooms_start = SupervisorStart("rooms", self.clock)
        self.rooms_start(self.rooms)
        self.reports: list[tuple[str, dict[str, Any]]] = []
        self.quarantine = Quarantine(self.clock, lambda kind, /, **fields: self.reports.append((kind, fields)))
        self.directory = RoomDirectory(
            supervisor=self.rooms,
            log=self.log,
            ledger=self.ledger,
            clock=self.clock,
            limits=limits if limits is not None else RoomLimits(),
            pressure=Pressure(),
            quarantine=self.quarantine,
            elsewhere=elsewhere,
        )
        self.source = Mailbox(name="source")
        NotificationSource.start(self.directory, self.clock, self.quarantine, mailbox=self.source)

    async def append(
        self, room: str, kind: str = "app.thing", data: Mapping[str, Any] | None = None, **options: Any
    ) -> Published | Refused:
        """Hand an event straight to a room; return its answer."""
        ear = Ear()
        self.put(room, ear, kind, data, **options)
        await settled()
        (answer,) = ear.heard
        assert isinstance(answer, Published | Refused)
        return answer

    def put(
        self, room: str, ear: Ear, kind: str = "app.thing", data: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """Hand an event to a room; `ear` hears the answer."""
        options.setdefault("time_ms", int(self.clock.time() * 1000))
        named = "event_id" in options
        options.setdefault("event_id", f"unnamed-{id(ear)}-{len(ear.heard)}")
        self.directory.room(room).tell(Append(a_draft(kind, data, **options), named, ear, None))

    def subscribe(self, room: str, ear: Ear, name: str = "c1", identity: Identity = ANONYMOUS, **options: Any) -> None:
        """Ask a room to let `ear` in."""
        asked = {"after": None, "history": None, "kinds": None, "state": True, "tag": name, **options}
        self.directory.room(room).tell(Subscribe(name, ear, identity, **asked))

    async def publish(self, *rooms: str, **fields: Any) -> Ear:
        """Hand an event to the source; return who heard its answers."""
        ear = Ear()
        self.source.tell(Publish(rooms=rooms, **{"kind": "app.thing", "data": {}, **fields}, reply_to=ear))
        await settled()
        return ear

    async def end(self) -> None:
        """Stop everybody."""
        self.source.stop()
        self.rooms.tell(Shutdown())
        await settled()


def fail_once(
    monkeypatch: pytest.MonkeyPatch, actor: type[LoopActor], message: type, *, after: bool = False, times: int = 1
) -> None:
    """Let the actor's handler of this message raise, before or after it did its work."""
    handler = actor._handlers[message]
    left = [times]

    def failing(self: LoopActor, received: Any) -> Any:
        result = handler(self, received) if after or not left[0] else None
        if left[0]:
            left[0] -= 1
            raise RuntimeError(f"made to fail on {message.__name__}")
        return result

    monkeypatch.setitem(actor._handlers, message, failing)
