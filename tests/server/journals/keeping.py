"""A log in a file, under a real supervisor, and rooms' questions to it that a test can wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.child import ChildSpec
from actors.errors import LogUnavailable, Refusal
from actors.events import Draft, Event
from actors.mailbox import Mailbox
from actors.messages import Append, AppendFailed, Committed, Shutdown, StartChild
from actors.record import RoomRecord
from actors.supervisor import SupervisorStart
from server.journals.sqlite import SqliteLog
from tests.actors.fake_clock import FakeClock, settled
from tests.actors.making import a_draft

__all__ = ["Ear", "Keeper", "keeper", "until"]

WAIT_S = 20.0
ROOM = "team:1"


async def until(condition: Callable[[], object]) -> None:
    """Wait for what a thread brings about."""
    for _ in range(int(WAIT_S * 1000)):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"it did not come about within {WAIT_S} s")


class Ear:
    """Hears what a room would be told."""

    def __init__(self) -> None:
        self.heard: list[Event | Refusal] = []
        self.tags: list[Any] = []

    def tell(self, message: Committed | AppendFailed) -> None:
        self.heard.append(message.event if isinstance(message, Committed) else message.refusal)
        self.tags.append(message.append.tag)


class Keeper:
    """A started log and its clock."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.clock = FakeClock()
        self.log = SqliteLog(path, clock=self.clock, **options)
        self._root = Mailbox(name="root")
        self._root_start = SupervisorStart("root", self.clock)
        self._ended = asyncio.Event()

    async def start(self) -> None:
        await self.log.start(self._start_child)

    def _start_child(self, name: str, mailbox: Mailbox, start: Callable[[Mailbox], object]) -> None:
        self._root.monitor = lambda how: self._ended.set()
        self._root_start(self._root)
        self._root.tell(StartChild(ChildSpec(name, start), mailbox))

    async def stop(self) -> None:
        async with asyncio.timeout(WAIT_S):
            if self._root.occupied:
                self._root.tell(Shutdown())
                await self._ended.wait()
            await self.log.stop()
        await settled()

    async def read(self, room: str = ROOM) -> RoomRecord | LogUnavailable:
        """Open a room."""
        ready: asyncio.Future[RoomRecord | LogUnavailable] = asyncio.get_running_loop().create_future()
        self.log.open(room, ready.set_result)
        async with asyncio.timeout(WAIT_S):
            return await ready

    async def record(self, room: str = ROOM) -> RoomRecord:
        """Open a room that can be read."""
        record = await self.read(room)
        assert isinstance(record, RoomRecord), record
        return record

    def tell(self, ear: Ear, *drafts: Draft, room: str = ROOM, named: bool = True) -> None:
        """Append without waiting."""
        for draft in drafts:
            self.log.append(room, Append(draft, named=named, reply_to=ear, tag=draft.id), ear)

    async def append(self, *ids: str, room: str = ROOM, **options: Any) -> list[Event | Refusal]:
        """Append events with these ids and return what the room is told."""
        ear = Ear()
        self.tell(ear, *(a_draft(event_id=each, **options) for each in ids), room=room)
        await until(lambda: len(ear.heard) == len(ids))
        return ear.heard

    async def ids(self, room: str = ROOM) -> list[str]:
        """Return the ids of the events that a room has."""
        return [event.draft.id for event in (await self.record(room)).events]

    async def probe(self) -> None:
        """Let the time pass until the journal looks whether trouble is over, and wait for what it finds."""
        desk = self.log._desk
        await until(lambda: desk.probe_set)
        await self.clock.advance(0.5)
        await until(lambda: desk.probe_set or self.log.trouble is None)


@asynccontextmanager
async def keeper(path: Path, **options: Any) -> AsyncIterator[Keeper]:
    """Start a log in a file, and stop it at the end."""
    keeper = Keeper(path, **options)
    await keeper.start()
    try:
        yield keeper
    finally:
        await keeper.stop()
