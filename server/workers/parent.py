"""Parent: the process that looks after the workers, and the NATS server that it may have started for them.

Signals and ends of processes in; processes started again, signals passed on, and an exit code out. It routes nothing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from actors.errors import PostroomError
from server import logs
from server.addresses import Addresses
from server.node import node_name
from server.settings import MEMORY, Settings
from server.terminal import Terminal

from .child import Child, how_ended
from .job import Instead, Job, Ready, Refused
from .own_nats import OwnNats, folder_beside
from .ports import Port
from .restarts import INTENSITY, WELL_S
from .tie import can_tie
from .wakes import Wakes

__all__ = ["Parent", "WorkersFailed"]

log = structlog.get_logger("postroom.workers")

_STOP_S = 26.0
"""How long the workers may take to stop; with the NATS server after them the whole is under 30 s."""
_AFTER_DRAIN_S = 3.0
_REFUSED_AGAIN_S = (0.25, 5.0)
"""Between two tries of a worker that says it cannot start while others run: at first, and at most."""
_NATS_LOOK_S = 0.05
_STUCK_LOOK_S = 1.0


class WorkersFailed(PostroomError):
    """The workers cannot run, or not any more; `str()` says why and what to do."""


class Parent:
    """The process that looks after the workers.

    Args:
        settings: What they run with; `workers` says how many there are.
        flags: Those of the command line, from which the workers gather their settings as well.
        config: The settings file that the command line names.
        on_ready: Called when all are up.
    """

    def __init__(
        self,
        settings: Settings,
        flags: Mapping[str, Any],
        config: Path | None,
        on_ready: Callable[[Addresses], None],
    ) -> None:
        self._settings = settings
        self._flags = dict(flags)
        self._config = config
        self._on_ready = on_ready
        self._all_were_ready = False
        self._children: list[Child] = []
        self._nats: OwnNats | None = None

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, then stop all; return the exit code.

        Raises:
            PostroomError: It cannot start, or a process ended too often; says why and what to do.
        """
        _check_extras()
        settings = self._settings
        terminal = Terminal()
        with contextlib.ExitStack() as held:
            api_port = held.enter_context(contextlib.closing(Port("--api-port", settings.api_host, settings.api_port)))
            port = held.enter_context(contextlib.closing(Port("--port", settings.host, settings.port)))
            base = node_name(msgspec.structs.replace(settings, port=port.number))
            logs.configure(settings.log_level, settings.log_format, node=base)
            self._wakes = held.enter_context(Wakes())
            if not settings.cluster:
                folder = None if settings.journal == MEMORY else folder_beside(Path(settings.journal))
                self._nats = OwnNats(folder, settings.message_bytes, self._wakes)
                held.callback(self._nats.stop)
            for number in range(1, settings.workers + 1):
                self._children.append(Child(self._job(f"{base}-{number}", port, api_port), self._wakes))
            try:
                while not self._asked_to_stop(terminal):
                    self._look()
                    self._wakes.wait(self._pause_s())
            finally:
                all_well = self._stop_children()
        log.info("workers_stopped")
        return 0 if all_well else 1

    def _job(self, node: str, port: Port, api_port: Port) -> Job:
        settings, nats = self._settings, self._nats
        instead = Instead(
            node=node,
            port=None if settings.port else port.number,
            api_port=None if settings.api_port else api_port.number,
            cluster=None if nats is None else (nats.url,),
            cluster_user=None if nats is None else nats.user,
            cluster_password=None if nats is None else nats.password,
        )
        return Job(flags=self._flags, config=self._config, instead=instead)

    def _asked_to_stop(self, terminal: Terminal) -> bool:
        """Tell whether a signal says so; pass SIGHUP on."""
        caught = self._wakes.caught()
        if signal.SIGHUP in caught:
            if terminal.gone:
                return True
            for child in self._children:
                child.reload = True
        return not caught.isdisjoint({signal.SIGTERM, signal.SIGINT})

    def _pause_s(self) -> float | None:
        """Return how long there is nothing to do but for what wakes it."""
        nats, now = self._nats, time.monotonic()
        if nats is not None and not nats.ready:
            return _NATS_LOOK_S if nats.start_at is None else max(0.0, nats.start_at - now)
        due = [child.start_at for child in self._children if child.start_at is not None]
        if nats is not None and nats.stuck:
            due.append(now + _STUCK_LOOK_S)
        return max(0.0, min(due) - now) if due else None

    def _look(self) -> None:
        """See to every process once."""
        now = time.monotonic()
        if self._nats is not None:
            self._look_at_nats(self._nats, now)
        for child in self._children:
            self._look_at(child, now)
        first = self._children[0].said
        if (
            not self._all_were_ready
            and isinstance(first, Ready)
            and all(isinstance(child.said, Ready) for child in self._children)
        ):
            self._all_were_ready = True
            log.info("workers_started", workers=len(self._children), ws=first.ws_url, api=first.api_url)
            self._on_ready(Addresses(first.ws_url, first.api_url))

    def _look_at_nats(self, nats: OwnNats, now: float) -> None:
        stuck = nats.look_whether_stuck(now)
        if stuck is not None:
            log.warning("nats_renewed", reason=stuck)
        end = nats.ended()
        if end is not None:
            how, reason, again_s = how_ended(end[0]), end[1], nats.restarts.wait_s(_since(nats.ready_at, now))
            log.error("nats_ended", how=how, reason=reason, again_in_ms=_ms(again_s))
            if again_s is None:
                raise WorkersFailed(f"the NATS server {_too_often(how)}: {reason}")
            nats.start_at = now + again_s
        if nats.start_at is not None and nats.start_at <= now:
            nats.start()
        if nats.became_ready():
            log.info("nats_started", pid=nats.pid, url=nats.url, folder=str(nats.folder))

    def _look_at(self, child: Child, now: float) -> None:
        code = child.ended()
        if code is not None:
            if isinstance(child.said, Refused):
                self._refused(child, child.said.reason, now)
            else:
                self._ended(child, how_ended(code), now)
        if child.start_at is not None and child.start_at <= now and (self._nats is None or self._nats.ready):
            child.start()
            log.info("worker_started", worker=child.node, pid=child.pid)
        if child.reload and isinstance(child.said, Ready):
            child.reload = False
            child.signal(signal.SIGHUP)

    def _refused(self, child: Child, reason: str, now: float) -> None:
        """Try a worker that cannot start for as long as it takes, as NATS may be away; but not at the beginning."""
        if not self._all_were_ready:
            raise WorkersFailed(reason)
        first_s, most_s = _REFUSED_AGAIN_S
        again_s = min(most_s, first_s * 2.0**child.refusals)
        child.refusals = min(child.refusals + 1, 10)
        child.start_at = now + again_s
        log.error("worker_refused", worker=child.node, reason=reason, again_in_ms=_ms(again_s))

    def _ended(self, child: Child, how: str, now: float) -> None:
        """Start a worker that ended by itself again, or give up."""
        again_s = child.restarts.wait_s(_since(child.ready_at, now))
        log.error("worker_ended", worker=child.node, how=how, again_in_ms=_ms(again_s))
        if again_s is None:
            raise WorkersFailed(f"the worker {child.node} {_too_often(how)}: the log says more")
        child.start_at = now + again_s

    def _stop_children(self) -> bool:
        """Drain all workers, and kill who does not end; tell whether all ended well."""
        running = {child: None for child in self._children if child.pid is not None}
        for child in running:
            child.signal(signal.SIGTERM)
        codes: list[int] = []
        most_s = max(_STOP_S, self._settings.drain_s + _AFTER_DRAIN_S)
        deadline = time.monotonic() + most_s
        while running:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                log.error("workers_killed", workers=[child.node for child in running], after_s=most_s)
                for child in running:
                    child.signal(signal.SIGKILL)
                deadline = float("inf")
                left_s = 1.0
            for child in list(running):
                code = child.ended()
                if code is not None:
                    codes.append(code)
                    del running[child]
            if running:
                self._wakes.wait(left_s)
        return all(code in (0, -signal.SIGTERM) for code in codes)  # the latter: it had only begun to start


def _check_extras() -> None:
    """Refuse where several workers cannot be."""
    if not can_tie():
        raise WorkersFailed(
            "several workers need Linux: no other system shares a port's connections out. "
            "Run single routers, each on ports of its own, with --cluster"
        )
    if importlib.util.find_spec("nats") is None:
        raise WorkersFailed("several workers need the package nats-py: pip install 'postroom[workers]'")


def _too_often(how: str) -> str:
    return f"ended {INTENSITY + 1} times in a row within {WELL_S:g} s of being ready, or before, at last with {how}"


def _since(moment: float | None, now: float) -> float:
    return 0.0 if moment is None else now - moment


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
