"""The demonstration: actors that publish what a working system would, over and over; events for the source out.

Also an example of a plug-in: a function that is given the router, and actors that live under its supervisor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from actors.clock import Timer
from actors.loop import LoopActor, handles
from actors.mailbox import Mailbox
from actors.messages import Publish

if TYPE_CHECKING:
    from .app import Router

__all__ = ["ROOMS", "STEPS", "Beat", "DemoActor", "Step", "plugin"]

ROOMS = ("session:demo-1", "session:demo-2", "session:demo-3")

Beat = tuple[float, Publish]
"""Seconds to wait, and what happens then."""

STEPS = 20


def plugin(router: Router) -> None:
    """Start one actor for each demo session, and one for the system's status."""
    for number, room in enumerate(ROOMS):
        router.start_actor(DemoActor, router, _session_beats(room, number), name=f"demo {room}")
    router.start_actor(DemoActor, router, _system_beats, name="demo system")


class Step(NamedTuple):
    """Clock to actor: the wait is over."""


class DemoActor(LoopActor):
    """Plays a story without end, one beat at a time. After a failure it begins anew.

    Args:
        router: Where events go and waits come from.
        story: Makes the beats.
        mailbox: Where it lives.
    """

    def __init__(self, router: Router, story: Callable[[], Iterator[Beat]], *, mailbox: Mailbox | None = None) -> None:
        super().__init__(mailbox=mailbox)
        self._router = router
        self._beats = story()
        self._event: Publish | None = None
        self._timer: Timer | None = None

    def on_start(self) -> None:
        self._wait()

    def on_stop(self) -> None:
        self._cancel()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cancel()  # the successor has this mailbox and a timer of its own

    @handles(Step)
    def _step(self, _message: Step) -> None:
        if self._event is not None:
            self._router.source.tell(self._event)
        self._wait()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        delay_s, self._event = next(self._beats)
        self._timer = self._router.clock.call_later(delay_s, lambda: self.actor_ref.tell(Step()))


def _session_beats(room: str, number: int) -> Callable[[], Iterator[Beat]]:
    """Make the story of one session; they differ in speed and in which of their runs fail."""
    pace_s = 0.4 + 0.2 * number

    def event(kind: str, **data: object) -> Publish:
        return Publish(rooms=(room,), kind=kind, data=data)

    def beats() -> Iterator[Beat]:
        run = number
        while True:
            run += 1
            fails = run % 4 == 0
            yield 0.5 * (number + 1), event("session", status="started")
            for done in range(1, STEPS + 1):
                yield pace_s, event("progress", current=done, total=STEPS, unit="files", message=f"file {done}")
                if done == STEPS // 2:
                    yield 0.0, event("alert", severity="medium", title="Half of the files were large", run=run)
                if fails and done == STEPS * 3 // 4:
                    break
            if fails:
                yield pace_s, event("session", status="failed", reason="a file could not be read")
                yield 0.0, event("notification", level="error", message=f"Run {run} failed; it starts again soon")
            else:
                yield pace_s, event("session", status="completed", result={"files": STEPS})
                yield 0.0, event("notification", level="success", message=f"Run {run} is done")
            yield 3.0, event("notification", level="info", message="The next run starts now")

    return beats


def _system_beats() -> Iterator[Beat]:
    while True:
        for wait_s, status, message in (
            (5.0, "operational", "All is well"),
            (25.0, "degraded", "Some files take longer than usual"),
            (10.0, "operational", "All is well again"),
        ):
            data = {"status": status, "component": "demo", "message": message}
            yield wait_s, Publish(rooms=("system",), kind="system", data=data)
