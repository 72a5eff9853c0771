"""Supervisors: what failed in, a new actor in the same mailbox out, or a child given up; each step is logged and told.

root ── connections ── a Connection for each socket
    ├── rooms ──────── a Room for each room in use
    ├── source
    └── plug-ins' actors
"""

from __future__ import annotations

import itertools
import secrets
import traceback
from collections import deque

import structlog

from .child import ChildSpec
from .clock import Clock
from .errors import Escalation, RestartOrdered
from .loop import LoopActor, handles
from .mailbox import Exit, Mailbox
from .messages import ChildExited, Restart, Shutdown, StartChild
from .places import places_hash
from .report import Report, unreported
from .trace import trace_of

__all__ = ["Child", "Supervisor", "SupervisorStart"]

log = structlog.get_logger("postroom.supervisor")

_process = secrets.token_hex(3)
_incident_numbers = itertools.count(1)

_LONGEST_REST_S = 5.0
"""How long a child rests at most that is given up over and over: what comes meanwhile waits for it."""
_WELL_S = 60.0
"""How long it has to go on before it rests as shortly as at first."""
_EXCUSED_AT_ONCE = 10
"""How many restarts within the window that messages are to blame for come at once; those after them wait a little, so
that a flood of such messages leaves time to everybody else."""


class Child:
    """A child and what became of it. Outlives the supervisor."""

    __slots__ = ("ended", "excused", "given_up_at", "mailbox", "recent", "rest_s", "restarts", "spec")

    def __init__(self, spec: ChildSpec, mailbox: Mailbox) -> None:
        self.spec = spec
        self.mailbox = mailbox
        self.ended: Exit | None = None
        """How its last life ended, until the supervisor has dealt with it."""
        self.restarts = 0
        """How often it was restarted in all."""
        self.recent: deque[float] | None = None
        """When it was restarted lately, by the monotonic clock; None: never."""
        self.excused: deque[float] | None = None
        """The same for restarts that are a message's fault, which is tried again or put away: they do not count."""
        self.rest_s = 0.0
        """How long it rested when it was given up last."""
        self.given_up_at = 0.0
        """When that was, by the monotonic clock."""

    def rest(self, now: float) -> float:
        """Return how long it rests when it is given up now: twice as long each time, unless it was well for a while."""
        well = now - self.given_up_at > _WELL_S
        self.rest_s = self.spec.rest_s if well or not self.rest_s else min(2 * self.rest_s, _LONGEST_REST_S)
        self.given_up_at = now
        return self.rest_s


class Supervisor(LoopActor):
    """Starts children, restarts the ones that fail, gives up the ones that fail too often.

    Args:
        name: For logs.
        children: Filled with the children by their mailboxes; given to the successor of a supervisor that failed.
        clock: For the intensity's window and the back-off.
        report: Is told of every failure and of what became of it.
        mailbox: Where it lives.
    """

    def __init__(
        self, name: str, children: dict[Mailbox, Child], clock: Clock, report: Report = unreported, *, mailbox: Mailbox
    ) -> None:
        super().__init__(mailbox=mailbox)
        self._name = name
        self._children = children
        self._clock = clock
        self._report = report
        self._stopping = False

    def on_restart(self, failure: Exit) -> None:
        """Bring back the children that are down; those that live do not notice that their supervisor failed.

        What it was asked to do when it failed is done now: nobody asks again.
        """
        for child in list(self._children.values()):
            if child.mailbox.occupied:
                continue
            if child.ended is not None and not _wanted(child.spec, child.ended):
                if child.ended.cause is not None:
                    self._note_failure(child, child.ended)
                self._drop(child, child.ended)
            else:
                child.recent = None
                self._start(child)
        self._report(
            "repaired",
            incident=failure.incident,
            actor=self._name,
            noticed="nothing; those of its children that live did not notice",
        )
        message = failure.message
        if isinstance(message, StartChild) and message.mailbox not in self._children:
            self._start_child(message)
        elif isinstance(message, Shutdown):
            self._shutdown(message)

    @handles(StartChild)
    def _start_child(self, message: StartChild) -> None:
        mailbox = message.mailbox
        if self._stopping:
            mailbox.close()
            return
        child = self._children[mailbox] = Child(message.spec, mailbox)
        own = self.mailbox

        def ended(how: Exit) -> None:
            child.ended = how  # for a supervisor that follows this one
            own.tell(ChildExited(mailbox, how))

        mailbox.monitor = ended
        self._start(child)

    @handles(ChildExited)
    def _child_exited(self, message: ChildExited) -> None:
        child = self._children.get(message.mailbox)
        if child is None:
            return
        how = message.exit
        if how.cause is not None:
            how = self._note_failure(child, how)
        if child.mailbox.occupied:
            return  # the supervisor before this one failed, and on_restart() has brought the child back already
        if self._stopping or not _wanted(child.spec, how):
            self._drop(child, how)
        elif isinstance(how.cause, RestartOrdered):
            self._restart_on_order(child, how.cause.by, how.incident)
        elif how.then != "answer":
            self._excuse(child, how.incident)
        elif self._too_often(child):
            self._give_up(child, how)
        else:
            assert child.recent is not None
            wait_s = child.spec.backoff.wait_s(len(child.recent))
            child.recent.append(self._clock.monotonic())
            self._restart_later(child, how.incident, wait_s)

    @handles(Restart)
    def _restart(self, message: Restart) -> None:
        child = self._children.get(message.mailbox)
        if child is None or child.mailbox.occupied or self._stopping:
            return
        if child.ended is None or _wanted(child.spec, child.ended):  # else it was brought back before, and has stopped
            self._start(child)

    @handles(Shutdown)
    def _shutdown(self, message: Shutdown) -> None:
        self._stopping = True
        for child in reversed(list(self._children.values())):
            if not child.mailbox.occupied:
                self._drop(child, None)
            else:
                child.spec.stop(child.mailbox)
        if not self._children:
            self.stop()

    def _start(self, child: Child) -> None:
        child.ended = None
        try:
            child.spec.start(child.mailbox)
        except BaseException as error:  # an actor's constructor may raise anything: it is that one child's failure
            self.mailbox.tell(ChildExited(child.mailbox, Exit("", error, None, len(child.mailbox))))

    def _too_often(self, child: Child) -> bool:
        child.recent = self._lately(child.recent, child.spec)
        return len(child.recent) >= child.spec.intensity

    def _restart_on_order(self, child: Child, by: str, incident: str) -> None:
        child.restarts += 1
        self._note_restart(child, incident, 0.0, by)
        self._start(child)

    def _excuse(self, child: Child, incident: str) -> None:
        """Restart a child that failed on a message which is tried again or put away: that ends by itself."""
        child.recent = self._lately(child.recent, child.spec)
        child.excused = self._lately(child.excused, child.spec)
        wait_s = child.spec.backoff.wait_s(2) if len(child.excused) >= _EXCUSED_AT_ONCE else 0.0
        child.excused.append(self._clock.monotonic())
        self._restart_later(child, incident, wait_s)

    def _lately(self, times: deque[float] | None, spec: ChildSpec) -> deque[float]:
        """Return those of the times that are within the window."""
        times = times or deque()
        since = self._clock.monotonic() - spec.within_s
        while times and times[0] <= since:
            times.popleft()
        return times

    def _restart_later(self, child: Child, incident: str, wait_s: float) -> None:
        assert child.recent is not None
        child.restarts += 1
        self._note_restart(child, incident, wait_s, None)
        if wait_s == 0.0:
            self._start(child)
        else:
            self._start_after(child, wait_s)

    def _start_after(self, child: Child, wait_s: float) -> None:
        mailbox, own = child.mailbox, self.mailbox
        self._clock.call_later(wait_s, lambda: own.tell(Restart(mailbox)))

    def _give_up(self, child: Child, how: Exit) -> None:
        spec = child.spec
        facts = {
            "supervisor": self._name,
            "actor": spec.name,
            "restarts": spec.intensity,
            "within_s": spec.within_s,
            "escalates": spec.on_give_up is None,
            "incident": how.incident,
        }
        log.error("actor_given_up", **facts)
        noticed = spec.given_up_notice or ("its supervisor fails in its place" if spec.on_give_up is None else None)
        self._report("given_up", **facts, noticed=noticed)
        if spec.on_give_up is None:
            # It stays among the children: whoever follows this supervisor starts it again.
            raise Escalation(spec.name, spec.intensity, spec.within_s)
        if spec.rest_s:
            child.recent = None
            spec.on_give_up(how)
            self._start_after(child, child.rest(self._clock.monotonic()))
        else:
            self._drop(child, how)

    def _drop(self, child: Child, how: Exit | None) -> None:
        del self._children[child.mailbox]
        child.mailbox.close()
        if how is not None and how.cause is not None and not self._stopping and child.spec.on_give_up is not None:
            child.spec.on_give_up(how)
        if self._stopping and not self._children:
            self.stop()

    def _note_failure(self, child: Child, how: Exit) -> Exit:
        """Say that a child failed; return how, under the name by which all that follows from it is found."""
        how = how._replace(incident=f"{_process}-{next(_incident_numbers)}")
        left = child.mailbox.last_exit
        if left is not None:  # the successor's; an earlier failure than this one, where no repair was begun since
            child.mailbox.last_exit = left._replace(incident=how.incident)
        if isinstance(how.cause, RestartOrdered):
            return how
        facts = {
            "supervisor": self._name,
            "actor": child.spec.name,
            "actor_class": how.actor_class,
            "message_type": type(how.message).__name__ if how.message is not None else None,
            "exception_type": type(how.cause).__name__,
            "error": str(how.cause),
            "traceback": "".join(traceback.format_exception(how.cause)),
            "traceback_hash": places_hash(how.cause),
            "mailbox_depth": how.depth,
            "incident": how.incident,
            "traceparent": trace_of(how.message),
        }
        log.error("actor_failed", **facts)
        self._report("failed", **facts)
        return how

    def _note_restart(self, child: Child, incident: str, wait_s: float, by: str | None) -> None:
        facts: dict[str, object] = {
            "supervisor": self._name,
            "actor": child.spec.name,
            "restart": len(child.recent or ()),
            "of": child.spec.intensity,
            "within_s": child.spec.within_s,
            "restarts_in_all": child.restarts,
            "backoff_ms": round(wait_s * 1000, 1),
            "incident": incident,
        }
        if by is not None:
            facts["by"] = by
        log.warning("actor_restarted", **facts)
        self._report("restarted", **facts)


class SupervisorStart:
    """Starts a supervisor as the child of another one.

    Args:
        name: The supervisor's name.
        clock: Its clock.
        report: Is told what it does.
    """

    def __init__(self, name: str, clock: Clock, report: Report = unreported) -> None:
        self.name = name
        """The supervisor's name."""
        self._clock = clock
        self._report = report
        self.children: dict[Mailbox, Child] = {}
        """Its children, over all its lives."""

    @staticmethod
    def stop(mailbox: Mailbox) -> None:
        """Have the supervisor stop its children, then itself."""
        mailbox.tell(Shutdown())

    def __call__(self, mailbox: Mailbox) -> None:
        Supervisor.start(self.name, self.children, self._clock, self._report, mailbox=mailbox)


def _wanted(spec: ChildSpec, how: Exit) -> bool:
    """Tell whether a child whose life ended like this gets another one."""
    return spec.restart == "permanent" or (spec.restart == "transient" and how.cause is not None)
