"""Children for supervisors: actors that fail when told to, and a supervisor on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from actors.child import Backoff, ChildSpec
from actors.loop import LoopActor, handles
from actors.mailbox import Exit, Mailbox
from actors.messages import Shutdown, StartChild
from actors.supervisor import Child, Supervisor

from .fake_clock import FakeClock, settled

__all__ = ["NO_WAIT", "Boom", "Fail", "Family", "Worker"]

NO_WAIT = Backoff(draw=lambda _low, _high: 0.0)


class Boom(Exception):
    """What a worker fails with, unless told otherwise."""


class Fail(NamedTuple):
    """Tell a worker to fail."""

    error: BaseException


class Worker(LoopActor):
    """Writes down its lives and what it is told.

    Args:
        notes: Where it writes: `start`, what it is told, `stop`.
        name: Stands before each note.
        mailbox: Where it lives.
    """

    def __init__(self, notes: list[str], name: str, *, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._notes = notes
        self._name = name

    def on_start(self) -> None:
        self._notes.append(f"{self._name} start")

    def on_stop(self) -> None:
        self._notes.append(f"{self._name} stop")

    @handles(Fail)
    def _fail(self, message: Fail) -> None:
        raise message.error

    @handles(str)
    def _note(self, message: str) -> None:
        self._notes.append(f"{self._name} {message}")


class Family:
    """A supervisor named `parent` and its children; `ended` is how the supervisor's life ended."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.notes: list[str] = []
        self.children: dict[Mailbox, Child] = {}
        self.parent = Mailbox(name="parent")
        self.ended: list[Exit] = []
        self.parent.monitor = self.ended.append
        self.start_parent()

    def start_parent(self) -> None:
        """Start the supervisor, or the one that follows it after a failure."""
        Supervisor.start("parent", self.children, self.clock, mailbox=self.parent)

    async def worker(self, name: str, start: Callable[[Mailbox], object] | None = None, **options: Any) -> Mailbox:
        """Start a worker as a child; options are those of `ChildSpec`."""
        mailbox = Mailbox(name=name)
        if start is None:
            start = lambda box: Worker.start(self.notes, name, mailbox=box)  # noqa: E731  # it needs no name
        self.parent.tell(StartChild(ChildSpec(name, start, **options), mailbox))
        await settled()
        return mailbox

    async def tell(self, mailbox: Mailbox, *messages: object) -> None:
        """Tell an actor, and wait until everybody is done."""
        for message in messages:
            mailbox.tell(message)
        await settled()

    async def fail(self, mailbox: Mailbox, times: int = 1) -> None:
        """Let a worker fail so often, each time after its restart."""
        for _ in range(times):
            await self.tell(mailbox, Fail(Boom("it broke")))
            await self.clock.advance(0.0)

    async def end(self) -> None:
        """Stop everybody that is left."""
        if self.parent.occupied:
            await self.tell(self.parent, Shutdown())
        for mailbox in self.children:
            mailbox.stop()
        await settled()
        self.parent.close()
