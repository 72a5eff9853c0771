"""The router, started and stopped layer by layer: one script to read from top to bottom."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from actors.child import ChildSpec
from actors.clock import Clock
from actors.directory import RoomDirectory
from actors.elsewhere import NOWHERE, Elsewhere
from actors.errors import ErrorCode, PostroomError, Refusal
from actors.identity import ANONYMOUS, SUPERVISOR_ROOM
from actors.ledger import Ledger
from actors.log import EventLog, MemoryLog
from actors.loop import LoopActor
from actors.mailbox import Exit, Mailbox
from actors.messages import Shutdown, StartChild
from actors.meters import Meters
from actors.poison import of_message
from actors.ports import ConnectionLimits, ConnectionPorts
from actors.pressure import Pressure
from actors.quarantine import Quarantine
from actors.rooms import RoomLimits
from actors.source import NotificationSource
from actors.supervisor import SupervisorStart
from actors.supervisor_journal import KINDS, SUPERVISOR_LIMITS, SupervisorJournal
from actors.tracing import Tracing

from . import __version__
from .addresses import Addresses, cannot_listen
from .auth import Authenticator
from .clock import SystemClock
from .cluster.members import NodeFacts
from .descriptors import share
from .http.access import Access
from .http.alerts import Alerts
from .http.api import Api
from .http.asyncapi import AsyncApi
from .http.calls import alone
from .http.connections import Connections
from .http.console import Console
from .http.event_streams import EventStreams
from .http.javascript import JavaScriptClient
from .http.metrics import MetricsCalls
from .http.openapi import OpenApi
from .http.probes import Probes, Readiness
from .http.publishing import Publishing
from .http.quarantine import QuarantineCalls
from .http.rooms import Rooms
from .http.supervisor import SupervisorCalls
from .joining import join
from .journals.sqlite import SqliteLog
from .lag import LagWatch
from .listener import Listener
from .logs import redact
from .node import node_name
from .orders import Orders
from .origins import OriginPolicy
from .reception import Reception
from .registry import Registry
from .reloading import Reloading
from .settings import MEMORY, Settings
from .supervisor_record import SupervisorRecord
from .tracing import spans_for
from .vitals import Vitals

if TYPE_CHECKING:
    from .cluster.cluster import Cluster
    from .cluster.link import Link
    from .journals.jetstream.log import JetStreamLog

__all__ = ["Plugin", "Router", "StartError"]

log = structlog.get_logger("postroom.app")

_PATIENCE_S = 5.0
"""How long a plug-in may take before the log says that it is waited for."""
_SHUTDOWN_S = 5.0
"""How long the actors may take to stop: they only finish what is in their mailboxes."""
_RECORD_S = 1.0
"""How long the log may take to keep what the supervisor journal says of a stop."""


class StartError(PostroomError):
    """The router cannot start; `str()` says why and what to do."""


Plugin = Callable[["Router"], Any]
"""A function of the user's that gets the router once it is up; it may be a coroutine function."""


class Router:
    """One router in the running event loop.

    Args:
        settings: See `settings.Settings`.
        plugins: Called in order, once everything is up.
    """

    def __init__(self, settings: Settings, plugins: Sequence[Plugin] = ()) -> None:
        self._settings = settings
        self._node = node_name(settings) if settings.cluster else None
        """Its name in the cluster; None: it is alone."""
        self._plugins = plugins
        self._failed: asyncio.Future[Exit] | None = None
        self._link: Link | None = None
        """The connection to NATS; None: this router is alone."""
        self._cluster: Cluster | None = None
        """The other routers; None: likewise."""
        self._journal: SqliteLog | JetStreamLog | None = None
        self._started = False

    async def start(self) -> Addresses:
        """Start everything, from the inside out.

        Raises:
            StartError: The journal or an address cannot be used, or a plug-in failed.
        """
        settings = self._settings
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        anonymous = ANONYMOUS if settings.dev else None
        self._authenticator = Authenticator(settings)  # first, as it may raise: nothing is left running then

        # The tree of supervisors.
        self.clock: Clock = SystemClock(loop)
        self._lag = LagWatch(self.clock)
        self.meters = Meters()
        """What is counted, for `/metrics`."""
        self.report = SupervisorJournal(
            self.clock,
            secrets.token_hex(4),
            lambda fields: redact(None, "", dict(fields)),
            count=self.meters.report,
            node=self._node,
        )
        """Where failures and repairs, and what operators order, is told: `report("ordered", ..)`."""
        self._root = Mailbox(name="root")
        self._root_start = SupervisorStart("root", self.clock, self.report)
        self._root.monitor = self._root_ended
        self._root_start(self._root)

        # Where events are kept.
        self.ledger = Ledger()
        self.log = await self._start_log()

        # Rooms and the source of their events.
        self._spans = spans_for(os.environ)
        tracing = Tracing(self.clock, self._spans)
        rooms = self._start_supervisor("rooms")
        limits = RoomLimits(
            history_events=settings.history_events,
            history_s=settings.history_s,
            idle_s=settings.room_idle_s,
            dedupe_s=settings.dedupe_s,
            escalate_after_s=settings.escalate_after_s,
        )
        pressure = Pressure()
        self.quarantine = Quarantine(self.clock, self.report)
        """Messages that made their actors fail twice."""
        self.directory = RoomDirectory(
            supervisor=rooms,
            log=self.log,
            ledger=self.ledger,
            clock=self.clock,
            limits=limits,
            pressure=pressure,
            quarantine=self.quarantine,
            meters=self.meters,
            report=self.report,
            apart={SUPERVISOR_ROOM: _supervisor_limits(settings)},
            tracing=tracing,
            elsewhere=self._elsewhere,
        )
        self.source = Mailbox(name="source")
        """Where services in this process hand in events: `tell(Publish(...))`, or `ask` and await the receipts."""
        self._start_child(
            "source",
            self.source,
            lambda box: NotificationSource.start(
                self.directory, self.clock, self.quarantine, self.report, tracing, mailbox=box
            ),
        )
        record = SupervisorRecord(self.directory)
        try:
            await self._restore_quarantine(record)
        except BaseException:  # the process may be told to end while a large record is read
            await self._stop_actors()
            raise
        self.report.open(lambda: self.directory.room(SUPERVISOR_ROOM))
        if self._cluster is None:
            self.directory.open_watched()
        else:
            self._cluster.watch(self.directory.room)

        # The outside.
        connections = self._start_supervisor("connections")
        self.reloading = Reloading(settings, self._authenticator, self.report)
        shares = share(settings.max_connections, settings.max_handshakes)
        self.registry = Registry(
            most=shares.connections,
            per_user=0 if settings.dev else settings.max_connections_per_user,
            per_address=0 if settings.dev else settings.max_connections_per_address,
        )
        ports = ConnectionPorts(
            source=self.source,
            directory=self.directory,
            authenticator=self._authenticator,
            admission=self.registry,
            clock=self.clock,
            limits=_connection_limits(settings),
            anonymous=anonymous,
            report=self.report,
            meters=self.meters,
        )
        self._vitals = Vitals(
            meters=self.meters,
            registry=self.registry,
            ledger=self.ledger,
            directory=self.directory,
            root=self._root_start,
            journal=self._journal,
            lag=self._lag,
            clock=self.clock,
            peers=None if self._cluster is None else self._cluster.peers,
        )
        api_ports: list[int] = []
        origins = OriginPolicy(settings, lambda: api_ports[0])
        self._reception = Reception(settings, connections, ports, self.registry)
        self._listener = Listener(
            settings, self._reception, self.meters, self.registry.per_address, origins, pressure, shares
        )
        self._streams = EventStreams(self._reception, origins, most=shares.streams, stall_s=settings.stall_s)
        self._publishing = Publishing(self.source, settings.message_bytes, pressure)
        orders = Orders(self.report)
        cluster, node = self._cluster, self._node
        calls = [
            *self._publishing.calls(),
            *Probes(self._readiness).calls(),
            *QuarantineCalls(self.quarantine, node).calls(),
            *self._streams.calls(),
            *Rooms(self.directory, self.ledger, self._room_names, orders, self._count_elsewhere).calls(),
            *Connections(self.registry, self.ledger, orders, node).calls(),
            *Alerts(self.directory, self.ledger).calls(),
            *Console(lambda: self._ws_port).calls(),
            *JavaScriptClient().calls(),
            *AsyncApi().calls(),
            *MetricsCalls(self._vitals).calls(),
            *SupervisorCalls(
                self._root, self._root_start, record, orders, None if cluster is None else cluster.nodes
            ).calls(),
        ]
        calls.extend(OpenApi(calls).calls())
        access = Access(self._authenticator, anonymous, origins)
        self._api = Api(
            calls,
            access,
            most_connections=shares.requests,
            rejected=self.meters.rejected,
            reuse_port=settings.workers > 1,
            forward=alone if cluster is None else cluster.forward(calls),
        )
        self._draining = False
        self._ws_port = settings.port
        try:
            api_port = await _listen("--api-port", settings.api_host, settings.api_port, self._api.start)
            api_ports.append(api_port)
            port = self._ws_port = await _listen("--port", settings.host, settings.port, self._listener.start)
            self.addresses = Addresses(
                f"ws://{_for_url(settings.host)}:{port}/v1/ws",
                f"http://{_for_url(settings.api_host)}:{api_port}",
            )
            await self._call_plugins()
        except BaseException:
            await self.stop()
            raise
        self._started = True
        if cluster is not None:
            cluster.describe(self._node_facts)
        self._lag.start()
        self._vitals.start()
        log.info("router_started", ws=self.addresses.ws_url, api=self.addresses.api_url, dev=settings.dev)
        self.report("started", ws=self.addresses.ws_url, api=self.addresses.api_url, version=__version__)
        return self.addresses

    async def stop(self) -> None:
        """Stop everything, from the outside in; clients are told when to come back."""
        assert self._failed is not None
        self._lag.stop()
        self._vitals.stop()
        self._draining = True
        if self._started:
            self.report("draining", connections=len(self.registry))
            await self._record_kept()  # so that who follows the record hears of it before they have to go
        self._listener.close()
        await self._reception.drain()
        await self._listener.stop()
        self._streams.cut()
        await self._api.stop()
        self._reception.stop()
        self._authenticator.close()
        if self._started:
            self.report("stopped")
            await self._record_kept()  # while there is a log that can keep it
        await self._stop_actors()
        if self._spans is not None:
            await self._spans.stop()
        if len(self.ledger):
            log.error("subscriptions_left", count=len(self.ledger))
        if self._started:
            log.info("router_stopped")

    async def _record_kept(self) -> None:
        """Wait for what the supervisor journal was told so far, but not long: the log may take nothing now."""
        kept = asyncio.Event()
        self.report.when_kept(kept.set)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(kept.wait(), _RECORD_S)

    async def _stop_actors(self) -> None:
        """Stop the actors, and then what they work with."""
        assert self._failed is not None
        if self._root.occupied:
            self._root.tell(Shutdown())
            try:
                async with asyncio.timeout(_SHUTDOWN_S):
                    await asyncio.shield(self._failed)
            except TimeoutError:
                log.error("actors_left", after_s=_SHUTDOWN_S)
        if self._journal is not None:
            await self._journal.stop()
        if self._cluster is not None:
            self._cluster.stop()
        if self._link is not None:
            await self._link.stop()

    async def failed(self) -> Exit:
        """Wait until the root supervisor has failed: nothing repairs it, the process must end."""
        assert self._failed is not None
        return await asyncio.shield(self._failed)

    @property
    def draining(self) -> bool:
        """Whether it is about to stop, and sends its clients away."""
        return self._draining

    def start_actor(self, actor_class: type[LoopActor], *args: Any, name: str, **kwargs: Any) -> Mailbox:
        """Start an actor of a plug-in under the root supervisor.

        Its constructor is called with `args`, `kwargs` and `mailbox=`, which it hands on to `super().__init__()`. After
        a failure it is made anew; when it fails more than 3 times in 5 s it is given up, and nothing else is. Messages
        of the types in its `retried` are handled once more after a failure, and go to quarantine after the second.

        Args:
            actor_class: A subclass of `actors.loop.LoopActor`.
            args: For its constructor.
            name: For logs and operators.
            kwargs: For its constructor.

        Returns:
            The mailbox, in which every life of the actor is reached: `tell`, `ask`.
        """
        mailbox = Mailbox(name=name)

        def start(box: Mailbox) -> None:
            failure = box.last_exit
            if failure is not None and failure.then == "quarantine":
                self.quarantine.add(name, failure, of_message(failure.message, box))
                box.last_exit = failure._replace(then="answer")  # it is put away once, whatever fails from here on
            actor_class.start(*args, mailbox=box, **kwargs)

        spec = ChildSpec(
            name,
            start,
            restart="transient",
            on_give_up=lambda how: log.error("plugin_actor_given_up", actor=name, error=str(how.cause)),
        )
        self._root.tell(StartChild(spec, mailbox))
        return mailbox

    async def _restore_quarantine(self, record: SupervisorRecord) -> None:
        """Bring back what was in quarantine when the process before this one ended."""
        try:
            entries = await record.everything(self._node)
        except Refusal as refusal:
            if refusal.code is not ErrorCode.NOT_FOUND:  # which is a cluster's first start
                log.warning("quarantine_not_restored", reason=refusal.message)
            return
        facts = [(str(entry["kind"]).removeprefix(KINDS), entry) for entry in entries]
        self.quarantine.restore(facts, self.directory, self.source)

    async def _start_log(self) -> EventLog:
        settings = self._settings
        try:
            if settings.cluster:
                self._link, self._journal, self._cluster = await join(settings, self.clock, self.report, self.ledger)
                await self._cluster.start()
            elif settings.journal == MEMORY:
                return MemoryLog()
            else:
                self._journal = SqliteLog(
                    Path(settings.journal), clock=self.clock, most_bytes=settings.journal_bytes, report=self.report
                )
            await self._journal.start(self._start_child)
        except BaseException as error:
            await self._stop_actors()
            if isinstance(error, PostroomError):
                raise StartError(str(error)) from error
            raise
        return self._journal

    def _start_supervisor(self, name: str) -> Mailbox:
        mailbox = Mailbox(name=name)
        self._root.tell(
            StartChild(
                ChildSpec(name, SupervisorStart(name, self.clock, self.report), stop=SupervisorStart.stop), mailbox
            )
        )
        return mailbox

    def _start_child(self, name: str, mailbox: Mailbox, start: Callable[[Mailbox], object]) -> None:
        self._root.tell(StartChild(ChildSpec(name, start), mailbox))

    def _root_ended(self, how: Exit) -> None:
        self._root.close()
        if self._failed is not None and not self._failed.done():
            self._failed.set_result(how)

    @property
    def _elsewhere(self) -> Elsewhere:
        return NOWHERE if self._cluster is None else self._cluster.elsewhere

    async def _room_names(self) -> Collection[str] | None:
        return self.log.rooms() if self._cluster is None else await self._cluster.room_names()

    async def _count_elsewhere(self, room: str) -> tuple[int, list[str]]:
        return (0, []) if self._cluster is None else await self._cluster.elsewhere.count(room)

    @property
    def _not_ready(self) -> str | None:
        """Why it takes no clients or no events now; None: it does."""
        trouble = self._journal.trouble if self._journal is not None else None
        return "draining" if self._draining else trouble and f"journal unavailable: {trouble}"

    def _node_facts(self) -> NodeFacts:
        """Say how this router is, for the others."""
        reason = self._not_ready
        return NodeFacts(reason is None, reason, len(self.registry), len(self.directory), *self.addresses)

    def _readiness(self) -> Readiness:
        reason = self._not_ready
        return Readiness(
            ready=reason is None,
            reason=reason,
            connections=len(self.registry),
            rooms=len(self.directory),
            journal=self._settings.journal if self._link is None else "a NATS cluster",
            ws_port=self._ws_port,
            nodes=None if self._cluster is None else self._cluster.lines(),
        )

    async def _call_plugins(self) -> None:
        for plugin in self._plugins:
            name = f"{plugin.__module__}:{plugin.__qualname__}" if hasattr(plugin, "__qualname__") else repr(plugin)
            try:
                result = plugin(self)
                if inspect.isawaitable(result):
                    await _patiently(result, name)
            except (Exception, SystemExit) as error:
                raise StartError(f"plug-in {name} failed: {type(error).__name__}: {error}") from error


async def _patiently(result: Awaitable[Any], plugin: str) -> None:
    """Wait for an asynchronous plug-in; say so when it takes long, because the router is not ready before."""
    task = asyncio.ensure_future(result)
    try:
        _, waiting = await asyncio.wait((task,), timeout=_PATIENCE_S)
        if waiting:
            log.warning("plugin_slow", plugin=plugin, waited_s=_PATIENCE_S)
        await task
    except asyncio.CancelledError:
        if task.cancelled() and not _cancelling():
            raise RuntimeError("it was cancelled") from None
        task.cancel()
        raise


def _cancelling() -> bool:
    """Tell whether this task is to end, as opposed to something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _supervisor_limits(settings: Settings) -> RoomLimits:
    """Return what the supervisor journal holds: no more than the cluster does."""
    if not settings.cluster:
        return SUPERVISOR_LIMITS
    history_s = min(SUPERVISOR_LIMITS.history_s, settings.cluster_keep_s / 2)
    return msgspec.structs.replace(SUPERVISOR_LIMITS, history_s=history_s)


def _connection_limits(settings: Settings) -> ConnectionLimits:
    return ConnectionLimits(
        message_bytes=settings.message_bytes,
        outbox_bytes=settings.outbox_bytes,
        rooms=settings.max_rooms,
        heartbeat_s=settings.heartbeat_s,
        hello_s=settings.hello_timeout_s,
        commands_per_s=0.0 if settings.dev else settings.commands_per_s,
        commands_burst=settings.commands_burst,
        token_warning_s=settings.token_warning_s,
        token_grace_s=settings.token_grace_s,
    )


async def _listen(flag: str, host: str, port: int, start: Callable[[str, int], Awaitable[int]]) -> int:
    try:
        return await start(host, port)
    except OSError as error:
        raise StartError(cannot_listen(flag, host, port, error)) from error


def _for_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
